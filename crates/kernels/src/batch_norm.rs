//! Batch normalisation of [batch, channels, inner]: the training form with its gradients, and the form that ships.
//!
//! ```text
//! multiplier = gamma / sqrt(variance + epsilon)      offset = beta - mean multiplier
//! y          = x multiplier + offset
//! ```
//! Training takes mean and (biased) variance of the batch, evaluation the running ones; y is the same expression in both
//! and in the packed model. One task does all passes over a few channels, so that the later ones find them in the cache.
//! Source: Ioffe and Szegedy, ICML 2015.

use rayon::prelude::*;

use crate::channel_rows::{Group, new_buffer, row_len};
use crate::channels::Channels;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Result of the training form.
pub struct Forward {
    /// The normalised values.
    pub y: Vec<f32>,
    /// Mean of each channel of the batch.
    pub mean: Vec<f32>,
    /// Biased variance of each channel of the batch.
    pub variance: Vec<f32>,
}

/// The training form: [`statistics`], [`fold`] and [`scale_and_shift`] in one task.
pub fn forward(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, channels: Channels) -> Forward {
    assert_eq!(x.len(), channels.len());
    let (y, statistics) = new_buffer(channels, |group, y| {
        let statistics = group_statistics(x, channels, group);
        let folded = fold_group(gamma, beta, &statistics, epsilon, group);
        group.of(x).zip(y).for_each(|(x, y)| scale_rows(x, &folded, y.open()));
        statistics
    });
    let (mean, variance) = statistics.into_iter().unzip();
    Forward { y, mean, variance }
}

/// Mean and biased variance of each channel.
pub fn statistics(x: &[f32], channels: Channels) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(x.len(), channels.len());
    Group::all(channels).into_par_iter().flat_map_iter(|group| group_statistics(x, channels, group)).unzip()
}

/// Mean and biased variance of the channels of one group.
pub(crate) fn group_statistics(x: &[f32], channels: Channels, group: Group) -> Vec<(f32, f32)> {
    let count = (channels.outer * channels.inner) as f64;
    let mut sums = vec![0.0; group.len];
    group.of(x).for_each(|x| add_sums(x, &mut sums));
    let means: Vec<f32> = sums.into_iter().map(|sum| (sum / count) as f32).collect();
    let mut squares = vec![0.0; group.len];
    group.of(x).for_each(|x| add_squares(x, &means, &mut squares));
    means.into_iter().zip(squares).map(|(mean, squares)| (mean, (squares / count) as f32)).collect()
}

/// One value a channel: the multiplier and the offset of the form that ships.
pub fn fold(gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let parameters = gamma.iter().zip(beta).zip(mean.iter().zip(variance));
    parameters.map(|((gamma, beta), (mean, variance))| fold_channel(*gamma, *beta, *mean, *variance, epsilon)).unzip()
}

/// The multipliers and the offsets of the channels of one group from their mean and variance.
pub(crate) fn fold_group(
    gamma: &[f32],
    beta: &[f32],
    statistics: &[(f32, f32)],
    epsilon: f32,
    group: Group,
) -> Vec<(f32, f32)> {
    let folded = |(channel, (mean, variance)): (usize, &(f32, f32))| {
        fold_channel(gamma[channel], beta[channel], *mean, *variance, epsilon)
    };
    group.channels().zip(statistics).map(folded).collect()
}

/// The multiplier and the offset of one channel.
pub(crate) fn fold_channel(gamma: f32, beta: f32, mean: f32, variance: f32, epsilon: f32) -> (f32, f32) {
    let multiplier = gamma / (variance + epsilon).sqrt();
    (multiplier, beta - mean * multiplier)
}

/// `y` = x multiplier + offset, a multiplier and an offset a channel.
pub fn scale_and_shift(x: &[f32], multiplier: &[f32], offset: &[f32], channels: Channels, y: &mut [f32]) {
    assert_eq!(x.len(), channels.len());
    channels.pieces().zip(channels.split(y)).for_each(|((first, len, channel), y)| {
        scale_rows(&x[first..first + len], &[(multiplier[channel], offset[channel])], y);
    });
}

/// Gradients of the training form.
pub struct Gradients {
    /// With respect to x.
    pub input: Vec<f32>,
    /// With respect to gamma.
    pub gamma: Vec<f32>,
    /// With respect to beta.
    pub beta: Vec<f32>,
}

