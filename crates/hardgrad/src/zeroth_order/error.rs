use thiserror::Error;

/// Guidance that cannot be.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ZerothOrderError {
    /// A setting out of its range.
    #[error("{setting} must be {expected}, got {found}")]
    Setting {
        /// The word.
        setting: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: f64,
    },
    /// There is nothing whose gradient would be a guess.
    #[error(
        "no parameter is quantised, so there is nothing to probe; quantise weights or use the method straight_through"
    )]
    NothingQuantized,
    /// A parameter that is to be moved does not exist.
    #[error("the module has no parameter called {name}; its names are paths of fields, such as layers.0.weight")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A quantiser whose step gives no width.
    #[error("parameter {name}: its quantiser's step must be above 0 and finite, got {step}")]
    Step {
        /// The parameter.
        name: String,
        /// The step.
        step: f32,
    },
    /// A straight-through gradient of another size than its parameter.
    #[error("parameter {name} has {expected} values, its gradient has {found}")]
    Gradient {
        /// The parameter.
        name: String,
        /// Values of the parameter.
        expected: usize,
        /// Values of the gradient.
        found: usize,
    },
    /// A straight-through gradient that is not finite: no direction can lean towards it.
    #[error("the straight-through gradient is not finite; lower the learning rate")]
    NotFinite,
}
