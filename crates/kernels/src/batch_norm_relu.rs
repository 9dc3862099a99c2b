//! Batch norm, the addition of a shortcut, ReLU and an unsigned learned-step quantiser as one pass.
//!
//! ```text
//! a      = x multiplier + offset (+ shortcut)          multiplier, offset: `batch_norm`
//! y      = max(a, 0), or the codes of it               ga: gradient of a, dscale: `relu_quantize`
//! n      = (x - mean) / sqrt(variance + epsilon)       dbeta = sum ga     dgamma = sum ga n
//! dx     = multiplier (ga - dbeta / count - n dgamma / count)
//! ```
//! x is [batch, channels, inner]. Nothing is kept for the backward pass but x and the shortcut: a is computed again. One task
//! does all passes over a few channels, so that the later ones find them in the cache. The values are those of the chain
//! [`batch_norm`](crate::batch_norm), addition, [`relu_quantize`](crate::relu_quantize). Sources: Ioffe and Szegedy, ICML
//! 2015; Esser et al., "Learned step size quantization", ICLR 2020.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::batch_norm::{
    ChannelGradient, GradientSums, add_gradient_sums, channel_gradients, fold_group, group_statistics, input_gradient,
};
use crate::channel_rows::{Group, STRETCH, new_buffer, pieces_of_groups};
use crate::channels::Channels;
use crate::memory::Fresh;
use crate::relu_quantize::{Activations, ReluQuantizer, Shortcut, Sums, check};

/// Result of the training form.
pub struct Forward {
    /// Values or codes.
    pub y: Activations,
    /// Mean of each channel of the batch.
    pub mean: Vec<f32>,
    /// Biased variance of each channel of the batch.
    pub variance: Vec<f32>,
}

/// What a training forward pass normalised with, one value a channel.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// Learned factor.
    pub gamma: &'a [f32],
    /// Learned shift.
    pub beta: &'a [f32],
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// Biased variance of the batch.
    pub variance: &'a [f32],
    /// What is added to the variance.
    pub epsilon: f32,
}

/// Gradients of the training form.
pub struct Gradients {
    /// With respect to x.
    pub input: Vec<f32>,
    /// With respect to the shortcut, if it was wanted.
    pub shortcut: Option<Vec<f32>>,
    /// With respect to gamma.
    pub gamma: Vec<f32>,
    /// With respect to beta.
    pub beta: Vec<f32>,
    /// With respect to the scale of the quantiser; 0 without one.
    pub scale: f32,
}

/// The training form: normalises with the statistics of the batch, which it returns.
pub fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    channels: Channels,
    shortcut: Option<Shortcut>,
    quantizer: Option<ReluQuantizer>,
) -> Forward {
    let (y, statistics) = activations(x, channels, shortcut, quantizer, |group| {
        let statistics = group_statistics(x, channels, group);
        (fold_group(gamma, beta, &statistics, epsilon, group), statistics)
    });
    let (mean, variance) = statistics.into_iter().unzip();
    Forward { y, mean, variance }
}

/// The form of evaluation: a multiplier and an offset a channel are given.
pub fn forward_folded(
    x: &[f32],
    multiplier: &[f32],
    offset: &[f32],
    channels: Channels,
    shortcut: Option<Shortcut>,
    quantizer: Option<ReluQuantizer>,
) -> Activations {
    let given = |group: Group| group.channels().map(|channel| (multiplier[channel], offset[channel])).collect();
    activations(x, channels, shortcut, quantizer, |group| (given(group), Vec::<()>::new())).0
}

