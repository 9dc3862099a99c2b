use thiserror::Error;

use crate::settings::SettingError;

/// Why an estimator cannot be made or used.
#[derive(Debug, Error, PartialEq)]
pub enum CategoricalError {
    /// There is no estimator of that name.
    #[error("unknown estimator {name}; expected one of {known}")]
    UnknownEstimator {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A setting that cannot be.
    #[error("estimator {estimator}: {problem}")]
    Setting {
        /// The estimator.
        estimator: &'static str,
        /// What is wrong.
        problem: SettingError,
    },
    /// A temperature that the estimator cannot have.
    #[error("estimator {estimator}: the temperature must be {expected}, got {found}")]
    Temperature {
        /// The estimator.
        estimator: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: f32,
    },
    /// An estimator for two categories was given more or fewer.
    #[error(
        "estimator {estimator}: works on variables with 2 categories, these have {categories}; take reinforce_leave_one_out or rebar"
    )]
    NotBinary {
        /// The estimator.
        estimator: &'static str,
        /// Categories of the variables.
        categories: usize,
    },
    /// The cost is not one number a row.
    #[error("estimator {estimator}: the cost must give one value for each of the {expected} rows, it gave {found}")]
    CostShape {
        /// The estimator.
        estimator: &'static str,
        /// Rows of the logits.
        expected: usize,
        /// Values that the cost gave.
        found: usize,
    },
    /// A NaN or an infinity, caught before it reaches the parameters.
    #[error("estimator {estimator}: {what} has a value that is not finite; lower the learning rate or check the cost")]
    NotFinite {
        /// The estimator.
        estimator: &'static str,
        /// What has the value: the logits or the cost.
        what: &'static str,
    },
}
