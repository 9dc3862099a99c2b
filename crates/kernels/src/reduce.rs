//! Sums and extremes whose result does not depend on the number of threads.

use rayon::prelude::*;

use crate::CHUNK;
use crate::bounds::Bounds;
use crate::channels::Channels;
use crate::simd::multiversion;

/// Independent partial sums of one loop: enough for one AVX-512 register, so that the compiler may vectorise the sum.
pub const LANES: usize = 16;

/// How many partial sums of `len` values a pass may keep before it adds them: 16, fewer where they are large. It depends on
/// the size alone, so that the order of the sums does.
pub(crate) fn parts_of(len: usize) -> usize {
    // 32 MiB in all, but enough tasks for some threads.
    ((8 << 20) / len.max(1)).clamp(8, 16)
}

/// `out` = the sum of `parts` in their order.
pub fn sum_of_parts(parts: &[Vec<f32>], out: &mut [f32]) {
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        out.fill(0.0);
        for part in parts {
            add(&part[chunk * CHUNK..][..out.len()], out);
        }
    });
}

multiversion! {
    pub(crate) fn add(x: &[f32], out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += *x;
        }
    }
}

/// Adds up lanes pairwise, always in the same order.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let mut sums = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// The sum of `f(chunk)` over fixed chunks of `x`, in their order.
fn sum_chunks(x: &[f32], f: impl Fn(&[f32]) -> f32 + Sync) -> f64 {
    let sums: Vec<f32> = x.par_chunks(CHUNK).map(&f).collect();
    sums.into_iter().map(f64::from).sum()
}

/// The smallest and the largest value, both NaN if one is; (0, 0) for an empty slice.
pub fn min_max(x: &[f32]) -> (f32, f32) {
    let blocks = x.par_chunks(CHUNK).map(min_max_block);
    blocks.reduce_with(|a, b| (smaller(a.0, b.0), larger(a.1, b.1))).unwrap_or((0.0, 0.0))
}

/// The smaller of two values, NaN if one is.
fn smaller(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// The larger of two values, NaN if one is.
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

multiversion! {
    fn min_max_block(x: &[f32]) -> (f32, f32) {
        // Several registers of each, because a comparison waits for the one before it.
        let (blocks, rest) = x.as_chunks::<{ 4 * LANES }>();
        let (mut low, mut high) = ([f32::INFINITY; 4 * LANES], [f32::NEG_INFINITY; 4 * LANES]);
        for block in blocks {
            for lane in 0..4 * LANES {
                low[lane] = if block[lane] < low[lane] { block[lane] } else { low[lane] };
                high[lane] = if block[lane] > high[lane] { block[lane] } else { high[lane] };
            }
        }
        let low = low.into_iter().chain(rest.iter().copied()).fold(f32::INFINITY, f32::min);
        let high = high.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
        // The comparisons above pass over a NaN; an infinity is an extreme already.
        let nan = if low.is_finite() && high.is_finite() { sum_of_zeros(x) } else { sum_of_nans(x) };
        (low + nan, high + nan)
    }
}

/// Smallest and largest value of each channel, counting 0 in; the smallest is NaN if a value is.
pub fn channel_ranges(x: &[f32], channels: Channels) -> Vec<(f32, f32)> {
    assert_eq!(x.len(), channels.len());
    let (mut low, mut high) = (vec![0.0f32; channels.channels], vec![0.0f32; channels.channels]);
    if channels.inner == 1 {
        for row in x.chunks(channels.channels.max(1)) {
            widen(row, &mut low, &mut high);
            // A comparison passes over a NaN.
            if sum_of_zeros(row).is_nan() {
                low.iter_mut().zip(row).filter(|(_, x)| x.is_nan()).for_each(|(low, _)| *low = f32::NAN);
            }
        }
    } else {
        for (row, x) in x.chunks(channels.inner.max(1)).enumerate() {
            let (channel, (smallest, largest)) = (row % channels.channels, min_max_block(x));
            low[channel] = smaller(low[channel], smallest);
            high[channel] = larger(high[channel], largest);
        }
    }
    low.into_iter().zip(high).collect()
}

/// NaN if a value is, else 0.
fn sum_of_nans(x: &[f32]) -> f32 {
    if x.iter().any(|x| x.is_nan()) { f32::NAN } else { 0.0 }
}

multiversion! {
    fn widen(row: &[f32], low: &mut [f32], high: &mut [f32]) {
        for ((x, low), high) in row.iter().zip(low).zip(high) {
            *low = if *x < *low { *x } else { *low };
            *high = if *x > *high { *x } else { *high };
        }
    }
}

/// The largest abs(x); 0 for an empty slice.
pub fn max_abs(x: &[f32]) -> f32 {
    let (low, high) = min_max(x);
    high.max(-low)
}

/// The sum of all magnitudes, in f64: it cannot overflow.
pub fn sum_abs(x: &[f32]) -> f64 {
    let sums: Vec<f64> = x.par_chunks(CHUNK).map(sum_abs_block).collect();
    sums.into_iter().sum()
}

multiversion! {
    fn sum_abs_block(x: &[f32]) -> f64 {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let mut lanes = [0.0f64; LANES];
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += f64::from(x.abs());
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(x.abs())).sum::<f64>()
    }
}

/// The sum of all products `x` `y`.
pub fn inner_product(x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len());
    let sums: Vec<f32> = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).map(|(x, y)| product_block(x, y)).collect();
    sums.into_iter().map(f64::from).sum()
}

multiversion! {
    fn product_block(x: &[f32], y: &[f32]) -> f32 {
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (x, y) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * y[lane];
            }
        }
        sum_lanes(lanes) + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
    }
}