/// `fold(group)` gives the multipliers and the offsets of the channels of a group, and what else is to be returned for them.
fn activations<R: Send>(
    x: &[f32],
    channels: Channels,
    shortcut: Option<Shortcut>,
    quantizer: Option<ReluQuantizer>,
    fold: impl Fn(Group) -> (Vec<(f32, f32)>, Vec<R>) + Sync,
) -> (Activations, Vec<R>) {
    assert_eq!(x.len(), channels.len());
    check(x, shortcut, quantizer);
    let Some(quantizer) = quantizer else {
        let (y, results) = new_buffer(channels, |group, pieces| {
            let (folded, results) = fold(group);
            sums(x, &folded, group, shortcut).zip(pieces).for_each(|(sums, y)| sums.relu(y.open()));
            results
        });
        return (Activations::Float(y), results);
    };
    let finite = AtomicBool::new(true);
    let (codes, results) = new_buffer(channels, |group, pieces| {
        let (folded, results) = fold(group);
        let mut scratch = [0.0; STRETCH];
        for (sums, codes) in sums(x, &folded, group, shortcut).zip(pieces) {
            finite.fetch_and(sums.codes(quantizer, &mut scratch, codes.open()), Ordering::Relaxed);
        }
        results
    });
    (Activations::Coded { codes, finite: finite.into_inner() }, results)
}

/// The stretches a = x multiplier + offset (+ shortcut) of one group.
fn sums<'a>(
    x: &'a [f32],
    folded: &'a [(f32, f32)],
    group: Group,
    shortcut: Option<Shortcut<'a>>,
) -> impl Iterator<Item = Sums<'a>> {
    let whole = Sums { x, folded, shortcut };
    group.stretches().map(move |stretch| whole.part(stretch))
}

