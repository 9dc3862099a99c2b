use burn::tensor::Tensor;
use hardgrad_kernels::ternary;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Weights of -1, 0 and +1 by a threshold on the magnitude (ternary weight networks).
///
/// ```text
/// D = 0.7 mean abs(x)        y = +1 where x > D, -1 where x < -D, else 0        dx = G where abs(x) <= 1, else 0
/// ```
/// x of any shape; one threshold for all of it. Source: Li et al., "Ternary weight networks", 2016.
pub fn ternary_twn<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !on_flex(&x) {
        return twn_composed(x);
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    ternary::ternary_twn(&input, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        ternary::ternary_twn_backward(&input, &values(&gradient), &mut out);
        tensor(out, dims)
    })
}

/// Weights of -g, 0 and +g by rounding, with g the mean magnitude (BitNet b1.58).
///
/// ```text
/// g = mean abs(x) + 1e-5        y = clamp(round(x / g), -1, 1) g        dx = G
/// ```
/// x of any shape; one g for all of it. Source: Ma et al., "The era of 1-bit LLMs", 2024.
pub fn ternary_absmean<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !on_flex(&x) {
        return absmean_composed(x);
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    ternary::ternary_absmean(&input, &mut y);
    custom_vjp(x, tensor(y, dims), |gradient| gradient)
}

/// [`ternary_twn`] as a composition of Burn's operators, for any device.
pub fn twn_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let constant = x.clone().inner();
    let threshold = constant.clone().abs().mean().reshape([1; D]).expand(constant.dims()) * 0.7;
    let hard = constant.clone().greater(threshold.clone()).float() - constant.clone().lower(-threshold).float();
    let inside = constant.abs().lower_equal_scalar(1.0).float();
    exactly(hard, x * inside)
}

/// [`ternary_absmean`] as a composition of Burn's operators, for any device.
pub fn absmean_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let constant = x.clone().inner();
    let scale = constant.clone().abs().mean().reshape([1; D]) + 1e-5;
    exactly((constant / scale.clone()).round().clamp(-1.0, 1.0) * scale, x)
}