/// Gradients of the training form; `mean` and `variance` are those of the batch.
///
/// ```text
/// n = (x - mean) / sqrt(variance + epsilon)     dbeta = sum G     dgamma = sum G n
/// dx = multiplier (G - dbeta / count - n dgamma / count)
/// ```
pub fn backward(
    x: &[f32],
    gradient: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    channels: Channels,
) -> Gradients {
    assert!(x.len() == channels.len() && gradient.len() == x.len());
    let (input, parameters) = new_buffer(channels, |group, out| {
        let mut sums = vec![GradientSums::default(); group.len];
        for (x, gradient) in group.of(x).zip(group.of(gradient)) {
            add_gradient_sums(x, gradient, &mean[group.channels()], &mut sums);
        }
        let found = channel_gradients(&sums, gamma, mean, variance, epsilon, channels, group);
        // Backwards: the rows that were read last are still in the cache.
        for ((x, gradient), out) in group.of(x).zip(group.of(gradient)).zip(out).rev() {
            let out = out.open();
            out.copy_from_slice(gradient);
            input_gradient(x, &found, out);
        }
        found.into_iter().map(|found| (found.gamma, found.beta)).collect()
    });
    let (gamma, beta) = parameters.into_iter().unzip();
    Gradients { input, gamma, beta }
}

/// The sums over a channel that its gradients need.
#[derive(Clone, Copy, Default)]
pub(crate) struct GradientSums {
    /// Of G.
    plain: f64,
    /// Of G (x - mean).
    weighted: f64,
}

/// The gradients of one channel.
pub(crate) struct ChannelGradient {
    pub gamma: f32,
    pub beta: f32,
    mean: f32,
    shift: f32,
    slope: f32,
    factor: f32,
}

/// The gradients of the channels of one group from their sums.
pub(crate) fn channel_gradients(
    sums: &[GradientSums],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    channels: Channels,
    group: Group,
) -> Vec<ChannelGradient> {
    let count = (channels.outer * channels.inner) as f64;
    let finish = |(channel, sums): (usize, &GradientSums)| {
        let inverse = 1.0 / (variance[channel] + epsilon).sqrt();
        let (beta, dgamma) = (sums.plain as f32, (sums.weighted * f64::from(inverse)) as f32);
        let shift = (f64::from(beta) / count) as f32;
        let slope = (f64::from(dgamma) / count) as f32 * inverse;
        ChannelGradient { gamma: dgamma, beta, mean: mean[channel], shift, slope, factor: gamma[channel] * inverse }
    };
    group.channels().zip(sums).map(finish).collect()
}

multiversion! {
    /// `sums` += the sums of the channels of this stretch.
    fn add_sums(x: &[f32], sums: &mut [f64]) {
        for (x, sum) in x.chunks_exact(row_len(x, sums.len())).zip(sums) {
            let (blocks, rest) = x.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for block in blocks {
                for lane in 0..LANES {
                    lanes[lane] += block[lane];
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane += x;
            }
            *sum += f64::from(sum_lanes(lanes));
        }
    }
}

multiversion! {
    /// `sums` += the sums of (x - mean)^2 of the channels of this stretch.
    fn add_squares(x: &[f32], means: &[f32], sums: &mut [f64]) {
        for ((x, mean), sum) in x.chunks_exact(row_len(x, sums.len())).zip(means).zip(sums) {
            let (blocks, rest) = x.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for block in blocks {
                for lane in 0..LANES {
                    lanes[lane] += (block[lane] - mean) * (block[lane] - mean);
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane += (x - mean) * (x - mean);
            }
            *sum += f64::from(sum_lanes(lanes));
        }
    }
}

multiversion! {
    /// `sums` += the sums of the channels of this stretch.
    pub(crate) fn add_gradient_sums(x: &[f32], gradient: &[f32], means: &[f32], sums: &mut [GradientSums]) {
        let len = row_len(x, sums.len());
        for (((x, gradient), mean), sums) in x.chunks_exact(len).zip(gradient.chunks_exact(len)).zip(means).zip(sums) {
            let (x_blocks, x_rest) = x.as_chunks::<LANES>();
            let (blocks, rest) = gradient.as_chunks::<LANES>();
            let (mut plain, mut weighted) = ([0.0; LANES], [0.0; LANES]);
            for (x, gradient) in x_blocks.iter().zip(blocks) {
                for lane in 0..LANES {
                    plain[lane] += gradient[lane];
                    weighted[lane] += gradient[lane] * (x[lane] - mean);
                }
            }
            for (lane, (x, gradient)) in x_rest.iter().zip(rest).enumerate() {
                plain[lane] += gradient;
                weighted[lane] += gradient * (x - mean);
            }
            sums.plain += f64::from(sum_lanes(plain));
            sums.weighted += f64::from(sum_lanes(weighted));
        }
    }
}

multiversion! {
    /// `y` = x multiplier + offset, for the channels of this stretch.
    pub(crate) fn scale_rows(x: &[f32], folded: &[(f32, f32)], y: &mut [f32]) {
        let len = row_len(x, folded.len());
        for ((x, (multiplier, offset)), y) in x.chunks_exact(len).zip(folded).zip(y.chunks_exact_mut(len)) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = x * multiplier + offset;
            }
        }
    }
}

