use std::collections::BTreeMap;

use burn::module::Module;
use hardgrad::parameters;
use hardgrad_kernels::adam::Adam;

/// Adam over the parameters of a network, with its moments by parameter name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Optimizer {
    /// First and second moment of each parameter that ever had a gradient.
    pub moments: BTreeMap<String, [Vec<f32>; 2]>,
}

/// Settings of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Number of the step, from 1.
    pub step: u64,
    /// Learning rate of weights.
    pub rate: f64,
    /// Learning rate of quantiser ranges as a share of it.
    pub range_rate_factor: f64,
    /// Decoupled weight decay of weights.
    pub weight_decay: f64,
}

impl Optimizer {
    /// The network after one step along `gradients`, which are by parameter name.
    pub fn step<M: Module>(&mut self, network: M, mut gradients: BTreeMap<String, Vec<f32>>, step: Step) -> M {
        parameters::update(network, |name, _, values| {
            let Some(gradient) = gradients.remove(name) else { return };
            let moments = self
                .moments
                .entry(name.to_string())
                .or_insert_with(|| [vec![0.0; values.len()], vec![0.0; values.len()]]);
            let [first, second] = moments;
            let rate = if is_range(name) { step.rate * step.range_rate_factor } else { step.rate };
            let adam = Adam {
                rate: rate as f32,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: if name.ends_with("weight") { step.weight_decay as f32 } else { 0.0 },
                step: step.step as u32,
            };
            adam.update(values, &gradient, first, second);
        })
    }
}

/// True for a learned scale or clipping bound.
fn is_range(name: &str) -> bool {
    name.contains("quantizer.")
}
