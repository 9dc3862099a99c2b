use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::categorical::LeaveOneOut;
use hardgrad::random::Random;

use super::problem::{Problem, ROWS};
use super::reference::{GROUPS, Reference, ReferenceGroups};
use crate::objectives::Size;
use crate::{LabError, streams};

/// Choices are enumerated up to this many.
const STATES: usize = 1 << 20;

/// Samples of one estimate of the leave-one-out reference.
const SAMPLES: usize = 16;

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
        return Some(Reference {
            gradient,
            variance: 0.0,
            groups: Vec::new(),
            description: "exact, variable by variable".to_string(),
        });
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
    Some(Reference { gradient, variance: 0.0, groups: Vec::new(), description: format!("exact, all {states} choices") })
}

/// An unbiased reference: the mean of leave-one-out score function estimates.
pub(super) fn reference(problem: &Problem<'_>, samples: usize, seed: u64) -> Result<Reference, LabError> {
    let estimates = samples.div_ceil(SAMPLES).max(2 * GROUPS);
    let mut estimator = LeaveOneOut { samples: SAMPLES };
    let dims = problem.dims();
    let mut groups = ReferenceGroups::new(dims);
    let (mut done, mut call) = (0, 0);
    while done < estimates {
        let count = problem.estimates_a_call(1).min(estimates - done);
        let random = Random::new(seed, call, streams::DIAGNOSE_REFERENCE);
        let found = problem.estimates(&mut estimator, count, 1.0, &random)?;
        found.chunks_exact(dims).enumerate().for_each(|(index, estimate)| groups.add(done + index, estimate));
        done += count;
        call += 1;
    }
    Ok(groups.finish(format!("leave-one-out score function, {} samples", estimates * SAMPLES)))
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

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;
    use crate::objectives::{self, Learner, Objective};

    /// An objective that does not tell that it is separable.
    struct Hidden(Box<dyn Objective>);

    impl Objective for Hidden {
        fn size(&self) -> Size {
            self.0.size()
        }

        fn cost(&self, learner: &Learner, choices: Tensor<3>, contexts: &[u32]) -> Tensor<1> {
            self.0.cost(learner, choices, contexts)
        }
    }

    fn request(objective: &str, variables: usize, categories: usize) -> Request {
        Request {
            methods: Vec::new(),
            objective: objective.to_string(),
            variables: Some(variables),
            categories,
            temperatures: vec![1.0],
            samples: 100,
            reference_samples: 100,
            spread: 1.0,
            seed: 3,
        }
    }

    #[test]
    fn enumeration_and_the_separable_formula_agree() {
        for (name, variables, categories) in [("linear", 5, 3), ("polynomial:p=3", 9, 2), ("rebar_toy", 1, 4)] {
            let request = request(name, variables, categories);
            let objective = || objectives::by_name(name, Some(variables), categories, request.seed).unwrap();
            let (shown, hidden) = (objective(), Hidden(objective()));
            let separable = exact(&Problem::new(shown.as_ref(), &request)).unwrap();
            let enumerated = exact(&Problem::new(&hidden, &request)).unwrap();
            assert_ne!(separable.description, enumerated.description);
            for (a, b) in separable.gradient.iter().zip(&enumerated.gradient) {
                assert!((a - b).abs() < 1e-7, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_sampled_reference_meets_the_exact_gradient() {
        let request = request("quadratic", 6, 2);
        let objective = objectives::by_name("quadratic", Some(6), 2, request.seed).unwrap();
        let problem = Problem::new(objective.as_ref(), &request);
        let (exact, sampled) = (exact(&problem).unwrap(), reference(&problem, 200_000, 1).unwrap());
        let distance: f64 = exact.gradient.iter().zip(&sampled.gradient).map(|(a, b)| (a - b) * (a - b)).sum();
        // The squared distance has the stated expectation, spread over 12 coordinates.
        assert!(
            distance < 4.0 * sampled.variance && distance > sampled.variance / 20.0,
            "{distance} {}",
            sampled.variance
        );
        assert!((sampled.norm() - exact.norm()).abs() < 0.05 * exact.norm());
    }

    #[test]
    fn spaces_beyond_the_limit_are_not_enumerated() {
        let request = request("quadratic", 21, 2);
        let objective = objectives::by_name("quadratic", Some(21), 2, 0).unwrap();
        assert!(exact(&Problem::new(objective.as_ref(), &request)).is_none());
    }
}
