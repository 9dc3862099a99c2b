//! An objective at the point at which gradients are measured.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::categorical::{CategoricalError, Estimator};
use hardgrad::random::Random;
use hardgrad_kernels::reduce::all_finite;

use super::request::Request;
use crate::objectives::{self, Objective, Size};
use crate::train::step::tensor_gradient;

/// Inputs of an objective that has inputs.
const CONTEXTS: usize = 4;

/// Rows of one evaluation at most.
pub(super) const ROWS: usize = 2_048;

/// Values that the choices of one evaluation may hold.
const VALUES: usize = 1 << 24;

/// An objective at one point: fixed logits for fixed inputs. The gradient of all inputs together is one vector.
pub(super) struct Problem<'a> {
    pub(super) objective: &'a dyn Objective,
    pub(super) learner: objectives::Learner,
    pub(super) contexts: Vec<u32>,
    /// `[contexts, variables, categories]`, row by row.
    pub(super) logits: Vec<f32>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(objective: &'a dyn Objective, request: &Request) -> Self {
        let learner = objective.learner(request.seed, request.spread);
        let contexts: Vec<u32> = (0..objective.contexts().min(CONTEXTS) as u32).collect();
        let logits = objective.logits(&learner, &contexts).inner();
        let logits = logits.into_data().iter::<f32>().collect();
        Self { objective, learner, contexts, logits }
    }

    /// Coordinates of the gradient.
    pub(super) fn dims(&self) -> usize {
        self.logits.len()
    }

    /// Estimates of one call: `count` of them, one below the other, each `dims` long.
    pub(super) fn estimates(
        &self,
        estimator: &mut dyn Estimator,
        count: usize,
        temperature: f32,
        random: &Random,
    ) -> Result<Vec<f32>, CategoricalError> {
        let Size { variables, categories } = self.objective.size();
        let rows = count * self.contexts.len();
        let logits = TensorData::new(self.logits.repeat(count), [rows, variables, categories]);
        let logits = Tensor::<3>::from_data(logits, &Device::flex().autodiff()).require_grad();
        let contexts = self.contexts.repeat(count);
        let mut cost = |choices: Tensor<3>| self.objective.cost(&self.learner, choices, &contexts);
        let costs = estimator.cost(logits.clone(), &mut cost, temperature, random)?;
        let gradient: Vec<f32> = tensor_gradient(costs.sum(), &logits).into_data().iter().collect();
        match all_finite(&gradient) {
            true => Ok(gradient),
            false => Err(CategoricalError::NotFinite { estimator: estimator.name(), what: "the gradient" }),
        }
    }

    /// Estimates of one call: as many as [`ROWS`] and [`VALUES`] allow, where each holds `copies` of its choices.
    pub(super) fn estimates_a_call(&self, copies: usize) -> usize {
        (ROWS / self.contexts.len()).min(VALUES / (self.dims() * copies)).max(1)
    }
}
