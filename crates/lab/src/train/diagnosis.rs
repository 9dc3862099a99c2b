//! What happens to hard values during training, measured every so many steps.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use hardgrad::diagnose::{WeightCodes, clipped, entropy};
use hardgrad::parameters;
use hardgrad_kernels::random::Random;
use serde::{Deserialize, Serialize};

use super::stream;
use crate::ConvNet;

/// One measurement; a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiagnosisRow {
    /// Step of the quantised stage, from 1.
    pub step: u64,
    /// Share of the weight codes that this step changed.
    pub flip_rate: f64,
    /// Share of the weight codes that this step changed and the next one changed back.
    pub oscillation: f64,
    /// Share of the latent weights beyond the ends of their grids.
    pub saturated_weights: f64,
    /// Share of the activations of the batch beyond the ends of their grids.
    pub saturated_activations: f64,
    /// Entropy of the weight codes in bits, mean over the layers.
    pub code_entropy: f64,
    /// Cosine between the gradient of the quantised weights that the optimizer gets and a zeroth-order reference on the same batch;
    /// none where one of them is 0 or a loss of the reference is not finite.
    pub zeroth_order_cosine: Option<f64>,
}

/// A measurement that waits for the next step.
pub(super) struct Pending {
    row: DiagnosisRow,
    before: Vec<WeightCodes>,
    after: Vec<WeightCodes>,
}

/// What is measured of a step before its update.
pub(super) struct Before {
    codes: Vec<WeightCodes>,
    saturated_activations: f64,
    zeroth_order_cosine: Option<f64>,
}

/// The loss of a network on the step's batch.
pub(super) type Loss<'a> = dyn Fn(&ConvNet) -> Tensor<1> + 'a;

impl Before {
    /// Measures a network whose weights are quantised; `probes` pairs of random directions make the reference.
    pub fn of(
        network: ConvNet,
        images: Tensor<4>,
        gradients: &BTreeMap<String, Vec<f32>>,
        loss: &Loss<'_>,
        probes: u32,
        seed: u64,
        step: u64,
    ) -> (ConvNet, Self) {
        let codes = network.weight_codes();
        let (mut beyond, mut count) = (0, 0);
        network.visit_inputs(images, &mut |_, quantizer, input| {
            beyond += clipped(quantizer, &input);
            count += input.shape().num_elements();
        });
        let (network, zeroth_order_cosine) = zeroth_order_cosine(network, &codes, gradients, loss, probes, seed, step);
        let saturated_activations = share(beyond, count);
        (network, Self { codes, saturated_activations, zeroth_order_cosine })
    }

    /// What is known after the update of this step (from 1).
    pub fn after(self, network: &ConvNet, step: u64) -> Pending {
        let after = network.weight_codes();
        let clipped = self.codes.iter().map(|weight| weight.clipped).sum();
        let entropies = self.codes.iter().map(|weight| entropy(&weight.codes)).sum::<f64>();
        let row = DiagnosisRow {
            step,
            flip_rate: share_of_codes(&self.codes, &after, |_, [before, after]| before != after),
            oscillation: 0.0,
            saturated_weights: share(clipped, count(&self.codes)),
            saturated_activations: self.saturated_activations,
            code_entropy: entropies / self.codes.len().max(1) as f64,
            zeroth_order_cosine: self.zeroth_order_cosine,
        };
        Pending { row, before: self.codes, after }
    }
}

impl Pending {
    /// The row, after the update of the next step.
    pub fn finish(self, network: &ConvNet) -> DiagnosisRow {
        let next: Vec<i32> = network.weight_codes().into_iter().flat_map(|weight| weight.codes).collect();
        let returned = |place: usize, [before, after]: [i32; 2]| before != after && next[place] == before;
        DiagnosisRow { oscillation: share_of_codes(&self.before, &self.after, returned), ..self.row }
    }
}

