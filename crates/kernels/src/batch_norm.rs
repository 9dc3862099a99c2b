//! Batch normalisation of [batch, channels, inner]: the training form with its gradients, and the form that ships.
//!
//! ```text
//! multiplier = gamma / sqrt(variance + epsilon)      offset = beta - mean multiplier
//! y          = x multiplier + offset
//! ```
//! Training takes mean and (biased) variance of the batch, evaluation the running ones; y is the same expression in both
//! and in the packed model. Source: Ioffe and Szegedy, ICML 2015.

use rayon::prelude::*;

use crate::fake_quant::Channels;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Mean and biased variance of each channel.
pub fn statistics(x: &[f32], channels: Channels) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(x.len(), channels.len());
    let count = (channels.outer * channels.inner) as f64;
    (0..channels.channels)
        .into_par_iter()
        .map(|channel| {
            let mean = rows(x, channels, channel).map(|row| f64::from(sum(row))).sum::<f64>() / count;
            let squares: f64 = rows(x, channels, channel).map(|row| f64::from(sum_of_squares(row, mean as f32))).sum();
            (mean as f32, (squares / count) as f32)
        })
        .unzip()
}

/// One value a channel: the multiplier and the offset of the form that ships.
pub fn fold(gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let multiplier: Vec<f32> = gamma.iter().zip(variance).map(|(gamma, v)| gamma / (v + epsilon).sqrt()).collect();
    let offset = beta.iter().zip(mean).zip(&multiplier).map(|((beta, mean), multiplier)| beta - mean * multiplier);
    let offset = offset.collect();
    (multiplier, offset)
}

/// `y` = x multiplier + offset, a multiplier and an offset a channel.
pub fn scale_and_shift(x: &[f32], multiplier: &[f32], offset: &[f32], channels: Channels, y: &mut [f32]) {
    assert_eq!(x.len(), channels.len());
    channels.pieces().zip(channels.split(y)).for_each(|((first, len, channel), y)| {
        scale_block(&x[first..first + len], multiplier[channel], offset[channel], y);
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
    let count = (channels.outer * channels.inner) as f64;
    let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect();
    let (dbeta, dgamma): (Vec<f32>, Vec<f32>) = (0..channels.channels)
        .into_par_iter()
        .map(|channel| {
            let (mut plain, mut weighted) = (0.0, 0.0);
            for (x, gradient) in rows(x, channels, channel).zip(rows(gradient, channels, channel)) {
                let sums = gradient_sums(x, gradient, mean[channel]);
                plain += f64::from(sums.0);
                weighted += f64::from(sums.1);
            }
            (plain as f32, (weighted * f64::from(inverse[channel])) as f32)
        })
        .unzip();
    let mut input = vec![0.0; x.len()];
    channels.pieces().zip(channels.split(&mut input)).for_each(|((first, len, channel), out)| {
        let shift = (f64::from(dbeta[channel]) / count) as f32;
        let slope = (f64::from(dgamma[channel]) / count) as f32 * inverse[channel];
        let factor = gamma[channel] * inverse[channel];
        let range = first..first + len;
        backward_block(&x[range.clone()], &gradient[range], mean[channel], shift, slope, factor, out);
    });
    Gradients { input, gamma: dgamma, beta: dbeta }
}

/// The rows of one channel, a row for each index of the outer axis.
fn rows(x: &[f32], channels: Channels, channel: usize) -> impl Iterator<Item = &[f32]> {
    let Channels { outer, channels, inner } = channels;
    (0..outer).map(move |index| &x[(index * channels + channel) * inner..][..inner])
}

multiversion! {
    fn sum(x: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for x in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(x) {
                *lane += x;
            }
        }
        sum_lanes(lanes)
    }
}

multiversion! {
    fn sum_of_squares(x: &[f32], mean: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        for x in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(x) {
                *lane += (x - mean) * (x - mean);
            }
        }
        sum_lanes(lanes)
    }
}

multiversion! {
    fn gradient_sums(x: &[f32], gradient: &[f32], mean: f32) -> (f32, f32) {
        let (mut plain, mut weighted) = ([0.0; LANES], [0.0; LANES]);
        for (x, gradient) in x.chunks(LANES).zip(gradient.chunks(LANES)) {
            for (lane, (x, gradient)) in x.iter().zip(gradient).enumerate() {
                plain[lane] += gradient;
                weighted[lane] += gradient * (x - mean);
            }
        }
        (sum_lanes(plain), sum_lanes(weighted))
    }
}

multiversion! {
    fn scale_block(x: &[f32], multiplier: f32, offset: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * multiplier + offset;
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], mean: f32, shift: f32, slope: f32, factor: f32, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = factor * (gradient - shift - (x - mean) * slope);
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

    fn forward(x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
        let (mean, variance) = statistics(x, LAYOUT);
        let (multiplier, offset) = fold(gamma, beta, &mean, &variance, 1e-5);
        let mut y = vec![0.0; x.len()];
        scale_and_shift(x, &multiplier, &offset, LAYOUT, &mut y);
        y
    }

    #[test]
    fn the_training_form_has_mean_beta_and_deviation_gamma() {
        let x: Vec<f32> = normal(LAYOUT.len(), 0).iter().map(|x| 3.0 * x + 7.0).collect();
        let (mean, variance) = statistics(&forward(&x, &[1.0, 2.0, 0.5], &[0.0, 1.0, -1.0]), LAYOUT);
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
            forward(x, gamma, beta).iter().zip(&target).map(|(y, t)| f64::from(*y) * f64::from(*t)).sum()
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
            let sum: f64 = rows(&target, LAYOUT, c).flatten().map(|g| f64::from(*g)).sum();
            assert!((f64::from(found.beta[c]) - sum).abs() < 1e-4);
        }
    }
}
