use std::path::PathBuf;

use hardgrad::theory::TwoLayerError;
use thiserror::Error;

use crate::files::FileError;

/// Why an operator could not run; one line that names the thing and what was expected.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// There is no such operator.
    #[error("unknown operator {name}; `hardgrad op list` lists them")]
    UnknownOperator {
        /// What was asked for.
        name: String,
    },
    /// An argument that is no `key=value`.
    #[error("--set {pair}: expected key=value, such as bits=4")]
    NotAPair {
        /// The argument.
        pair: String,
    },
    /// A key that the operator does not have.
    #[error("{operator}: unknown key {key}; {known}")]
    UnknownKey {
        /// The operator.
        operator: &'static str,
        /// The key.
        key: String,
        /// The keys it has.
        known: String,
    },
    /// A key that was given more than once.
    #[error("{operator}: key {key} is given twice; give it once")]
    GivenTwice {
        /// The operator.
        operator: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key that changes nothing in this call, so that whoever gave it means something else.
    #[error("{operator}: key {key} does nothing with {with}; leave it out")]
    UselessKey {
        /// The operator.
        operator: &'static str,
        /// The key.
        key: &'static str,
        /// What makes it useless.
        with: String,
    },
    /// A key without a default was not given.
    #[error("{operator}: key {key} is missing; give it with --set {key}=VALUE")]
    MissingKey {
        /// The operator.
        operator: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A value that a key cannot have.
    #[error("{operator}: {key} must be {expected}, got {found:?}")]
    Value {
        /// The operator.
        operator: &'static str,
        /// The key or input.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An input that must be given was not.
    #[error("{operator}: input {input} is missing; expected the inputs {expected}")]
    MissingInput {
        /// The operator.
        operator: &'static str,
        /// The input.
        input: &'static str,
        /// All inputs.
        expected: String,
    },
    /// An input that the operator does not have.
    #[error("{operator}: unknown input {input}; expected the inputs {expected}")]
    UnknownInput {
        /// The operator.
        operator: &'static str,
        /// The input.
        input: String,
        /// All inputs.
        expected: String,
    },
    /// An input with a NaN or an infinity.
    #[error("{operator}: input {input} has a value that is not finite at index {index}; expected finite values")]
    NotFinite {
        /// The operator.
        operator: &'static str,
        /// The input.
        input: String,
        /// The first such value, counted row by row.
        index: usize,
    },
    /// A result that no float can hold.
    #[error("{operator}: {output} is not finite in float32; {mend}")]
    Overflow {
        /// The operator.
        operator: &'static str,
        /// The output or gradient.
        output: String,
        /// Which input or key to change: the one that is furthest from 1.
        mend: String,
    },
    /// An input of the wrong shape.
    #[error("{operator}: input {input} has shape {found:?}, expected {expected}")]
    Shape {
        /// The operator.
        operator: &'static str,
        /// The input.
        input: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// Vectors that are no two-layer network.
    #[error("two_layer: {error}")]
    Network {
        /// What is wrong.
        error: TwoLayerError,
    },
    /// An output in the place of the input.
    #[error("{}: the output would replace the input; choose another name", path.display())]
    OverInput {
        /// The file.
        path: PathBuf,
    },
    /// The input file is not what it should be.
    #[error("{}: not a safetensors file of F32 tensors: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    File(FileError),
}

impl OperatorError {
    /// True where the caller asked for something that cannot be, false where a file failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Input { .. } | Self::File(FileError::System { .. }) => false,
            Self::UnknownOperator { .. }
            | Self::NotAPair { .. }
            | Self::UnknownKey { .. }
            | Self::GivenTwice { .. }
            | Self::UselessKey { .. }
            | Self::MissingKey { .. }
            | Self::Value { .. }
            | Self::MissingInput { .. }
            | Self::UnknownInput { .. }
            | Self::NotFinite { .. }
            | Self::Overflow { .. }
            | Self::Shape { .. }
            | Self::Network { .. }
            | Self::OverInput { .. }
            | Self::File(FileError::Refused { .. }) => true,
        }
    }
}
