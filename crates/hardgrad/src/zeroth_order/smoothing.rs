//! The noise that turns a hard function into the one that its straight-through estimator differentiates.
//!
//! ```text
//! E h(x + width u) = the surrogate of h,   u of mean 0 and variance 1
//! ```
//! | hard function | surrogate | width | distribution of u |
//! |---|---|---|---|
//! | round | `identity` | 1/(2 sqrt 3) | uniform |
//! | sign | `clipped` | 1/sqrt 3 | uniform |
//! | sign | `tanh` | pi/sqrt 12 | logistic |
//! | sign | `approx_sign` | 1/sqrt 6 | triangular |
//!
//! So a straight-through estimator is exact for a loss that is linear in h, seen through this noise. Differences along u need no
//! linearity, but they do not see quite the same noise: E h(x + width u) u/width is the derivative of E h(x + width u'), u' with
//! the density q(u') = integral of t density(t) from abs(u') on, which is that of u for normal noise only (the other coordinates keep u). For round
//! and uniform noise q is a parabola, and the mean slope is 1.5 at a threshold and 0 in the middle between two, instead of 1.
//!
//! Source: Yang and Aamodt, NeurIPS 2025, arXiv 2510.23926.

use std::f64::consts::PI;

pub use hardgrad_kernels::perturbation::Noise;

use crate::Surrogate;

/// Width and distribution of the noise that belongs to a surrogate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing {
    /// Standard deviation, in units of the quantiser's step (round) or of the argument (sign).
    pub width: f64,
    /// Distribution.
    pub noise: Noise,
}

impl Smoothing {
    /// Of rounding with the identity as its surrogate: every quantiser with more than two levels.
    ///
    /// ```
    /// use hardgrad::zeroth_order::Smoothing;
    /// assert!((Smoothing::round().width - 1.0 / 12f64.sqrt()).abs() < 1e-15);
    /// ```
    pub fn round() -> Self {
        Self { width: 1.0 / 12f64.sqrt(), noise: Noise::Uniform }
    }

    /// Of the sign with this surrogate; none where no noise of finite variance is known to make one of the other.
    ///
    /// ```
    /// use hardgrad::Surrogate;
    /// use hardgrad::zeroth_order::Smoothing;
    /// assert!(Smoothing::sign(Surrogate::Tanh).is_some() && Smoothing::sign(Surrogate::Identity).is_none());
    /// ```
    pub fn sign(surrogate: Surrogate) -> Option<Self> {
        let known = [
            (Surrogate::Clipped, Self { width: 1.0 / 3f64.sqrt(), noise: Noise::Uniform }),
            (Surrogate::Tanh, Self { width: PI / 12f64.sqrt(), noise: Noise::Logistic }),
            (Surrogate::ApproxSign, Self { width: 1.0 / 6f64.sqrt(), noise: Noise::Triangular }),
        ];
        known.into_iter().find(|(known, _)| *known == surrogate).map(|(_, smoothing)| smoothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E h(x + width u) by the midpoint rule.
    fn smoothed(h: fn(f64) -> f64, x: f64, Smoothing { width, noise }: Smoothing) -> f64 {
        let (reach, steps) = (30.0, 600_000);
        let step = 2.0 * reach / f64::from(steps);
        let points = (0..steps).map(|index| -reach + (f64::from(index) + 0.5) * step);
        points.map(|u| h(x + width * u) * noise.density(u) * step).sum()
    }

    #[test]
    fn differences_of_round_have_a_parabola_as_their_mean_slope() {
        let Smoothing { width, noise } = Smoothing::round();
        for (x, expected) in [(0.0, 0.0), (0.25, 1.125), (0.5, 1.5), (-0.4, 1.5 * (1.0 - 0.04))] {
            let steps = 200_000;
            let step = 2.0 * 3f64.sqrt() / f64::from(steps);
            let points = (0..steps).map(|index| -(3f64.sqrt()) + (f64::from(index) + 0.5) * step);
            let found: f64 =
                points.map(|u| (x + width * u).round_ties_even() * u / width * noise.density(u) * step).sum();
            assert!((found - expected).abs() < 1e-3, "at {x}: {found}, expected {expected}");
        }
    }

    #[test]
    fn each_row_of_the_table_by_quadrature() {
        let points = [-2.3, -1.0, -0.75, -0.2, 0.0, 0.31, 0.5, 0.9, 1.6];
        for x in points {
            let found = smoothed(f64::round_ties_even, x, Smoothing::round());
            assert!((found - x).abs() < 1e-4, "round at {x}: {found}");
        }
        let sign = |x: f64| if x >= 0.0 { 1.0 } else { -1.0 };
        let rows = Surrogate::ALL.iter().filter_map(|&surrogate| Some((surrogate, Smoothing::sign(surrogate)?)));
        for (surrogate, smoothing) in rows {
            for x in points {
                let (found, expected) = (smoothed(sign, x, smoothing), surrogate.value(x));
                assert!((found - expected).abs() < 1e-4, "{} at {x}: {found}, expected {expected}", surrogate.name());
            }
        }
    }
}
