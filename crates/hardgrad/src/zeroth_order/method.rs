//! What all methods share: directions are probed, slopes are measured, a combination replaces the gradient.

use std::fmt::Debug;

use hardgrad_kernels::counts::share_of_rounded_up;
use serde::{Deserialize, Serialize};

use super::{Adaptive, BiasCorrection, Fogzo, Spsa, WeightedAverage, ZerothOrderError};

/// A way from measured slopes of the loss to the gradient that the optimizer gets.
///
/// All lengths are in units of the smoothing noise, tensor by tensor (its width w): with z = theta/w,
/// ```text
/// g   = w straight-through gradient            what it says about z
/// v_i = guide sign_i g/norm(g) + noise u_i     the directions; u_i of mean 0 and variance 1
/// slope_i = (L(z + v_i) - L(z - v_i))/2
/// gradient with respect to z = combination.straight_through g + sum over i of combination.noise_i u_i
/// ```
/// so that a factor in front of the straight-through gradient keeps its direction in theta, too.
pub trait GradientMethod: Debug + Send + Sync {
    /// The word that configs and reports use.
    fn name(&self) -> &'static str;

    /// What the directions are made of at `progress`, from 0 at the first guided step to 1 at the last.
    fn mix(&self, progress: f64) -> Mix;

    /// Whether [`Direction::along`] is needed.
    fn compares(&self) -> bool {
        false
    }

    /// The gradient from at least one measured direction.
    fn combine(&self, measured: &Measured) -> Combination;
}

/// What a direction is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Factor of the unit vector along the straight-through gradient.
    pub guide: f64,
    /// Factor of the noise.
    pub noise: f64,
}

impl Mix {
    /// Noise alone.
    pub const NOISE: Self = Self { guide: 0.0, noise: 1.0 };
}

/// One direction and what the loss did along it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// Sign of the guide, +1 or -1.
    pub sign: f64,
    /// Half the difference of the two losses.
    pub slope: f64,
    /// The slope that the straight-through gradient claims along the noise: g . u_i. 0 unless the method compares.
    pub along: f64,
}

/// What was measured in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The directions with finite losses.
    pub directions: Vec<Direction>,
    /// What they were made of.
    pub mix: Mix,
    /// Norm of g.
    pub norm: f64,
    /// Number of values that were moved.
    pub values: usize,
}

/// A gradient as a combination of what its directions were made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// Factor of the straight-through gradient.
    pub straight_through: f64,
    /// Factor of each direction's noise.
    pub noise: Vec<f64>,
}

impl Measured {
    /// Mean of `term` over the directions.
    pub(super) fn mean(&self, term: impl Fn(&Direction) -> f64) -> f64 {
        self.directions.iter().map(term).sum::<f64>() / self.directions.len() as f64
    }

    /// Factors of the noise that make the mean of `slope` u over the directions, times `factor`.
    pub(super) fn along_noise(&self, factor: f64, slope: impl Fn(&Direction) -> f64) -> Vec<f64> {
        let count = self.directions.len() as f64;
        self.directions.iter().map(|direction| factor * slope(direction) / count).collect()
    }
}

/// The methods by the word that configs and reports use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// No guidance: the straight-through gradient as it is.
    #[default]
    StraightThrough,
    /// [`Spsa`].
    Spsa,
    /// [`Fogzo`].
    Fogzo,
    /// [`WeightedAverage`].
    WeightedAverage,
    /// [`BiasCorrection`].
    BiasCorrection,
    /// [`Adaptive`].
    Adaptive,
}

impl MethodName {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::StraightThrough, Self::Spsa, Self::Fogzo, Self::WeightedAverage, Self::BiasCorrection, Self::Adaptive];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::StraightThrough => "straight_through",
            Self::Spsa => "spsa",
            Self::Fogzo => "fogzo",
            Self::WeightedAverage => "weighted_average",
            Self::BiasCorrection => "bias_correction",
            Self::Adaptive => "adaptive",
        }
    }
}

/// Settings of a gradient method; the section `[gradient]` of a recipe.
///
/// ```
/// use hardgrad::zeroth_order::{GradientConfig, MethodName};
///
/// let config = GradientConfig { method: MethodName::Fogzo, ..GradientConfig::default() };
/// assert_eq!(config.method().unwrap().unwrap().name(), "fogzo");
/// assert!(GradientConfig { directions: 0, ..config }.method().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientConfig {
    /// The method.
    pub method: MethodName,
    /// Random directions a step, each of which costs two forward passes.
    pub directions: u32,
    /// FOGZO: the share beta of the straight-through direction falls linearly from 1 to this; 1 - beta_min is best of the
    /// order of 1/d, d the number of quantised weights.
    pub beta_min: f64,
    /// Length of a probe, in units of the width that belongs to the surrogate.
    pub epsilon: f64,
    /// Share of the zeroth-order gradient (weighted_average), or of the measured bias that is taken away (bias_correction); best of
    /// the order of directions/d.
    pub weight: f64,
    /// Share of the steps that pass before guidance begins.
    pub begin: f64,
}