/// Gradients of [`forward`]; the one of the scale is times `factor`, the one of the shortcut is made if it is `wanted`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    x: &[f32],
    gradient: &[f32],
    normalization: Normalization,
    channels: Channels,
    shortcut: Option<Shortcut>,
    quantizer: Option<ReluQuantizer>,
    factor: f32,
    wanted: bool,
) -> Gradients {
    assert!(x.len() == channels.len() && gradient.len() == x.len());
    check(x, shortcut, quantizer);
    let Normalization { gamma, beta, mean, variance, epsilon } = normalization;
    let mut copy = Fresh::new(if wanted { x.len() } else { 0 });
    let copies = pieces_of_groups(&mut copy, channels);
    let mut input = Fresh::new(x.len());
    let outputs = pieces_of_groups(&mut input, channels);
    let tasks = Group::all(channels).into_par_iter().zip(outputs.into_par_iter().zip(copies));
    let found: Vec<(Vec<ChannelGradient>, f64)> = tasks
        .map(|(group, (outputs, copies))| {
            let statistics: Vec<_> = group.channels().map(|channel| (mean[channel], variance[channel])).collect();
            let folded = fold_group(gamma, beta, &statistics, epsilon, group);
            let (mut parameter_sums, mut scale_sum) = (vec![GradientSums::default(); group.len], 0.0);
            let mut copies = copies.into_iter();
            let mut written = Vec::with_capacity(channels.outer);
            let inputs = sums(x, &folded, group, shortcut).zip(group.of(gradient));
            for ((sums, gradient), piece) in inputs.zip(outputs) {
                let out = piece.open();
                sums.gradient(quantizer, gradient, out, |x, gradient, share| {
                    add_gradient_sums(x, gradient, &mean[group.channels()], &mut parameter_sums);
                    scale_sum += f64::from(share);
                });
                if let Some(copy) = copies.next() {
                    copy.open().copy_from_slice(out);
                }
                written.push(out);
            }
            let found = channel_gradients(&parameter_sums, gamma, mean, variance, epsilon, channels, group);
            // Backwards: what was written last is still in the cache.
            group.of(x).zip(written).rev().for_each(|(x, out)| input_gradient(x, &found, out));
            (found, scale_sum)
        })
        .collect();
    let scale = (found.iter().map(|found| found.1).sum::<f64>() * f64::from(factor)) as f32;
    let parameters = found.into_iter().flat_map(|found| found.0);
    let (gamma, beta) = parameters.map(|found| (found.gamma, found.beta)).unzip();
    Gradients { input: input.finish(), shortcut: wanted.then(|| copy.finish()), gamma, beta, scale }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch_norm;
    use crate::coded::{Coded, decode};
    use crate::random::Random;
    use crate::relu_quantize;

    const EPSILON: f32 = 1e-5;

    /// Inputs of a layer of this layout.
    struct Case {
        channels: Channels,
        x: Vec<f32>,
        gradient: Vec<f32>,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        shortcut: Vec<f32>,
        codes: Vec<u8>,
        quantizer: Option<ReluQuantizer>,
    }

    impl Case {
        fn new(outer: usize, channels: usize, inner: usize, seed: u64) -> Self {
            let channels = Channels { outer, channels, inner };
            let normal = |len, stream| {
                let mut values = vec![0.0; len];
                Random::new(seed, 0, stream).fill_normal(&mut values);
                values
            };
            let len = channels.len();
            Self {
                channels,
                x: normal(len, 0).iter().map(|x| 3.0 * x + 2.0).collect(),
                gradient: normal(len, 1),
                gamma: normal(channels.channels, 2),
                beta: normal(channels.channels, 3),
                shortcut: normal(len, 4),
                codes: (0..len).map(|i| Random::new(seed, 0, 5).below(i as u64, 16) as u8).collect(),
                quantizer: seed.is_multiple_of(2).then_some(ReluQuantizer { scale: 0.2, highest: 7.0 }),
            }
        }

        /// No shortcut, a float one, a coded one.
        fn shortcuts(&self) -> [Option<Shortcut<'_>>; 3] {
            let coded = Coded { codes: &self.codes, lowest: -4.0, scale: 0.1 };
            [None, Some(Shortcut::Float(&self.shortcut)), Some(Shortcut::Coded(coded))]
        }

        fn forward(&self, shortcut: Option<Shortcut>) -> Forward {
            forward(&self.x, &self.gamma, &self.beta, EPSILON, self.channels, shortcut, self.quantizer)
        }

        fn backward(&self, forward: &Forward, shortcut: Option<Shortcut>) -> Gradients {
            let (gamma, beta, mean, variance) = (&self.gamma, &self.beta, &forward.mean, &forward.variance);
            let normalization = Normalization { gamma, beta, mean, variance, epsilon: EPSILON };
            let wanted = shortcut.is_some();
            backward(&self.x, &self.gradient, normalization, self.channels, shortcut, self.quantizer, 0.5, wanted)
        }
    }

    /// The largest difference, as a share of the largest value.
    fn distance(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
        found.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn the_chain_agrees_with_its_parts(outer in 1usize..6, channels in 1usize..5, inner in 1usize..5000, small in 0usize..3, seed in 0u64..1000) {
            let case = Case::new(outer, channels, if small == 0 { inner % 20 + 1 } else { inner }, seed);
            for shortcut in case.shortcuts() {
                let plain = batch_norm::forward(&case.x, &case.gamma, &case.beta, EPSILON, case.channels);
                let found = case.forward(shortcut);
                prop_assert_eq!((&found.mean, &found.variance), (&plain.mean, &plain.variance));
                prop_assert_eq!(&found.y, &relu_quantize::forward(&plain.y, shortcut, case.quantizer));
                let (multiplier, offset) = batch_norm::fold(&case.gamma, &case.beta, &found.mean, &found.variance, EPSILON);
                let folded = forward_folded(&case.x, &multiplier, &offset, case.channels, shortcut, case.quantizer);
                prop_assert_eq!(&found.y, &folded);

                let gradients = case.backward(&found, shortcut);
                let relu = relu_quantize::backward(&plain.y, &case.gradient, shortcut, case.quantizer, 0.5);
                let expected = batch_norm::backward(&case.x, &relu.input, &case.gamma, &found.mean, &found.variance, EPSILON, case.channels);
                prop_assert!(gradients.shortcut.is_none_or(|shortcut| shortcut == relu.input));
                prop_assert!((gradients.scale - relu.scale).abs() <= 1e-5 * case.channels.len() as f32);
                let largest = case.channels.inner as f32 * 1e-5;
                prop_assert!(distance(&gradients.beta, &expected.beta) < 1e-5f32.max(largest));
                prop_assert!(distance(&gradients.gamma, &expected.gamma) < 1e-5f32.max(largest));
                prop_assert!(distance(&gradients.input, &expected.input) < 1e-5);
            }
        }
    }

    /// sum of G relu(batch norm of x + shortcut), in f64.
    fn loss(case: &Case, x: &[f64], gamma: &[f64], beta: &[f64], shortcut: &[f64]) -> f64 {
        let Channels { outer, channels, inner } = case.channels;
        let places = |c: usize| (0..outer * inner).map(move |i| (i / inner * channels + c) * inner + i % inner);
        let of_channel = |c: usize| {
            let count = (outer * inner) as f64;
            let mean = places(c).map(|i| x[i]).sum::<f64>() / count;
            let variance = places(c).map(|i| (x[i] - mean).powi(2)).sum::<f64>() / count;
            let n = move |i: usize| (x[i] - mean) / (variance + f64::from(EPSILON)).sqrt();
            places(c)
                .map(|i| f64::from(case.gradient[i]) * (n(i) * gamma[c] + beta[c] + shortcut[i]).max(0.0))
                .sum::<f64>()
        };
        (0..channels).map(of_channel).sum()
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        // An odd seed: without a quantiser, so that the loss is smooth but for the kink of the ReLU, which few steps cross.
        let case = Case::new(5, 3, 21, 7);
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|value| f64::from(*value)).collect() };
        let arguments = [&case.x, &case.gamma, &case.beta, &case.shortcut].map(|values| wide(values));
        let shortcut = case.shortcuts()[1];
        let forward = case.forward(shortcut);
        let Activations::Float(y) = &forward.y else { panic!("floats") };
        let value: f64 = y.iter().zip(&case.gradient).map(|(y, g)| f64::from(*y) * f64::from(*g)).sum();
        assert!((value - loss(&case, &arguments[0], &arguments[1], &arguments[2], &arguments[3])).abs() < 1e-4);
        let found = case.backward(&forward, shortcut);
        let found = [&found.input, &found.gamma, &found.beta, found.shortcut.as_ref().expect("wanted")];
        for (which, found) in found.into_iter().enumerate() {
            for i in 0..found.len() {
                let moved = |step: f64| {
                    let mut moved = arguments.clone();
                    moved[which][i] += step;
                    loss(&case, &moved[0], &moved[1], &moved[2], &moved[3])
                };
                let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                assert!((f64::from(found[i]) - expected).abs() < 1e-4, "{which} {i}: {} {expected}", found[i]);
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        for seed in [0, 1] {
            let case = Case::new(7, 5, 2100, seed);
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| {
                    let shortcut = case.shortcuts()[2];
                    let forward = case.forward(shortcut);
                    let found = case.backward(&forward, shortcut);
                    let parameters = (found.gamma, found.beta, found.scale, forward.mean, forward.variance);
                    (forward.y, found.input, found.shortcut, parameters)
                })
            };
            let one = run(1);
            assert!(one == run(2) && one == run(3));
        }
    }

    #[test]
    fn codes_decode_to_the_values_of_the_hand_table() {
        // One channel: mean 2, variance 1, so that n = -1, 1; a = 2 n + 1 = -1, 3.
        let channels = Channels { outer: 2, channels: 1, inner: 1 };
        let quantizer = Some(ReluQuantizer { scale: 0.5, highest: 15.0 });
        let found = forward(&[1.0, 3.0], &[2.0], &[1.0], 0.0, channels, None, quantizer);
        assert_eq!(
            (&found.y, found.mean, found.variance),
            (&Activations::Coded { codes: vec![0, 6], finite: true }, vec![2.0], vec![1.0])
        );
        assert_eq!(decode(Coded { codes: &[0, 6], lowest: 0.0, scale: 0.5 }), [0.0, 3.0]);
    }
}
