//! Simultaneous perturbation: the mean of differences of the loss along random directions (SPSA; n-SPSA with n of them).
//!
//! ```text
//! gradient = mean over i of slope_i u_i
//! ```
//! Its mean D is the gradient of the loss as the noise smooths it, coordinate by coordinate ([`Smoothing`](super::Smoothing) says
//! exactly how); on a quadratic, and for normal noise, it is the gradient of the smoothed loss itself. Its variance is about
//! d/n times the square of D's norm, d the number of values. Source: Spall, 1992.

use super::{Combination, GradientMethod, Measured, Mix};

/// Differences along noise alone; the straight-through gradient is not used.
///
/// ```
/// use hardgrad::zeroth_order::{GradientMethod, Mix, Spsa};
/// assert_eq!(Spsa.mix(0.5), Mix::NOISE);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Spsa;

impl GradientMethod for Spsa {
    fn name(&self) -> &'static str {
        "spsa"
    }

    fn mix(&self, _: f64) -> Mix {
        Mix::NOISE
    }

    fn combine(&self, measured: &Measured) -> Combination {
        Combination { straight_through: 0.0, noise: measured.along_noise(1.0, |direction| direction.slope) }
    }
}