multiversion! {
    /// `out` holds the gradient of y and becomes the one of x, for the channels of this stretch.
    pub(crate) fn input_gradient(x: &[f32], channels: &[ChannelGradient], out: &mut [f32]) {
        let len = row_len(x, channels.len());
        for ((x, channel), out) in x.chunks_exact(len).zip(channels).zip(out.chunks_exact_mut(len)) {
            let ChannelGradient { mean, shift, slope, factor, .. } = *channel;
            for (out, x) in out.iter_mut().zip(x) {
                *out = factor * (*out - shift - (x - mean) * slope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const LAYOUT: Channels = Channels { outer: 5, channels: 3, inner: 21 };

    fn normal(len: usize, stream: u32) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(4, 0, stream).fill_normal(&mut x);
        x
    }

    #[test]
    fn the_training_form_is_the_one_that_ships_with_the_statistics_of_the_batch() {
        let (x, gamma, beta) = (normal(LAYOUT.len(), 0), [1.0, 2.0, 0.5], [0.0, 1.0, -1.0]);
        let (mean, variance) = statistics(&x, LAYOUT);
        let (multiplier, offset) = fold(&gamma, &beta, &mean, &variance, 1e-5);
        let mut y = vec![0.0; x.len()];
        scale_and_shift(&x, &multiplier, &offset, LAYOUT, &mut y);
        let found = forward(&x, &gamma, &beta, 1e-5, LAYOUT);
        assert_eq!((found.y, found.mean, found.variance), (y, mean, variance));
    }

    #[test]
    fn the_training_form_has_mean_beta_and_deviation_gamma() {
        let x: Vec<f32> = normal(LAYOUT.len(), 0).iter().map(|x| 3.0 * x + 7.0).collect();
        let (mean, variance) = statistics(&forward(&x, &[1.0, 2.0, 0.5], &[0.0, 1.0, -1.0], 1e-5, LAYOUT).y, LAYOUT);
        for (channel, (expected_mean, expected)) in [(0.0, 1.0), (1.0, 4.0), (-1.0, 0.25)].into_iter().enumerate() {
            assert!((mean[channel] - expected_mean).abs() < 1e-5);
            assert!((variance[channel] - expected as f32).abs() < 1e-4);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, target) = (normal(LAYOUT.len(), 0), normal(LAYOUT.len(), 1));
        let (gamma, beta) = ([1.0, 2.0, 0.5], [0.0, 1.0, -1.0]);
        let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
            forward(x, gamma, beta, 1e-5, LAYOUT)
                .y
                .iter()
                .zip(&target)
                .map(|(y, t)| f64::from(*y) * f64::from(*t))
                .sum()
        };
        let (mean, variance) = statistics(&x, LAYOUT);
        let found = backward(&x, &target, &gamma, &mean, &variance, 1e-5, LAYOUT);
        let step = 1e-2f32;
        let difference = |change: &dyn Fn(f32) -> f64| (change(step) - change(-step)) / (2.0 * f64::from(step));
        for i in [0, 7, 50, 200, LAYOUT.len() - 1] {
            let expected = difference(&|h| {
                let mut moved = x.clone();
                moved[i] += h;
                loss(&moved, &gamma, &beta)
            });
            assert!((f64::from(found.input[i]) - expected).abs() < 2e-3, "{} {expected}", found.input[i]);
        }
        for c in 0..3 {
            let expected = difference(&|h| {
                let mut moved = gamma;
                moved[c] += h;
                loss(&x, &moved, &beta)
            });
            assert!((f64::from(found.gamma[c]) - expected).abs() < 1e-2);
            let of_channel = (0..target.len()).filter(|i| i / LAYOUT.inner % LAYOUT.channels == c);
            let sum: f64 = of_channel.map(|i| f64::from(target[i])).sum();
            assert!((f64::from(found.beta[c]) - sum).abs() < 1e-4);
        }
    }
}
