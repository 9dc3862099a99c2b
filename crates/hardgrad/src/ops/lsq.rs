use burn::tensor::Tensor;
use hardgrad_kernels::fake_quant::{self, Bounds};
use hardgrad_kernels::lsq::lsq_backward;

use super::channels;
use crate::custom_gradient::custom_vjp2;
use crate::flex::{tensor, values};

/// Quantises to a grid whose step is learned (learned step size quantisation).
///
/// ```text
/// v = x / scale        y = round(clamp(v, lowest, highest)) scale
/// dx     = G where lowest <= v <= highest, else 0
/// dscale = sum of G d / sqrt(M highest),  d = lowest where v < lowest, highest where v > highest, else round(v) - v
/// ```
/// x of any shape; `scale` `[1]`, or one for each index along `axis` (in units of x, above 0); M is the number of values that
/// share a scale. Source: Esser et al., "Learned step size quantization", ICLR 2020.
///
/// # Panics
/// If the number of scales does not fit the axis, or `bounds.highest` is 0.
pub fn lsq<const D: usize>(x: Tensor<D>, scale: Tensor<1>, bounds: Bounds, axis: Option<usize>) -> Tensor<D> {
    assert!(bounds.highest > 0.0, "lsq divides by the highest code: signed values need at least 2 bits");
    let (input, steps, dims) = (values(&x), values(&scale), x.dims());
    let channels = channels(&dims, steps.len(), axis);
    let mut y = vec![0.0; input.len()];
    fake_quant::fake_quant(&input, &steps, &[bounds], channels, &mut y);
    let sharing = (channels.len() / channels.channels.max(1)) as f32;
    let factor = if sharing > 0.0 { 1.0 / (sharing * bounds.highest).sqrt() } else { 0.0 };
    custom_vjp2(x, scale, tensor(y, dims), move |gradient, _| {
        let (mut dx, mut dscale) = (vec![0.0; input.len()], vec![0.0; steps.len()]);
        lsq_backward(&input, &values(&gradient), &steps, bounds, channels, factor, &mut dx, &mut dscale);
        let count = dscale.len();
        (Some(tensor(dx, dims)), Some(tensor(dscale, [count])))
    })
}
