use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::categorical::LeaveOneOut;
use hardgrad::random::Random;

use super::{LabError, Problem, REFERENCE_STREAM, ROWS, Size};

/// Choices are enumerated up to this many.
const STATES: usize = 1 << 20;

/// Samples of one estimate of the leave-one-out reference.
const SAMPLES: usize = 16;

/// The gradient that estimates are held against.
pub(super) struct Reference {
    /// Its values.
    pub gradient: Vec<f64>,
    /// Expected squared distance from the true gradient: 0 where it is exact.
    pub variance: f64,
    /// How it was found.
    pub description: String,
}

impl Reference {
    /// Euclidean norm.
    pub fn norm(&self) -> f64 {
        self.gradient.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

/// The exact gradient of the expected cost with respect to the logits, if it can be had.
///
/// ```text
/// by enumeration:         sum over all choices x of p(x) f(x) (x - p)
/// variable by variable:   p_vc (f_vc - sum over c of p_vc f_vc) / variables
/// ```
pub(super) fn exact(problem: &Problem<'_>) -> Option<Reference> {
    let Size { variables, categories } = problem.objective.size();
    if let Some(costs) = problem.objective.variable_costs() {
        let mut gradient = Vec::with_capacity(problem.dims());
        for (logits, costs) in problem.logits.chunks(categories).zip(costs.chunks(categories).cycle()) {
            let probabilities = softmax(logits);
            let mean: f64 = probabilities.iter().zip(costs).map(|(p, cost)| p * cost).sum();
            gradient.extend(probabilities.iter().zip(costs).map(|(p, cost)| p * (cost - mean) / variables as f64));
        }
        return Some(Reference { gradient, variance: 0.0, description: "exact, variable by variable".to_string() });
    }
    let states = u32::try_from(variables).ok().and_then(|variables| categories.checked_pow(variables))?;
    if states > STATES {
        return None;
    }
    let mut gradient = vec![0.0; problem.dims()];
    let place = variables * categories;
    for (context, gradient) in gradient.chunks_mut(place).enumerate() {
        let probabilities: Vec<f64> =
            problem.logits[context * place..][..place].chunks(categories).flat_map(softmax).collect();
        let mut mean = 0.0;
        for first in (0..states).step_by(ROWS) {
            let chosen: Vec<usize> = (first..states.min(first + ROWS)).collect();
            let mut choices = vec![0.0; chosen.len() * place];
            let mut weights = vec![1.0; chosen.len()];
            for ((state, choices), weight) in chosen.iter().zip(choices.chunks_mut(place)).zip(&mut weights) {
                for (variable, category) in digits(*state, categories).take(variables).enumerate() {
                    choices[variable * categories + category] = 1.0;
                    *weight *= probabilities[variable * categories + category];
                }
            }
            let costs = costs(problem, choices.clone(), chosen.len(), problem.contexts[context]);
            for ((choices, weight), cost) in choices.chunks(place).zip(weights).zip(costs) {
                mean += weight * cost;
                for (gradient, choice) in gradient.iter_mut().zip(choices) {
                    *gradient += weight * cost * f64::from(*choice);
                }
            }
        }
        gradient.iter_mut().zip(probabilities).for_each(|(gradient, p)| *gradient -= p * mean);
    }
    Some(Reference { gradient, variance: 0.0, description: format!("exact, all {states} choices") })
}

/// An unbiased reference: the mean of leave-one-out score function estimates.
pub(super) fn reference(problem: &Problem<'_>, samples: usize, seed: u64) -> Result<Reference, LabError> {
    let estimates = samples.div_ceil(SAMPLES).max(2);
    let mut estimator = LeaveOneOut { samples: SAMPLES };
    let dims = problem.dims();
    let (mut sum, mut squares) = (vec![0.0f64; dims], 0.0);
    let (mut done, mut call) = (0, 0);
    while done < estimates {
        let count = problem.estimates_a_call().min(estimates - done);
        let random = Random::new(seed, call, REFERENCE_STREAM);
        for estimate in problem.estimates(&mut estimator, count, 1.0, &random)?.chunks_exact(dims) {
            for (sum, value) in sum.iter_mut().zip(estimate) {
                *sum += f64::from(*value);
                squares += f64::from(*value) * f64::from(*value);
            }
        }
        done += count;
        call += 1;
    }
    let count = estimates as f64;
    let gradient: Vec<f64> = sum.into_iter().map(|sum| sum / count).collect();
    let norm: f64 = gradient.iter().map(|value| value * value).sum();
    let variance = (squares / count - norm) / (count - 1.0);
    let description = format!("leave-one-out score function, {} samples", estimates * SAMPLES);
    Ok(Reference { gradient, variance, description })
}

/// Costs of one-hot choices of one input.
pub(super) fn costs(problem: &Problem<'_>, choices: Vec<f32>, rows: usize, context: u32) -> Vec<f64> {
    let Size { variables, categories } = problem.objective.size();
    let choices = TensorData::new(choices, [rows, variables, categories]);
    let choices = Tensor::<3>::from_data(choices, &Device::flex());
    let costs = problem.objective.cost(&problem.learner, choices, &vec![context; rows]).inner();
    costs.into_data().iter::<f32>().map(f64::from).collect()
}

/// Probabilities in f64.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The digits of a number, lowest first, without end.
fn digits(mut number: usize, base: usize) -> impl Iterator<Item = usize> {
    std::iter::repeat_with(move || {
        let digit = number % base;
        number /= base;
        digit
    })
}
