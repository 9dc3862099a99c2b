use burn::tensor::Tensor;
use hardgrad::random::Random;

use super::{Learner, Objective, ObjectiveEntry, Size, tensor};
use crate::streams;

/// Each category of each variable has a cost of its own; the cost is their mean.
///
/// ```text
/// f(x) = mean over v of sum over c of w_vc x_vc,  w standard normal
/// ```
struct Linear {
    size: Size,
    weights: Vec<f32>,
}

pub(super) static ENTRY: ObjectiveEntry = ObjectiveEntry {
    name: "linear",
    summary: "a random cost for each category of each variable",
    variables: 8,
    most: 1 << 14,
    settings: &[],
    make: |size, _, seed| {
        let mut weights = vec![0.0; size.variables * size.categories];
        Random::new(seed, 0, streams::OBJECTIVE_LINEAR).fill_normal(&mut weights);
        Box::new(Linear { size, weights })
    },
};

impl Objective for Linear {
    fn size(&self) -> Size {
        self.size
    }

    fn cost(&self, _: &Learner, choices: Tensor<3>, _: &[u32]) -> Tensor<1> {
        let [rows, variables, categories] = choices.dims();
        let weights = tensor(self.weights.clone(), [1, variables, categories]);
        (choices * weights).sum_dim(2).mean_dim(1).reshape([rows])
    }

    fn variable_costs(&self) -> Option<Vec<f64>> {
        Some(self.weights.iter().map(|weight| f64::from(*weight)).collect())
    }
}
