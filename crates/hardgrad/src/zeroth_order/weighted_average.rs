//! A fixed blend of the straight-through gradient and differences along noise.
//!
//! ```text
//! gradient = (1 - weight) g + weight mean over i of slope_i u_i
//! ```
//! It carries 1 - weight of the straight-through gradient's bias and weight of the differences' noise.

use super::{Combination, GradientMethod, Measured, Mix};

/// The weighted average of the straight-through gradient and [`Spsa`](super::Spsa).
///
/// ```
/// use hardgrad::zeroth_order::{GradientMethod, WeightedAverage};
/// assert_eq!(WeightedAverage { weight: 0.25 }.name(), "weighted_average");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WeightedAverage {
    /// Share of the differences, from 0 to 1.
    pub weight: f64,
}

impl GradientMethod for WeightedAverage {
    fn name(&self) -> &'static str {
        "weighted_average"
    }

    fn mix(&self, _: f64) -> Mix {
        Mix::NOISE
    }

    fn combine(&self, measured: &Measured) -> Combination {
        let noise = measured.along_noise(self.weight, |direction| direction.slope);
        Combination { straight_through: 1.0 - self.weight, noise }
    }
}
