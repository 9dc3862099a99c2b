use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::fake_quant::fake_quant;
use hardgrad_kernels::pact::pact_backward;

use crate::custom_gradient::{custom_vjp2, exactly};
use crate::flex::{on_flex, tensor, values};

/// Clips activations at a learned bound and quantises them to `bits` (PACT).
///
/// ```text
/// s = alpha / (2^bits - 1)        y = round(clamp(x, 0, alpha) / s) s
/// dx = G where 0 <= x <= alpha, else 0        dalpha = sum of G where x > alpha
/// ```
/// x of any shape; `alpha` `[1]`, in units of x, above 0. The paper adds weight decay on alpha.
/// Source: Choi et al., "PACT: parameterized clipping activation for quantized neural networks", 2018.
pub fn pact<const D: usize>(x: Tensor<D>, alpha: Tensor<1>, bits: u32) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, alpha, bits);
    }
    let (input, bound, dims) = (values(&x), values(&alpha)[0], x.dims());
    let bounds = Bounds::unsigned(bits);
    let y = fake_quant(&input, &[pact_scale(bound, bits)], &[bounds], Channels::one(input.len()));
    custom_vjp2(x, alpha, tensor(y, dims), move |gradient, _| {
        let mut dx = vec![0.0; input.len()];
        let dalpha = pact_backward(&input, &values(&gradient), bound, &mut dx);
        (Some(tensor(dx, dims)), Some(tensor(vec![dalpha], [1])))
    })
}

/// [`pact()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, alpha: Tensor<1>, bits: u32) -> Tensor<D> {
    let alpha = alpha.reshape([1; D]);
    let (constant, bound) = (x.clone().inner(), alpha.clone().inner());
    let levels = Bounds::unsigned(bits).highest;
    let step = bound.clone() / levels;
    let hard = (constant.clone() / step.clone()).round().clamp(0.0, levels) * step;
    let above = constant.clone().greater(bound.clone().expand(constant.dims())).float();
    let inside = constant.greater_equal_scalar(0.0).float() * above.clone().equal_scalar(0.0).float();
    exactly(hard, x * inside + alpha * above)
}

/// The step that belongs to a clipping bound: alpha / (2^bits - 1).
pub(crate) fn pact_scale(alpha: f32, bits: u32) -> f32 {
    alpha / Bounds::unsigned(bits).highest
}
