//! Learned step size (LSQ): the gradients of quantising to a grid whose step is trained.
//!
//! ```text
//! v      = x / scale
//! y      = round(clamp(v, lowest, highest)) scale          (the forward pass is that of `fake_quant`)
//! dx     = G where lowest <= v <= highest, else 0
//! dscale = c sum over the channel of G d,   d = lowest where v < lowest, highest where v > highest, else round(v) - v
//! ```
//! Source: Esser et al., "Learned step size quantization", ICLR 2020.

use rayon::prelude::*;

use crate::bounds::Bounds;

use crate::channels::Channels;
use crate::memory::Fresh;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Gradients with respect to `x` and to `scale` (one value a channel, times `factor`).
pub fn lsq_backward(
    x: &[f32],
    gradient: &[f32],
    scale: &[f32],
    bounds: Bounds,
    channels: Channels,
    factor: f32,
) -> (Vec<f32>, Vec<f32>) {
    assert!(x.len() == channels.len() && gradient.len() == x.len() && scale.len() == channels.channels);
    let mut input_gradient = Fresh::new(x.len());
    let mut totals = vec![0.0f64; channels.channels];
    if channels.interleaved() {
        let (scale, task) = (channels.spread(scale), channels.rows_a_task());
        let inputs = x.par_chunks(task).zip(gradient.par_chunks(task));
        let sums: Vec<Vec<f32>> = input_gradient
            .pieces(task)
            .zip(inputs)
            .map(|(out, (x, gradient))| {
                let mut sums = vec![0.0; scale.len()];
                let rows = x.chunks(scale.len()).zip(gradient.chunks(scale.len()));
                for (out, (x, gradient)) in out.open().chunks_mut(scale.len()).zip(rows) {
                    row(x, gradient, &scale, bounds, out, &mut sums);
                }
                sums
            })
            .collect();
        for sums in sums {
            for (place, sum) in sums.into_iter().enumerate() {
                totals[place / channels.inner] += f64::from(sum);
            }
        }
    } else {
        let sums: Vec<(usize, f32)> = channels
            .pieces()
            .zip(channels.split_new(&mut input_gradient))
            .map(|((first, len, channel), out)| {
                let range = first..first + len;
                (channel, block(&x[range.clone()], &gradient[range], scale[channel], bounds, out.open()))
            })
            .collect();
        for (channel, sum) in sums {
            totals[channel] += f64::from(sum);
        }
    }
    let scale_gradient = totals.into_iter().map(|total| (total * f64::from(factor)) as f32).collect();
    (input_gradient.finish(), scale_gradient)
}

/// Gradient of one value to its input, and its share of the gradient of the scale.
#[inline(always)]
fn one(x: f32, gradient: f32, scale: f32, bounds: Bounds) -> (f32, f32) {
    let v = x / scale;
    let inside = v >= bounds.lowest && v <= bounds.highest;
    let clamped = v.max(bounds.lowest).min(bounds.highest);
    let slope = if inside { v.round_ties_even() - v } else { clamped };
    (if inside { gradient } else { 0.0 }, gradient * slope)
}

multiversion! {
    fn block(x: &[f32], gradient: &[f32], scale: f32, bounds: Bounds, out: &mut [f32]) -> f32 {
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (g_blocks, g_rest) = gradient.as_chunks::<LANES>();
        let (out_blocks, out_rest) = out.as_chunks_mut::<LANES>();
        let mut lanes = [0.0; LANES];
        for ((x, g), out) in x_blocks.iter().zip(g_blocks).zip(out_blocks) {
            for lane in 0..LANES {
                let (gradient, share) = one(x[lane], g[lane], scale, bounds);
                out[lane] = gradient;
                lanes[lane] += share;
            }
        }
        let mut sum = sum_lanes(lanes);
        for ((x, g), out) in x_rest.iter().zip(g_rest).zip(out_rest) {
            let (gradient, share) = one(*x, *g, scale, bounds);
            *out = gradient;
            sum += share;
        }
        sum
    }
}

multiversion! {
    fn row(x: &[f32], gradient: &[f32], scale: &[f32], bounds: Bounds, out: &mut [f32], sums: &mut [f32]) {
        for ((((out, x), gradient), scale), sum) in out.iter_mut().zip(x).zip(gradient).zip(scale).zip(sums) {
            let (gradient, share) = one(*x, *gradient, *scale, bounds);
            *out = gradient;
            *sum += share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_of_a_hand_table() {
        let (x, gradient) = ([-3.0, -0.7, 0.3, 9.0, 0.2], [1.0, 2.0, -1.0, 3.0, 4.0]);
        let (dx, dscale) = lsq_backward(&x, &gradient, &[0.5], Bounds::signed(2), Channels::one(5), 0.5);
        assert_eq!(dx, [0.0, 2.0, -1.0, 0.0, 4.0]);
        // v = -6, -1.4, 0.6, 18, 0.4; d = -2, 0.4, 0.4, 1, -0.4
        let expected = 0.5 * (-2.0 + 2.0 * 0.4 - 0.4 + 3.0 - 4.0 * 0.4);
        assert!((dscale[0] - expected).abs() < 1e-6);
    }

    #[test]
    fn channels_along_the_last_axis_agree_with_the_transposed_layout() {
        let random = crate::random::Random::new(1, 0, 0);
        let (rows, columns) = (700, 5);
        let x: Vec<f32> = (0..rows * columns).map(|i| 4.0 * random.uniform(i) - 2.0).collect();
        let gradient: Vec<f32> = (0..rows * columns).map(|i| random.uniform(i + 10_000) - 0.5).collect();
        let turned = |values: &[f32]| -> Vec<f32> {
            (0..columns as usize).flat_map(|c| values.iter().skip(c).step_by(columns as usize).copied()).collect()
        };
        let scale = [0.1, 0.2, 0.3, 0.4, 0.5];
        let run =
            |x: &[f32], gradient: &[f32], channels| lsq_backward(x, gradient, &scale, Bounds::signed(3), channels, 1.0);
        let last = run(&x, &gradient, Channels { outer: rows as usize, channels: 5, inner: 1 });
        let first = run(&turned(&x), &turned(&gradient), Channels { outer: 1, channels: 5, inner: rows as usize });
        assert_eq!(turned(&last.0), first.0);
        assert!(last.1.iter().zip(&first.1).all(|(a, b)| (a - b).abs() < 1e-4), "{:?} {:?}", last.1, first.1);
    }
}