impl Default for GradientConfig {
    fn default() -> Self {
        let method = MethodName::default();
        Self { method, directions: 1, beta_min: 0.999_999, epsilon: 1.0, weight: 1e-4, begin: 0.0 }
    }
}

impl GradientConfig {
    /// The method; none for `straight_through`.
    ///
    /// # Errors
    /// If a setting is out of its range, whichever method is chosen.
    pub fn method(&self) -> Result<Option<Box<dyn GradientMethod>>, ZerothOrderError> {
        let refuse = |setting, expected, found| Err(ZerothOrderError::Setting { setting, expected, found });
        if !(1..1 << 16).contains(&self.directions) {
            return refuse("directions", "a whole number from 1 to 65535", f64::from(self.directions));
        }
        if !(self.epsilon > 0.0 && self.epsilon <= 1000.0) {
            return refuse("epsilon", "above 0 and at most 1000", self.epsilon);
        }
        for (setting, value) in [("beta_min", self.beta_min), ("weight", self.weight)] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(setting, "from 0 to 1", value);
            }
        }
        if !(0.0..1.0).contains(&self.begin) {
            return refuse("begin", "at least 0 and below 1", self.begin);
        }
        Ok(match self.method {
            MethodName::StraightThrough => None,
            MethodName::Spsa => Some(Box::new(Spsa)),
            MethodName::Fogzo => Some(Box::new(Fogzo { beta_min: self.beta_min })),
            MethodName::WeightedAverage => Some(Box::new(WeightedAverage { weight: self.weight })),
            MethodName::BiasCorrection => Some(Box::new(BiasCorrection { weight: self.weight })),
            MethodName::Adaptive => Some(Box::new(Adaptive)),
        })
    }

    /// The first step of `steps` that is guided; `steps` or more if none is.
    pub fn first_step(&self, steps: u64) -> u64 {
        share_of_rounded_up(steps, self.begin)
    }

    /// How far guidance is at `step` of `steps`: from 0 at its first step to 1 at the last one; none before it begins, which it
    /// does not before step `earliest` (when quantisation begins).
    pub fn progress(&self, step: u64, steps: u64, earliest: u64) -> Option<f64> {
        let first = self.first_step(steps).max(earliest);
        let length = steps.saturating_sub(first).saturating_sub(1).max(1);
        (step >= first).then(|| ((step - first) as f64 / length as f64).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let good = GradientConfig::default();
        let refused = |config: GradientConfig| config.method().unwrap_err().to_string();
        let found = refused(GradientConfig { directions: 0, ..good.clone() });
        assert_eq!(found, "directions must be a whole number from 1 to 65535, got 0");
        for beta_min in [-0.1, 1.5, f64::NAN] {
            let found = refused(GradientConfig { beta_min, ..good.clone() });
            assert_eq!(found, format!("beta_min must be from 0 to 1, got {beta_min}"));
        }
        for epsilon in [0.0, -1.0, f64::INFINITY] {
            let found = refused(GradientConfig { epsilon, ..good.clone() });
            assert_eq!(found, format!("epsilon must be above 0 and at most 1000, got {epsilon}"));
        }
        assert!(refused(GradientConfig { weight: 2.0, ..good.clone() }).starts_with("weight"));
        assert!(refused(GradientConfig { begin: 1.0, ..good.clone() }).starts_with("begin"));
        for &method in MethodName::ALL {
            let made = GradientConfig { method, ..good.clone() }.method().unwrap();
            assert_eq!(made.map_or("straight_through", |made| made.name()), method.name());
        }
    }

    #[test]
    fn guidance_runs_from_0_to_1_over_its_share_of_the_steps() {
        let config = GradientConfig { begin: 0.7, ..GradientConfig::default() };
        assert_eq!(config.progress(69, 100, 0), None);
        assert_eq!((config.progress(70, 100, 0), config.progress(99, 100, 0)), (Some(0.0), Some(1.0)));
        assert_eq!((config.progress(79, 100, 80), config.progress(80, 100, 80)), (None, Some(0.0)));
        assert_eq!(GradientConfig::default().progress(0, 1, 0), Some(0.0));
        // 0.07 times 100 is a bit more than 7.
        assert_eq!(GradientConfig { begin: 0.07, ..config }.progress(7, 100, 0), Some(0.0));
    }
}
