use burn::tensor::Tensor;
use hardgrad_kernels::fake_quant::{self, Bounds};
use hardgrad_kernels::lsq::lsq_backward;

use super::{along, channels};
use crate::custom_gradient::{custom_vjp2, exactly};
use crate::flex::{on_flex, tensor, values};

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
    if !on_flex(&x) {
        return composed(x, scale, bounds, axis);
    }
    let (input, steps, dims) = (values(&x), values(&scale), x.dims());
    let channels = channels(&dims, steps.len(), axis);
    let mut y = vec![0.0; input.len()];
    fake_quant::fake_quant(&input, &steps, &[bounds], channels, &mut y);
    let factor = factor(channels.len(), steps.len(), bounds);
    custom_vjp2(x, scale, tensor(y, dims), move |gradient, _| {
        let (mut dx, mut dscale) = (vec![0.0; input.len()], vec![0.0; steps.len()]);
        lsq_backward(&input, &values(&gradient), &steps, bounds, channels, factor, &mut dx, &mut dscale);
        let count = dscale.len();
        (Some(tensor(dx, dims)), Some(tensor(dscale, [count])))
    })
}

/// What the gradient of a scale is multiplied with, so that scales learn as fast as weights.
pub(super) fn factor(values: usize, scales: usize, bounds: Bounds) -> f32 {
    let sharing = (values / scales.max(1)) as f32;
    if sharing > 0.0 { 1.0 / (sharing * bounds.highest).sqrt() } else { 0.0 }
}

/// [`lsq()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, scale: Tensor<1>, bounds: Bounds, axis: Option<usize>) -> Tensor<D> {
    let factor = factor(x.shape().num_elements(), scale.dims()[0], bounds);
    let scale = along::<D>(scale, axis);
    let v = x.clone().inner() / scale.clone().inner();
    let clamped = v.clone().clamp(bounds.lowest, bounds.highest);
    let inside = v.clone().equal(clamped.clone()).float();
    let rounded = clamped.clone().round();
    // round(v) - v inside; outside, the clamped value is the bound itself.
    let slope = rounded.clone() - v * inside.clone();
    let hard = rounded * scale.clone().inner();
    exactly(hard, x * inside + scale * (slope * factor))
}
