use hardgrad::quantize::QuantizeError;
use hardgrad::zeroth_order::ZerothOrderError;
use thiserror::Error;

/// A setting that cannot be.
#[derive(Debug, Error, PartialEq)]
pub enum ConfigError {
    /// There is no recipe of this name.
    #[error("no recipe is called {name}; `hardgrad recipes` lists them{}", suggestion(nearest))]
    Recipe {
        /// What was asked for.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The text is not TOML.
    #[error("{source_name}: {problem}")]
    Syntax {
        /// The file or the argument.
        source_name: String,
        /// What the parser says.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{source_name}: unknown key {key}{}; `hardgrad {show}` prints all keys", suggestion(nearest))]
    UnknownKey {
        /// The verb that prints all keys.
        show: String,
        /// The file or the argument.
        source_name: String,
        /// The whole key.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type.
    #[error("{source_name}: {key} must be {expected}, got {found}")]
    Type {
        /// The file or the argument.
        source_name: String,
        /// The whole key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A value out of its range.
    #[error("{key} must be {expected}, got {found}")]
    Range {
        /// The whole key.
        key: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Something in a file, or about a part of the network.
    #[error("{source_name}: {problem}")]
    In {
        /// The file or the part.
        source_name: String,
        /// What is wrong there.
        problem: Box<ConfigError>,
    },
    /// There is no preset of this name.
    #[error("model.preset: no network is called {name}; `hardgrad models` lists them{}", suggestion(nearest))]
    Preset {
        /// What was asked for.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The settings make no network.
    #[error("model: {problem}")]
    Network {
        /// The node that is wrong, and why.
        problem: String,
    },
    /// Settings of the gradient method.
    #[error("gradient.{0}")]
    Gradient(ZerothOrderError),
    /// A gradient method without anything to probe.
    #[error(
        "gradient.method must be straight_through where no weight is quantised, got {method}; set quantization.weight_bits \
         to 1 to 8"
    )]
    NothingToProbe {
        /// The method.
        method: &'static str,
    },
    /// Quantiser settings that do not go together.
    #[error("{key}: {problem}")]
    Quantizer {
        /// The key of the range method.
        key: &'static str,
        /// What is wrong.
        problem: QuantizeError,
    },
}

impl ConfigError {
    pub(crate) fn range(key: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Range { key, expected: expected.to_string(), found: found.to_string() }
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}
