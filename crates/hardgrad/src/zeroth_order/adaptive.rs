//! A blend whose weight follows from how well the straight-through gradient predicts the measured slopes.
//!
//! ```text
//! bias^2   = mean over i of (slope_i - g . u_i)^2                  of the straight-through gradient
//! variance = (d + 1)/n mean over i of slope_i^2                    of the differences, d values, n directions, about
//! weight   = bias^2/(bias^2 + variance)                            near the least mean squared error
//! gradient = (1 - weight) g + weight mean over i of slope_i u_i
//! ```
//! Where both are 0, the loss is flat along all directions and the weight is 0. With many more values than directions the weight
//! is of the order of n/d, and the gradient nearly the straight-through one.

use super::{Combination, GradientMethod, Measured, Mix};

/// The weighted average of the straight-through gradient and [`Spsa`](super::Spsa), weighted by agreement and variance.
///
/// ```
/// use hardgrad::zeroth_order::{Adaptive, GradientMethod};
/// assert!(Adaptive.compares());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Adaptive;

impl GradientMethod for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    fn mix(&self, _: f64) -> Mix {
        Mix::NOISE
    }

    fn compares(&self) -> bool {
        true
    }

    fn combine(&self, measured: &Measured) -> Combination {
        let bias = measured.mean(|direction| (direction.slope - direction.along).powi(2));
        let noise = (measured.values as f64 + 1.0) / measured.directions.len() as f64;
        let variance = noise * measured.mean(|direction| direction.slope.powi(2));
        let weight = if bias > 0.0 { bias / (bias + variance) } else { 0.0 };
        let noise = measured.along_noise(weight, |direction| direction.slope);
        Combination { straight_through: 1.0 - weight, noise }
    }
}
