use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::dorefa;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::surrogate::square_of_sech;

/// Clips activations to 0..1 and quantises them to `bits`.
///
/// ```text
/// y = round(clamp(x, 0, 1) L) / L,  L = 2^bits - 1        dx = G where 0 <= x <= 1, else 0
/// ```
/// Any shape. Source: Zhou et al., "DoReFa-Net", 2016.
pub fn dorefa_activation<const D: usize>(x: Tensor<D>, bits: u32) -> Tensor<D> {
    if !on_flex(&x) {
        return activation_composed(x, bits);
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    dorefa::dorefa_activation(&input, Bounds::unsigned(bits).highest, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        dorefa::dorefa_activation_backward(&input, &values(&gradient), &mut out);
        tensor(out, dims)
    })
}

/// Squeezes weights into -1..1 and quantises them to `bits`; 1 bit gives signs.
///
/// ```text
/// r = tanh(x) / (2 m) + 1/2,  m = max abs(tanh(x))        y = 2 round(r L) / L - 1,  L = 2^bits - 1
/// dx = G (1 - tanh(x)^2) / m, m held constant and counted as 1 where x is all 0
/// ```
/// Any shape. Source: Zhou et al., "DoReFa-Net", 2016.
pub fn dorefa_weight<const D: usize>(x: Tensor<D>, bits: u32) -> Tensor<D> {
    if !on_flex(&x) {
        return weight_composed(x, bits);
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    dorefa::dorefa_weight(&input, Bounds::unsigned(bits).highest, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        dorefa::dorefa_weight_backward(&input, &values(&gradient), &mut out);
        tensor(out, dims)
    })
}

/// [`dorefa_activation`] as a composition of Burn's operators, for any device.
pub fn activation_composed<const D: usize>(x: Tensor<D>, bits: u32) -> Tensor<D> {
    let constant = x.clone().inner();
    let levels = Bounds::unsigned(bits).highest;
    let clamped = constant.clone().clamp(0.0, 1.0);
    let inside = constant.equal(clamped.clone()).float();
    exactly((clamped * levels).round() / levels, x * inside)
}

/// [`dorefa_weight`] as a composition of Burn's operators, for any device.
pub fn weight_composed<const D: usize>(x: Tensor<D>, bits: u32) -> Tensor<D> {
    let constant = x.clone().inner();
    let levels = Bounds::unsigned(bits).highest;
    let squeezed = constant.clone().tanh();
    let largest = squeezed.clone().abs().max().reshape([1; D]);
    let largest = largest.clone() + largest.equal_scalar(0.0).float();
    let unit = squeezed / (largest.clone() * 2.0) + 0.5;
    exactly((unit * levels).round() / levels * 2.0 - 1.0, x * (square_of_sech(constant) / largest))
}
