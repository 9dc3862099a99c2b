use burn::tensor::{Device, Tensor};
use hardgrad_kernels::fsq;

use super::Codes;
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{device, on_flex, tensor, values, whole};
use crate::surrogate::square_of_sech;

/// Finite scalar quantisation: each dimension is squeezed into an interval and rounded to a few levels.
///
/// ```text
/// h = (levels - 1) (1 + 1e-3) / 2        o = 1/2 where levels is even, else 0        s = atanh(o / h)
/// n = round(tanh(x + s) h - o)           y = n / (levels div 2)
/// index = sum over the dimensions of (n + levels div 2) times the product of the earlier dimensions' levels
/// dx = G (1 - tanh(x + s)^2) h / (levels div 2)
/// ```
/// x `[n, dims]`; `levels` one a dimension, 2 to 1000 (beyond, the factor 1 + 1e-3 would reach a code too many); y lies between -1 and 1.
/// Source: Mentzer et al., "Finite scalar quantization: VQ-VAE made simple", ICLR 2024.
///
/// # Panics
/// If the number of levels is not that of the dimensions, or one is not from 2 to 1000.
pub fn fsq(x: Tensor<2>, levels: &[u32]) -> Codes {
    let dims = x.dims();
    assert_eq!(dims[1], levels.len(), "fsq: one number of levels a dimension");
    assert!(levels.iter().all(|level| (2..=1000).contains(level)), "fsq: every dimension needs 2 to 1000 levels");
    let input = values(&x.clone().inner().to_device(&Device::flex()));
    let (mut y, mut indices) = (vec![0.0; input.len()], vec![0; dims[0]]);
    fsq::fsq(&input, levels, &mut y, Some(&mut indices));
    let indices = whole(indices, [dims[0]], device(&x));
    if !on_flex(&x) {
        return Codes { quantized: composed(x, levels), indices };
    }
    let levels = levels.to_vec();
    let quantized = custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        fsq::fsq_backward(&input, &values(&gradient), &levels, &mut out);
        tensor(out, dims)
    });
    Codes { quantized, indices }
}

/// The vectors of [`fsq()`] as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<2>, levels: &[u32]) -> Tensor<2> {
    let constant = x.clone().inner();
    let row = |of: fn(f64) -> f64| {
        let values: Vec<f32> = levels.iter().map(|level| of(f64::from(*level)) as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &constant.device()).reshape([1, levels.len()])
    };
    let width = row(width);
    let half = row(|levels| (levels / 2.0).floor());
    let moved = constant.clone() + row(|levels| (offset(levels) / self::width(levels)).atanh());
    let hard = (moved.clone().tanh() * width.clone() - row(offset)).round() / half.clone();
    exactly(hard, x * (square_of_sech(moved) * width / half))
}

fn width(levels: f64) -> f64 {
    (levels - 1.0) * (1.0 + 1e-3) / 2.0
}

fn offset(levels: f64) -> f64 {
    if levels % 2.0 == 0.0 { 0.5 } else { 0.0 }
}
