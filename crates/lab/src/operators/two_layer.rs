use hardgrad::theory::TwoLayer;

use super::call::Array;
use super::{Operator, OperatorError, Output, Outputs};

/// See [`hardgrad::theory::TwoLayer`].
pub(super) static TWO_LAYER: Operator = Operator {
    name: "two_layer",
    summary: "population loss, gradient and expected coarse gradients of a network of two layers",
    inputs: &["v", "w", "v_star", "w_star"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| {
        let [hidden] = call.shape("v", "[hidden]")?;
        let [inputs] = call.shape("w", "[inputs]")?;
        call.check_shape("v_star", &[hidden])?;
        call.check_shape("w_star", &[inputs])?;
        let read = |input| call.input(input).values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let (v, w, v_star, w_star) = (read("v"), read("w"), read("v_star"), read("w_star"));
        let network = TwoLayer::new(&v, &w, &v_star, &w_star).map_err(|error| OperatorError::Network { error })?;
        let output = |name: &str, values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            (name.to_string(), Output::Float(Array { shape: vec![values.len()], values }))
        };
        Ok(Outputs::from([
            output("loss", vec![network.loss()]),
            output("grad_v", network.gradient_v()),
            output("grad_w", network.gradient_w()),
            output("coarse_identity", network.coarse_identity()),
            output("coarse_relu", network.coarse_relu()),
            output("coarse_clipped_relu", network.coarse_clipped_relu()),
        ]))
    },
};
