use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::fake_quant;
use hardgrad_kernels::lsq::lsq_backward;

use super::{along, channels};
use crate::coded::{Activation, CodedTensor};
use crate::custom_gradient::{AnyRank, exactly, node};
use crate::flex::{Values, on_flex, tensor, values};
use crate::profile;

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
    let (dims, steps) = (x.dims(), values(&scale));
    let channels = channels(&dims, steps.len(), axis);
    let y = profile::forward("lsq", || fake_quant::fake_quant(&values(&x), &steps, &[bounds], channels));
    let places = [x.clone().into(), scale.into()];
    node(places, tensor(y, dims), gradients(x, steps, bounds, channels))
}

/// [`lsq()`] with one scale, whose result is held as codes.
///
/// # Panics
/// If `bounds.highest` is 0, the grid has more than 256 points, or there are several scales.
pub fn lsq_coded<const D: usize>(x: Tensor<D>, scale: Tensor<1>, bounds: Bounds) -> Activation<D> {
    assert!(bounds.highest > 0.0, "lsq divides by the highest code: signed values need at least 2 bits");
    assert!(bounds.highest - bounds.lowest <= 255.0, "lsq_coded: a code is one byte, got {bounds:?}");
    if !on_flex(&x) {
        return composed(x, scale, bounds, None).into();
    }
    let (dims, steps) = (x.dims(), values(&scale));
    assert_eq!(steps.len(), 1, "lsq_coded: one step for all values");
    let (codes, finite) = profile::forward("lsq", || fake_quant::codes(&values(&x), steps[0], bounds));
    let grid = (bounds.lowest as i32, (bounds.highest - bounds.lowest) as i32, grid_scale(steps[0], finite));
    let places = [x.clone().into(), scale.into()];
    let channels = Channels::one(codes.len());
    CodedTensor::new(places, codes, dims, grid, gradients(x, steps, bounds, channels)).into()
}

/// The backward pass of x on the grid of these steps.
fn gradients<const D: usize>(
    x: Tensor<D>,
    steps: Values,
    bounds: Bounds,
    channels: Channels,
) -> impl Fn(Tensor<D>, [bool; 2]) -> [Option<AnyRank>; 2] + Send + Sync + 'static {
    let (input, dims) = (values(&x), x.dims());
    let factor = factor(channels.len(), steps.len(), bounds);
    move |gradient, _| {
        let (dx, dscale) =
            profile::backward("lsq", || lsq_backward(&input, &values(&gradient), &steps, bounds, channels, factor));
        let count = dscale.len();
        [Some(tensor(dx, dims).into()), Some(tensor(dscale, [count]).into())]
    }
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

/// The scale of codes: not a number if a value that became a code was not finite, so that divergence shows in what reads them.
pub(super) fn grid_scale(scale: f32, finite: bool) -> f32 {
    if finite { scale } else { f32::NAN }
}
