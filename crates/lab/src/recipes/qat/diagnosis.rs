//! What happens to hard values during training, measured every so many steps.

use std::collections::BTreeMap;

use hardgrad::diagnose::{WeightCodes, clipped, entropy};
use hardgrad::network::{Network, Value};
use hardgrad::parameters;
use hardgrad_kernels::random::Random;

use crate::streams;
use crate::train::step::{NamedGradients, sweep};

/// The columns of a measurement.
///
/// | column | what it is |
/// |---|---|
/// | `flip_rate` | share of the weight codes that the step changed |
/// | `oscillation` | share of the weight codes that the step changed and the next one changed back |
/// | `saturated_weights` | share of the latent weights beyond the ends of their grids |
/// | `saturated_activations` | share of the activations of the batch beyond the ends of their grids |
/// | `code_entropy` | entropy of the weight codes in bits, mean over the weights |
/// | `zeroth_order_cosine` | cosine between the gradient of the quantised weights that the optimizer gets and a zeroth-order reference on the same batch; empty where one of them is 0 or a loss of the reference is not finite |
pub(super) const MEASURED: [&str; 6] =
    ["flip_rate", "oscillation", "saturated_weights", "saturated_activations", "code_entropy", "zeroth_order_cosine"];

/// Values in the order of [`MEASURED`].
type Values = [Option<f64>; 6];
/// Where the oscillation stands in it.
const OSCILLATION: usize = 1;

/// A measurement that waits for the next step.
pub(super) struct Pending {
    step: u64,
    values: Values,
    before: Vec<WeightCodes>,
    after: Vec<WeightCodes>,
}

/// What is measured of a step before its update.
pub(super) struct Before {
    codes: Vec<WeightCodes>,
    saturated_activations: f64,
    zeroth_order_cosine: Option<f64>,
}

/// A step that is measured.
pub(super) struct Subject<'a> {
    /// Its inputs, plain.
    pub inputs: &'a Value,
    /// The gradients that the optimizer gets.
    pub gradients: &'a NamedGradients,
    /// The loss of a network on its batch.
    pub loss: &'a dyn Fn(&Network) -> f64,
}

impl Before {
    /// Measures a network whose weights are quantised; `probes` pairs of random directions make the reference. The network comes
    /// back as it was.
    pub fn of(network: Network, subject: &Subject<'_>, probes: u32, seed: u64, step: u64) -> (Network, Self) {
        let codes = network.weight_codes();
        let (mut beyond, mut count) = (0, 0);
        network.visit_inputs(subject.inputs.clone(), &mut |_, quantizer, input| {
            beyond += clipped(quantizer, &input);
            count += input.shape().num_elements();
        });
        let (network, zeroth_order_cosine) = zeroth_order_cosine(network, &codes, subject, probes, seed, step);
        let saturated_activations = share(beyond, count);
        (network, Self { codes, saturated_activations, zeroth_order_cosine })
    }

    /// What is known after the update of this step (from 1).
    pub fn after(self, network: &Network, step: u64) -> Pending {
        let after = network.weight_codes();
        let clipped = self.codes.iter().map(|weight| weight.clipped).sum();
        let entropies = self.codes.iter().map(|weight| entropy(&weight.codes)).sum::<f64>();
        let values = [
            Some(share_of_codes(&self.codes, &after, |_, [before, after]| before != after)),
            None,
            Some(share(clipped, count(&self.codes))),
            Some(self.saturated_activations),
            Some(entropies / self.codes.len().max(1) as f64),
            self.zeroth_order_cosine,
        ];
        Pending { step, values, before: self.codes, after }
    }
}

impl Pending {
    /// The step and its values by name, after the update of the next step.
    pub fn finish(self, network: &Network) -> (u64, Vec<(String, Option<f64>)>) {
        let next: Vec<i32> = network.weight_codes().into_iter().flat_map(|weight| weight.codes).collect();
        let returned = |place: usize, [before, after]: [i32; 2]| before != after && next[place] == before;
        let mut values = self.values;
        values[OSCILLATION] = Some(share_of_codes(&self.before, &self.after, returned));
        (self.step, MEASURED.into_iter().map(String::from).zip(values).collect())
    }
}

fn count(weights: &[WeightCodes]) -> usize {
    weights.iter().map(|weight| weight.codes.len()).sum()
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Share of the codes of all weights for which `holds`, given their place and two values.
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
    network: Network,
    codes: &[WeightCodes],
    subject: &Subject<'_>,
    probes: u32,
    seed: u64,
    step: u64,
) -> (Network, Option<f64>) {
    let gradients = subject.gradients;
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
            let stream = streams::DIAGNOSIS + place % streams::DIAGNOSIS_WEIGHTS;
            Random::new(seed, step as u32, stream).part(probe).fill_uniform(&mut uniform);
            place += 1;
            for (((value, uniform), gradient), step) in values.iter_mut().zip(uniform).zip(gradient).zip(*steps) {
                let direction = if norm > 0.0 { along * scaled(*gradient, *step) / norm } else { 0.0 };
                *value += step * (noise * (uniform - 0.5) + direction as f32 / 12f32.sqrt());
            }
        });
        let value = (subject.loss)(&moved);
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
