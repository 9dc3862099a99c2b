//! What a diagnosis found.

use serde::Serialize;

/// Student's t for 95 % of 39 degrees of freedom.
const QUANTILE: f64 = 2.0227;

/// A value with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The 95 % interval of a value with this variance.
    pub(super) fn around(value: f64, variance: f64) -> Self {
        let half = QUANTILE * variance.sqrt();
        Self { value, low: value - half, high: value + half }
    }

    /// Both ends and the value by a growing function.
    pub(super) fn map(self, function: impl Fn(f64) -> f64) -> Self {
        Self { value: function(self.value), low: function(self.low), high: function(self.high) }
    }
}

/// How good the gradients of some methods are.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The objective, as it was asked for.
    pub objective: String,
    /// Variables.
    pub variables: usize,
    /// Categories of each.
    pub categories: usize,
    /// How the true gradient was found.
    pub reference: String,
    /// Its norm; none for hard operators, where each input has a gradient of its own.
    pub gradient_norm: Option<f64>,
    /// Estimates of each method.
    pub samples: usize,
    /// A row for each method and temperature.
    pub rows: Vec<Row>,
    /// Estimators that nobody named and that cannot have a temperature, with the reason.
    pub omitted: Vec<String>,
}

/// How good the gradient of one method is; all with 95 % confidence intervals.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method, as it was asked for.
    pub method: String,
    /// Its temperature, where it has one.
    pub temperature: Option<f32>,
    /// Norm of the mean estimate minus the true gradient; for hard operators its root mean square over the inputs.
    pub bias: Interval,
    /// The same as a share of the norm of the true gradient, where that is not 0.
    pub relative_bias: Option<Interval>,
    /// Sum over the coordinates of the variance of an estimate.
    pub variance: Interval,
    /// Mean squared distance of an estimate from the true gradient.
    pub mean_squared_error: Interval,
    /// Mean cosine of an estimate with the true gradient.
    pub cosine: Interval,
    /// Cosine of the mean estimate with the true gradient; for hard operators, which do not vary, that of the estimate.
    pub cosine_of_mean: Interval,
    /// Mean share of the coordinates that have the sign of the true gradient.
    pub sign_agreement: Interval,
}

/// The method and its temperature, as messages call them.
pub(super) fn label(method: &str, temperature: Option<f32>) -> String {
    temperature.map_or_else(|| method.to_string(), |temperature| format!("{method} at temperature {temperature}"))
}
