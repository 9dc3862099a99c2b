//! Uniform quantisation to a grid and back, with the clipped or the identity rule backward.
//!
//! ```text
//! v  = round(x / scale)
//! y  = clamp(v, lowest, highest) scale
//! dx = G where lowest <= v <= highest, else 0      (clipped)
//! dx = G                                           (identity)
//! ```
//! With a zero point z and codes from qmin to qmax, lowest = qmin - z and highest = qmax - z: the code is v + z.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::CHUNK;
use crate::bounds::Bounds;
use crate::channels::Channels;
use crate::coded::to_code;
use crate::memory::Fresh;
use crate::reduce::sum_of_zeros;
use crate::simd::multiversion;

/// `x` on the grid; `scale` holds one value a channel, `bounds` likewise or one for all.
pub fn fake_quant(x: &[f32], scale: &[f32], bounds: &[Bounds], channels: Channels) -> Vec<f32> {
    check(x, scale, bounds, channels);
    let mut y = Fresh::new(x.len());
    if channels.interleaved() {
        let (scale, bounds, task) = (channels.spread(scale), channels.spread(bounds), channels.rows_a_task());
        y.pieces(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
            for (y, x) in y.open().chunks_mut(scale.len()).zip(x.chunks(scale.len())) {
                forward_row(x, &scale, &bounds, y);
            }
        });
    } else {
        channels.pieces().zip(channels.split_new(&mut y)).for_each(|((first, len, channel), y)| {
            forward_block(&x[first..first + len], scale[channel], bounds[channel.min(bounds.len() - 1)], y.open());
        });
    }
    y.finish()
}

/// The codes of [`fake_quant`] with one scale (the grid's points are numbered from 0), and whether all of `x` is finite,
/// which no code can tell.
pub fn codes(x: &[f32], scale: f32, bounds: Bounds) -> (Vec<u8>, bool) {
    let (mut codes, finite) = (Fresh::new(x.len()), AtomicBool::new(true));
    codes.pieces(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(codes, x)| {
        codes_of_block(x, scale, bounds, codes.open());
        finite.fetch_and(!sum_of_zeros(x).is_nan(), Ordering::Relaxed);
    });
    (codes.finish(), finite.into_inner())
}

/// Gradient of [`fake_quant`] by the clipped rule.
pub fn fake_quant_backward(
    x: &[f32],
    gradient: &[f32],
    scale: &[f32],
    bounds: &[Bounds],
    channels: Channels,
) -> Vec<f32> {
    check(x, scale, bounds, channels);
    let mut input_gradient = Fresh::new(x.len());
    if channels.interleaved() {
        let (scale, bounds, task) = (channels.spread(scale), channels.spread(bounds), channels.rows_a_task());
        let inputs = x.par_chunks(task).zip(gradient.par_chunks(task));
        input_gradient.pieces(task).zip(inputs).for_each(|(out, (x, gradient))| {
            let rows = x.chunks(scale.len()).zip(gradient.chunks(scale.len()));
            for (out, (x, gradient)) in out.open().chunks_mut(scale.len()).zip(rows) {
                backward_row(x, gradient, &scale, &bounds, out);
            }
        });
    } else {
        channels.pieces().zip(channels.split_new(&mut input_gradient)).for_each(|((first, len, channel), out)| {
            let bounds = bounds[channel.min(bounds.len() - 1)];
            let range = first..first + len;
            backward_block(&x[range.clone()], &gradient[range], scale[channel], bounds, out.open());
        });
    }
    input_gradient.finish()
}

/// The whole numbers behind values that already lie on a grid: `codes` = round(y / scale).
pub fn grid_codes(y: &[f32], scale: &[f32], channels: Channels, codes: &mut [f32]) {
    check(y, scale, &[Bounds::signed(1)], channels);
    if channels.interleaved() {
        let scale = channels.spread(scale);
        codes.par_chunks_mut(channels.rows_a_task()).zip(y.par_chunks(channels.rows_a_task())).for_each(
            |(codes, y)| {
                for (codes, y) in codes.chunks_mut(scale.len()).zip(y.chunks(scale.len())) {
                    codes_row(y, &scale, codes);
                }
            },
        );
        return;
    }
    channels.pieces().zip(channels.split(codes)).for_each(|((first, len, channel), codes)| {
        codes_block(&y[first..first + len], scale[channel], codes);
    });
}

