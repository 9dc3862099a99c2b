//! What the backward pass differentiates instead of a hard function, on slices and on tensors.

use burn::tensor::Tensor;

pub use hardgrad_kernels::surrogate::Surrogate;

/// The surrogate's derivative at each value, as a composition of Burn's operators; `x` is a plain tensor.
pub(crate) fn derivative<const D: usize>(x: Tensor<D>, surrogate: Surrogate) -> Tensor<D> {
    let inside = |x: &Tensor<D>| x.clone().abs().lower_equal_scalar(1.0).float();
    match surrogate {
        Surrogate::Identity => x.ones_like(),
        Surrogate::Clipped => inside(&x),
        Surrogate::Relu => x.greater_scalar(0.0).float(),
        Surrogate::ApproxSign => (x.clone().abs() * -2.0 + 2.0) * inside(&x),
        Surrogate::Tanh => square_of_sech(x),
        Surrogate::SwishSign { beta } => {
            let half = (x * beta / 2.0).clamp(-5e2, 5e2);
            (half.clone() * half.clone().tanh() * -2.0 + 2.0) * square_of_sech(half) * (beta / 2.0)
        }
        Surrogate::Ede { t } => square_of_sech(x * t) * t.max(1.0),
    }
}

/// 1 - tanh(x)^2 without its cancellation.
pub(crate) fn square_of_sech<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let e = (x.abs() * -2.0).exp();
    let one_more = e.clone() + 1.0;
    e * 4.0 / (one_more.clone() * one_more)
}
