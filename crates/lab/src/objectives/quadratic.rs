use burn::tensor::Tensor;
use hardgrad::random::Random;

use super::{Learner, Objective, ObjectiveEntry, Size, tensor, values};
use crate::streams;

/// A quadratic in the values of the choices that couples all variables.
///
/// ```text
/// f(x) = norm(M (y - 0.45))^2 / variables,  y_v = value of the choice from 0 to 1,  M = 1 + N(0, 1/variables)
/// ```
struct Quadratic {
    size: Size,
    matrix: Vec<f32>,
}

pub(super) static ENTRY: ObjectiveEntry = ObjectiveEntry {
    name: "quadratic",
    summary: "a random quadratic that couples all variables",
    variables: 8,
    most: 2048,
    settings: &[],
    make: |size, _, seed| {
        let count = size.variables;
        let mut matrix = vec![0.0; count * count];
        Random::new(seed, 0, streams::OBJECTIVE_QUADRATIC).fill_normal(&mut matrix);
        matrix.iter_mut().for_each(|value| *value /= (count as f32).sqrt());
        (0..count).for_each(|place| matrix[place * (count + 1)] += 1.0);
        Box::new(Quadratic { size, matrix })
    },
};

impl Objective for Quadratic {
    fn size(&self) -> Size {
        self.size
    }

    fn cost(&self, _: &Learner, choices: Tensor<3>, _: &[u32]) -> Tensor<1> {
        let [rows, variables, _] = choices.dims();
        let mapped = (values(choices) - 0.45).matmul(tensor(self.matrix.clone(), [variables; 2]));
        (mapped.clone() * mapped).mean_dim(1).reshape([rows])
    }
}
