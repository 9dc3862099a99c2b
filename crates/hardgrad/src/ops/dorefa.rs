use burn::tensor::Tensor;
use hardgrad_kernels::dorefa;
use hardgrad_kernels::fake_quant::Bounds;

use crate::custom_gradient::custom_vjp;
use crate::flex::{tensor, values};

/// Clips activations to 0..1 and quantises them to `bits`.
///
/// ```text
/// y = round(clamp(x, 0, 1) L) / L,  L = 2^bits - 1        dx = G where 0 <= x <= 1, else 0
/// ```
/// Any shape. Source: Zhou et al., "DoReFa-Net", 2016.
pub fn dorefa_activation<const D: usize>(x: Tensor<D>, bits: u32) -> Tensor<D> {
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
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    dorefa::dorefa_weight(&input, Bounds::unsigned(bits).highest, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        dorefa::dorefa_weight_backward(&input, &values(&gradient), &mut out);
        tensor(out, dims)
    })
}