fn check(x: &[f32], scale: &[f32], bounds: &[Bounds], channels: Channels) {
    assert_eq!(x.len(), channels.len());
    assert_eq!(scale.len(), channels.channels);
    assert!(bounds.len() == 1 || bounds.len() == channels.channels);
}

#[inline(always)]
fn on_grid(x: f32, scale: f32, bounds: Bounds) -> f32 {
    let v = (x / scale).round_ties_even();
    // Not `max` and `min`, which would turn a NaN into a bound and hide it.
    let v = if v < bounds.lowest { bounds.lowest } else { v };
    (if v > bounds.highest { bounds.highest } else { v }) * scale
}

#[inline(always)]
fn clipped(x: f32, gradient: f32, scale: f32, bounds: Bounds) -> f32 {
    let v = (x / scale).round_ties_even();
    if v >= bounds.lowest && v <= bounds.highest { gradient } else { 0.0 }
}

multiversion! {
    fn codes_of_block(x: &[f32], scale: f32, bounds: Bounds, codes: &mut [u8]) {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = to_code((x / scale).round_ties_even().max(bounds.lowest).min(bounds.highest) - bounds.lowest);
        }
    }
}

multiversion! {
    fn forward_block(x: &[f32], scale: f32, bounds: Bounds, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = on_grid(*x, scale, bounds);
        }
    }
}

multiversion! {
    fn forward_row(x: &[f32], scale: &[f32], bounds: &[Bounds], y: &mut [f32]) {
        for (((y, x), scale), bounds) in y.iter_mut().zip(x).zip(scale).zip(bounds) {
            *y = on_grid(*x, *scale, *bounds);
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], scale: f32, bounds: Bounds, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = clipped(*x, *gradient, scale, bounds);
        }
    }
}

multiversion! {
    fn backward_row(x: &[f32], gradient: &[f32], scale: &[f32], bounds: &[Bounds], out: &mut [f32]) {
        for ((((out, x), gradient), scale), bounds) in out.iter_mut().zip(x).zip(gradient).zip(scale).zip(bounds) {
            *out = clipped(*x, *gradient, *scale, *bounds);
        }
    }
}

multiversion! {
    fn codes_block(y: &[f32], scale: f32, codes: &mut [f32]) {
        for (code, y) in codes.iter_mut().zip(y) {
            *code = (y / scale).round_ties_even();
        }
    }
}

multiversion! {
    fn codes_row(y: &[f32], scale: &[f32], codes: &mut [f32]) {
        for ((code, y), scale) in codes.iter_mut().zip(y).zip(scale) {
            *code = (y / scale).round_ties_even();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hand_table() {
        // Step 0.5, codes 0 to 15 with zero point 5.
        let bounds = [Bounds { lowest: -5.0, highest: 10.0 }];
        let x = [-1005.8, 0.2, 500.4, -1.01, 0.25, 0.75];
        assert_eq!(fake_quant(&x, &[0.5], &bounds, Channels::one(6)), [-2.5, 0.0, 5.0, -1.0, 0.0, 1.0]);
        assert_eq!(codes(&x, 0.5, bounds[0]), (vec![0, 5, 15, 3, 5, 7], true));
        assert!(!codes(&[f32::NAN], 0.5, bounds[0]).1);
        assert!(fake_quant(&[f32::NAN], &[0.5], &bounds, Channels::one(1))[0].is_nan());
        let gradient = fake_quant_backward(&x, &[1.0; 6], &[0.5], &bounds, Channels::one(6));
        assert_eq!(gradient, [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn channels_of_any_axis_use_their_own_scale(outer in 0usize..4, channels in 1usize..5, inner in 0usize..40, seed in 0u64..1000) {
            let layout = Channels { outer, channels, inner };
            let random = crate::random::Random::new(seed, 0, 0);
            let x: Vec<f32> = (0..layout.len()).map(|i| 8.0 * random.uniform(i as u64) - 4.0).collect();
            let scale: Vec<f32> = (0..channels).map(|c| 0.1 + 0.3 * c as f32).collect();
            let y = fake_quant(&x, &scale, &[Bounds::signed(3)], layout);
            let mut codes = vec![f32::NAN; x.len()];
            grid_codes(&y, &scale, layout, &mut codes);
            for i in 0..x.len() {
                let s = scale[i / inner % channels];
                let code = (x[i] / s).round_ties_even().clamp(-4.0, 3.0);
                prop_assert_eq!((y[i], codes[i]), (code * s, code));
            }
        }
    }
}