/// True if no value is infinite or not a number.
pub fn all_finite(x: &[f32]) -> bool {
    // Any infinity or NaN makes the sum of 0 * x a NaN.
    !sum_chunks(x, sum_of_zeros).is_nan()
}

multiversion! {
    /// NaN if a value is not finite, else 0.
    pub(crate) fn sum_of_zeros(x: &[f32]) -> f32 {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += x * 0.0;
            }
        }
        sum_lanes(lanes) + rest.iter().map(|x| x * 0.0).sum::<f32>()
    }
}

/// Number of trial scales of [`best_scale`].
const TRIALS: usize = 100;

/// The step size that quantises `x` with the least squared error, among `TRIALS` equal parts of the step that clips nothing.
///
/// ```text
/// scale = argmin over s of sum (clamp(round(x/s), lowest, highest) s - x)^2
/// ```
/// None where nothing can set a step: no values, none but 0 that the bounds reach, or values that are not finite.
pub fn best_scale(x: &[f32], bounds: Bounds) -> Option<f32> {
    let (low, high) = min_max(x);
    let part = |value: f32, bound: f32| if bound != 0.0 { value / bound } else { 0.0 };
    let widest = part(low, bounds.lowest).max(part(high, bounds.highest));
    if !(widest > 0.0 && widest.is_finite()) {
        return None;
    }
    let errors: Vec<(f64, f32)> = (1..=TRIALS)
        .into_par_iter()
        .map(|trial| {
            let scale = widest * trial as f32 / TRIALS as f32;
            (x.chunks(CHUNK).map(|x| f64::from(squared_error(x, scale, bounds))).sum(), scale)
        })
        .filter(|(_, scale)| *scale > 0.0)
        .collect();
    Some(errors.into_iter().fold((f64::INFINITY, widest), |best, trial| if trial.0 < best.0 { trial } else { best }).1)
}

multiversion! {
    fn squared_error(x: &[f32], scale: f32, bounds: Bounds) -> f32 {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        let error = |x: f32| {
            let error = (x / scale).round_ties_even().max(bounds.lowest).min(bounds.highest) * scale - x;
            error * error
        };
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += error(*x);
            }
        }
        sum_lanes(lanes) + rest.iter().map(|x| error(*x)).sum::<f32>()
    }
}

multiversion! {
    /// The sum of a short row: a sum a lane, then that of the lanes.
    pub(crate) fn sum(x: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for x in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(x) {
                *lane += x;
            }
        }
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn normal(len: usize) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(4, 0, 0).fill_normal(&mut x);
        x
    }

    #[test]
    fn extremes_of_every_length() {
        for len in [0, 1, 15, 16, 17, CHUNK, CHUNK + 3] {
            let x = normal(len);
            let low = x.iter().copied().reduce(f32::min).unwrap_or(0.0);
            let high = x.iter().copied().reduce(f32::max).unwrap_or(0.0);
            assert_eq!(min_max(&x), (low, high));
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_not_passed_over() {
        for (place, inner) in [(0, 1), (17, 1), (40, 7), (69, 35)] {
            let mut x = normal(70);
            x[place] = f32::NAN;
            assert!(min_max(&x).0.is_nan());
            let layout = Channels { outer: 70 / inner / 2, channels: 2, inner };
            for (channel, range) in channel_ranges(&x, layout).into_iter().enumerate() {
                assert_eq!(range.0.is_nan(), place / inner % 2 == channel);
            }
        }
        assert_eq!(min_max(&[f32::INFINITY, 1.0]), (1.0, f32::INFINITY));
    }

    #[test]
    fn ranges_of_channels_along_any_axis() {
        let x = normal(6 * 5 * 7);
        for (outer, channels, inner) in [(6, 5, 7), (30, 7, 1), (1, 6, 35)] {
            let layout = Channels { outer, channels, inner };
            for (channel, range) in channel_ranges(&x, layout).into_iter().enumerate() {
                let mine = x.iter().enumerate().filter(|(i, _)| i / inner % channels == channel).map(|(_, x)| *x);
                let expected = mine.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x)));
                assert_eq!(range, expected);
            }
        }
    }

    #[test]
    fn one_bad_value_is_found_anywhere() {
        for place in [0, 16, CHUNK + 2] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = normal(CHUNK + 3);
                assert!(all_finite(&x));
                x[place] = bad;
                assert!(!all_finite(&x));
            }
        }
    }

    #[test]
    fn the_best_scale_of_normal_values_is_the_known_optimum() {
        // Lloyd's uniform quantiser of a normal variable: step 0.9957 at 4 symmetric levels without 0; with levels -2..1 at
        // 2 bits the optimum lies near 1.0, at 4 bits near 0.335 and at 8 bits near 0.031 (Max 1960, table II).
        let x = normal(50_000);
        for (bits, low, high) in [(2, 0.9, 1.3), (4, 0.30, 0.37), (8, 0.026, 0.036)] {
            let scale = best_scale(&x, Bounds::signed(bits)).unwrap();
            assert!((low..high).contains(&scale), "{bits} bits: {scale}");
        }
    }

    #[test]
    fn values_without_a_range_have_no_best_scale() {
        let without: [&[f32]; 6] =
            [&[], &[0.0; 5], &[f32::NAN, 1.0], &[1.0, f32::NAN], &[f32::INFINITY, 1.0], &[1.0, f32::NEG_INFINITY]];
        for x in without {
            assert_eq!(best_scale(x, Bounds::signed(4)), None, "{x:?}");
        }
        assert_eq!(best_scale(&[-1.0, -2.0], Bounds::unsigned(4)), None);
        assert!(best_scale(&[-1.0, -2.0], Bounds::signed(4)).is_some());
    }
}
