//! What the backward pass differentiates instead of a hard function, on slices and on tensors.

use std::f32::consts::PI;

use burn::tensor::Tensor;

pub use hardgrad_kernels::surrogate::{Sharpness, Surrogate};

/// The surrogate's derivative at each value, as a composition of Burn's operators; `x` is a plain tensor.
pub(crate) fn derivative<const D: usize>(x: Tensor<D>, surrogate: Surrogate) -> Tensor<D> {
    match surrogate {
        Surrogate::Identity => x.ones_like(),
        Surrogate::Clipped => x.abs().lower_equal_scalar(1.0).float(),
        Surrogate::Relu => x.greater_scalar(0.0).float(),
        // 0 from 1 on.
        Surrogate::ApproxSign => x.abs().clamp_max(1.0) * -2.0 + 2.0,
        Surrogate::Tanh => square_of_sech(x),
        Surrogate::SwishSign { beta } => {
            let half = (x * beta / 2.0).clamp(-5e2, 5e2);
            (half.clone() * half.clone().tanh() * -2.0 + 2.0) * square_of_sech(half) * (beta / 2.0)
        }
        Surrogate::Ede { t } => square_of_sech(x * t) * t.max(1.0),
        Surrogate::Arctan => {
            let z = x * PI;
            (z.clone() * z + 1.0).recip()
        }
    }
}

/// 1 - tanh(x)^2 without its cancellation.
pub(crate) fn square_of_sech<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let e = (x.abs() * -2.0).exp();
    let one_more = e.clone() + 1.0;
    e * 4.0 / (one_more.clone() * one_more)
}
