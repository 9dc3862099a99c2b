use burn::tensor::Tensor;
use hardgrad_kernels::bernoulli::bernoulli;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Samples edges by their probabilities.
///
/// ```text
/// y = 1 where uniform < theta, else 0        dtheta = G
/// ```
/// `theta` (probabilities) and `uniform` (strictly between 0 and 1) of the same shape.
/// Source: Franceschi et al., "Learning discrete structures for graph neural networks" (LDS), ICML 2019.
///
/// # Panics
/// If the shapes differ.
pub fn bernoulli_edges<const D: usize>(theta: Tensor<D>, uniform: Tensor<D>) -> Tensor<D> {
    if !on_flex(&theta) {
        return composed(theta, uniform);
    }
    let dims = theta.dims();
    let mut y = vec![0.0; dims.iter().product()];
    bernoulli(&values(&theta), &values(&uniform), &mut y);
    custom_vjp(theta, tensor(y, dims), |gradient| gradient)
}

/// [`bernoulli_edges()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(theta: Tensor<D>, uniform: Tensor<D>) -> Tensor<D> {
    exactly(uniform.inner().lower(theta.clone().inner()).float(), theta)
}
