//! The straight-through gradient minus its bias, as far as differences of the loss show it.
//!
//! ```text
//! bias     = mean over i of (g . u_i - slope_i) u_i
//! gradient = g - weight bias
//! ```
//! With weight 1 the mean is that of [`Spsa`](super::Spsa), whatever g is, and the variance is about d/n times the square of the
//! norm of the bias alone: the better the straight-through gradient, the quieter. The least mean squared error is at a weight of
//! about n/(n + d), d the number of values.

use super::{Combination, Direction, GradientMethod, Measured, Mix};

/// The straight-through gradient as a control variate of [`Spsa`](super::Spsa).
///
/// ```
/// use hardgrad::zeroth_order::{BiasCorrection, GradientMethod};
/// assert!(BiasCorrection { weight: 1.0 }.compares());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BiasCorrection {
    /// Share of the measured bias that is taken away, from 0 to 1.
    pub weight: f64,
}

impl GradientMethod for BiasCorrection {
    fn name(&self) -> &'static str {
        "bias_correction"
    }

    fn mix(&self, _: f64) -> Mix {
        Mix::NOISE
    }

    fn compares(&self) -> bool {
        true
    }

    fn combine(&self, measured: &Measured) -> Combination {
        let rest = |direction: &Direction| direction.slope - direction.along;
        Combination { straight_through: 1.0, noise: measured.along_noise(self.weight, rest) }
    }
}
