use burn::tensor::Tensor;
use hardgrad::settings::Setting;

use super::{Learner, Objective, ObjectiveEntry, Size, category_value, values};

/// Distance of each variable's value from a target, to a power.
///
/// ```text
/// f(x) = mean over v of abs(y_v - 0.45)^p,  y_v = value of the choice from 0 to 1
/// ```
/// With two categories the least cost is 0.45^p: 0.30187, 0.2025 and 0.091125 for p = 1.5, 2 and 3.
/// Source: the polynomial benchmark of Liu et al. (ReinMax), NeurIPS 2023.
struct Polynomial {
    size: Size,
    power: f64,
}

const TARGET: f64 = 0.45;

pub(super) static ENTRY: ObjectiveEntry = ObjectiveEntry {
    name: "polynomial",
    summary: "distance of each variable from 0.45 to the power p",
    variables: 128,
    most: 1 << 14,
    settings: &[Setting {
        key: "p",
        default: 2.0,
        expected: "a number from 1 to 10",
        valid: |value| (1.0..=10.0).contains(&value),
    }],
    make: |size, settings, _| Box::new(Polynomial { size, power: settings[0] }),
};

impl Objective for Polynomial {
    fn size(&self) -> Size {
        self.size
    }

    fn cost(&self, _: &Learner, choices: Tensor<3>, _: &[u32]) -> Tensor<1> {
        let rows = choices.dims()[0];
        (values(choices) - TARGET).abs().powf_scalar(self.power).mean_dim(1).reshape([rows])
    }

    fn variable_costs(&self) -> Option<Vec<f64>> {
        let Size { variables, categories } = self.size;
        let cost = |category| (category_value(category, categories) - TARGET).abs().powf(self.power);
        Some((0..variables).flat_map(|_| (0..categories).map(cost)).collect())
    }
}
