use burn::tensor::Tensor;
use hardgrad_kernels::round;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Rounds to the nearest whole number, halves to the even one; the backward pass takes it for the identity.
///
/// ```text
/// y = round(x)        dx = G
/// ```
/// Any shape. Source: Bengio, Léonard, Courville, 2013.
pub fn round<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x);
    }
    let input = values(&x);
    let mut y = vec![0.0; input.len()];
    round::round(&input, &mut y);
    let y = tensor(y, x.dims());
    custom_vjp(x, y, |gradient| gradient)
}

/// [`round()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    exactly(x.clone().round(), x)
}
