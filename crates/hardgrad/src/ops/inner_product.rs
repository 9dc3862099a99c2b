use burn::tensor::Tensor;
use hardgrad_kernels::reduce::inner_product as sum_of_products;

use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};

/// The sum of all products of `x` and constant `weights`, in one pass.
///
/// ```text
/// y = sum of x weights        dx = G weights
/// ```
/// x and `weights` of the same shape; y `[1]`. Where G is 1, as at the end of a loss, dx shares the memory of the weights.
///
/// # Panics
/// If the shapes differ.
pub fn inner_product<const D: usize>(x: Tensor<D>, weights: &Tensor<D>) -> Tensor<1> {
    assert_eq!(x.dims(), weights.dims(), "inner_product: both must have the same shape");
    let weights = weights.clone().inner();
    if !on_flex(&x) {
        return composed(x, weights);
    }
    let y = tensor(vec![sum_of_products(&values(&x), &values(&weights)) as f32], [1]);
    custom_vjp(x, y, move |gradient| match values(&gradient)[0] {
        1.0 => weights.clone(),
        factor => weights.clone() * factor,
    })
}

/// [`inner_product()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, weights: Tensor<D>) -> Tensor<1> {
    (x * weights).sum()
}
