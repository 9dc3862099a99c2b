use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use super::estimator::of_sample;
use super::straight_through::composed_one_hot;
use super::{CategoricalError, Entry, Estimator, one_hot};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Straight-through of second order: without bias on quadratic costs at temperature 1.
///
/// ```text
/// y = D = one-hot(sample)
/// p = softmax(logits)        q = (softmax(logits / temperature) + D) / 2        J_p(h) = p h - p (p.h)
/// dlogits = J_q(2 G) - J_p(G) / 2
/// ```
/// `logits` `[n, categories]`; `sample` `[n]`, indices as f32; `temperature` at least 1.
/// Source: Liu et al., "Bridging discrete and backpropagation: straight-through and beyond", NeurIPS 2023.
pub fn reinmax(logits: Tensor<2>, sample: Tensor<1>, temperature: f32) -> Tensor<2> {
    if !on_flex(&logits) {
        return composed(logits, sample, temperature);
    }
    let (input, dims) = (values(&logits), logits.dims());
    let (y, choice) = (one_hot(&sample, dims[1]), values(&sample));
    custom_vjp(logits, y, move |gradient| {
        let mut out = vec![0.0; input.len()];
        categorical::reinmax_backward(&input, &choice, &values(&gradient), dims[1], temperature, &mut out);
        tensor(out, dims)
    })
}

/// [`reinmax()`] as a composition of Burn's operators, for any device.
pub fn composed(logits: Tensor<2>, sample: Tensor<1>, temperature: f32) -> Tensor<2> {
    let hard = composed_one_hot(&logits, sample);
    let average = (softmax(logits.clone().inner() / temperature, 1) + hard.clone()) / 2.0;
    // The softmax of these logits is the average, and so is its Jacobian.
    let moved = average.log().clamp_min(-1e30) - logits.clone().inner();
    let soft = softmax(logits.clone() + moved, 1) * 2.0 - softmax(logits, 1) / 2.0;
    exactly(hard, soft)
}

/// Sampled categories with [`reinmax()`].
#[derive(Clone, Copy, Debug)]
pub struct ReinMax;

pub(super) static ENTRY: Entry = Entry {
    name: "reinmax",
    summary: "straight-through of second order",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 1.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(ReinMax),
};

impl Estimator for ReinMax {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        of_sample(&ENTRY, logits, temperature, random, |logits, sample| reinmax(logits, sample, temperature))
    }
}
