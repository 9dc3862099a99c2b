use burn::tensor::Tensor;
use hardgrad_kernels::{sign, surrogate::Surrogate};

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::surrogate::derivative;

/// The sign of each value, +1 for 0; the backward pass differentiates the surrogate instead.
///
/// ```text
/// y = +1 where x >= 0, else -1        dx = G surrogate'(x)
/// ```
/// Any shape; formulas of the surrogates at [`Surrogate`].
pub fn sign<const D: usize>(x: Tensor<D>, surrogate: Surrogate) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, surrogate);
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    sign::sign(&input, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        sign::sign_backward(&input, &values(&gradient), surrogate, &mut out);
        tensor(out, dims)
    })
}

/// [`sign()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, surrogate: Surrogate) -> Tensor<D> {
    let constant = x.clone().inner();
    let hard = constant.clone().greater_equal_scalar(0.0).float() * 2.0 - 1.0;
    exactly(hard, x * derivative(constant, surrogate))
}