fn count(weights: &[WeightCodes]) -> usize {
    weights.iter().map(|weight| weight.codes.len()).sum()
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Share of the codes of all layers for which `holds`, given their place and two values.
fn share_of_codes(before: &[WeightCodes], after: &[WeightCodes], holds: impl Fn(usize, [i32; 2]) -> bool) -> f64 {
    let codes = |weights: &[WeightCodes]| weights.iter().flat_map(|weight| weight.codes.clone()).collect::<Vec<_>>();
    let pairs = codes(before).into_iter().zip(codes(after)).enumerate();
    share(pairs.filter(|(place, (before, after))| holds(*place, [*before, *after])).count(), count(before))
}

/// How far the probes along the gradient go, as a share of the size of the noise.
const REACH: f64 = 0.25;

/// The cosine of the estimated gradient g with the gradient of the loss that is smoothed by noise of one quantisation step.
///
/// ```text
/// coordinates in units of the noise (step / (2 sqrt 3) of each weight)        u uniform, mean 0, variance 1
/// along     = mean of (L(w + u + a g/|g|) - L(w + u - a g/|g|)) / (2 a)       (the smoothed slope along g)
/// length^2  = mean of ((L(w + u) - L(w - u)) / 2)^2                           (the squared norm of the smoothed gradient)
/// cosine    = along / length, cut to -1..1
/// ```
/// With n probes `length` has a relative error of about 1/sqrt(2 n).
fn zeroth_order_cosine(
    network: ConvNet,
    codes: &[WeightCodes],
    gradients: &BTreeMap<String, Vec<f32>>,
    loss: &Loss<'_>,
    probes: u32,
    seed: u64,
    step: u64,
) -> (ConvNet, Option<f64>) {
    // Probes in training form move running statistics; they are put back at the end.
    let saved = parameters::read(&network);
    let steps: BTreeMap<&str, &[f32]> =
        codes.iter().map(|weight| (weight.name.as_str(), weight.steps.as_slice())).collect();
    // The gradient in units of the noise.
    let scaled = |gradient: f32, step: f32| f64::from(gradient * step / 12f32.sqrt());
    let squares = steps.iter().filter_map(|(name, steps)| Some(gradients.get(*name)?.iter().zip(*steps)));
    let norm = squares.flatten().map(|(gradient, step)| scaled(*gradient, *step).powi(2)).sum::<f64>().sqrt();
    let reach = REACH * (count(codes) as f64).sqrt();
    let mut network = network;
    let mut at = |probe: u32, noise: f32, along: f64| {
        let (mut index, mut place) = (0, 0);
        let moved = parameters::update(network.clone(), |name, _, values| {
            values.copy_from_slice(&saved[index].values);
            index += 1;
            let (Some(steps), Some(gradient)) = (steps.get(name), gradients.get(name)) else { return };
            let mut uniform = vec![0.0; values.len()];
            Random::new(seed, step as u32, stream::DIAGNOSIS + place).part(probe).fill_uniform(&mut uniform);
            place += 1;
            for (((value, uniform), gradient), step) in values.iter_mut().zip(uniform).zip(gradient).zip(*steps) {
                let direction = if norm > 0.0 { along * scaled(*gradient, *step) / norm } else { 0.0 };
                *value += step * (noise * (uniform - 0.5) + direction as f32 / 12f32.sqrt());
            }
        });
        let value = f64::from(loss(&moved).inner().into_scalar::<f32>());
        network = moved;
        sweep();
        value
    };
    let (mut slopes, mut squares) = (0.0, 0.0);
    for probe in 0..probes {
        slopes += (at(probe, 1.0, reach) - at(probe, 1.0, -reach)) / (2.0 * reach);
        squares += ((at(probe, 1.0, 0.0) - at(probe, -1.0, 0.0)) / 2.0).powi(2);
    }
    let count = f64::from(probes.max(1));
    let length = (squares / count).sqrt();
    let cosine = (norm > 0.0 && length > 0.0).then(|| (slopes / count / length).clamp(-1.0, 1.0));
    let cosine = cosine.filter(|cosine| cosine.is_finite());
    let network = parameters::write(network, saved).expect("the parameters are the network's own");
    (network, cosine)
}

/// Frees the graph of forward passes that have no backward pass: any backward pass does.
pub(crate) fn sweep() {
    let one = Tensor::<1>::ones([1], &Device::flex().autodiff()).require_grad();
    let _ = (one * 2.0).backward();
}
