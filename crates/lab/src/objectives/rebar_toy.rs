use burn::tensor::Tensor;
use hardgrad::settings::Setting;

use super::{Learner, Objective, ObjectiveEntry, Size, category_value, values};

/// The toy of the REBAR paper: one variable that should choose 0, by a margin that can be made hard to see.
///
/// ```text
/// f(x) = mean over v of (y_v - t)^2,  y_v = value of the choice from 0 to 1
/// ```
/// Source: Tucker et al. (REBAR), NeurIPS 2017, with t = 0.45; Grathwohl et al. (RELAX), ICLR 2018, with t = 0.499.
struct RebarToy {
    size: Size,
    target: f64,
}

pub(super) static ENTRY: ObjectiveEntry = ObjectiveEntry {
    name: "rebar_toy",
    summary: "squared distance of one variable from t",
    variables: 1,
    most: 1 << 14,
    settings: &[Setting {
        key: "t",
        default: 0.45,
        expected: "a number from 0 to 1",
        valid: |value| (0.0..=1.0).contains(&value),
    }],
    make: |size, settings, _| Box::new(RebarToy { size, target: settings[0] }),
};

impl Objective for RebarToy {
    fn size(&self) -> Size {
        self.size
    }

    fn cost(&self, _: &Learner, choices: Tensor<3>, _: &[u32]) -> Tensor<1> {
        let rows = choices.dims()[0];
        let difference = values(choices) - self.target;
        (difference.clone() * difference).mean_dim(1).reshape([rows])
    }

    fn variable_costs(&self) -> Option<Vec<f64>> {
        let Size { variables, categories } = self.size;
        let cost = |category| (category_value(category, categories) - self.target).powi(2);
        Some((0..variables).flat_map(|_| (0..categories).map(cost)).collect())
    }
}
