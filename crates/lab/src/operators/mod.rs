//! `hardgrad op`: every discrete operator on tensors in a file, forward and backward.
//!
//! People check an operator against their own code in any language with it, and the project's own cases run through it.
//! One file an operator (or a pair); each says its inputs, its keys and how to run it.

mod bernoulli_edges;
mod call;
mod categorical;
mod codebook;
mod dorefa;
mod error;
mod fake_quant;
mod fogzo;
mod key;
mod lsq;
mod magnitude_aware_sign;
mod mask;
mod pact;
mod quantized_relu;
mod round;
mod select;
mod sign;
mod ternary;
mod two_layer;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::files;
use crate::tensor_file::{Indices, Tensors, decode, encode};

pub use call::{Array, Call, Output};
pub use error::OperatorError;
pub use key::Key;

/// One operator.
#[derive(Serialize)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Inputs that must be given.
    pub inputs: &'static [&'static str],
    /// Inputs that may be given.
    pub optional_inputs: &'static [&'static str],
    /// Its keys.
    #[serde(serialize_with = "called")]
    pub keys: fn() -> Vec<Key>,
    #[serde(skip)]
    run: fn(&Call) -> Result<Outputs, OperatorError>,
}

fn called<S: Serializer>(keys: &fn() -> Vec<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    keys().serialize(serializer)
}

/// Named outputs and gradients.
pub(crate) type Outputs = BTreeMap<String, Output>;

/// All operators.
pub static OPERATORS: &[&Operator] = &[
    &round::ROUND,
    &sign::SIGN,
    &fake_quant::FAKE_QUANT,
    &lsq::LSQ,
    &pact::PACT,
    &dorefa::ACTIVATION,
    &dorefa::WEIGHT,
    &magnitude_aware_sign::MAGNITUDE_AWARE_SIGN,
    &ternary::TWN,
    &ternary::ABSMEAN,
    &quantized_relu::QUANTIZED_RELU,
    &categorical::GUMBEL_SOFTMAX,
    &categorical::STRAIGHT_THROUGH,
    &categorical::REINMAX,
    &categorical::GAPPED,
    &select::TOP_K_MASK,
    &select::TOKEN_SELECT,
    &select::TOKEN_SCORE,
    &codebook::VECTOR_QUANTIZE,
    &codebook::FSQ,
    &codebook::LFQ,
    &mask::THRESHOLD,
    &mask::SCORE,
    &mask::SOFT_THRESHOLD,
    &mask::HARD_CONCRETE,
    &bernoulli_edges::BERNOULLI_EDGES,
    &fogzo::FOGZO,
    &two_layer::TWO_LAYER,
];

/// Runs operator `name` on the tensors of `input` and writes its outputs and gradients to `output`.
///
/// `keys` are `key=value` pairs. Nothing is written unless everything is right.
pub fn run(name: &str, input: &Path, output: &Path, keys: &[String]) -> Result<(), OperatorError> {
    let operator = OPERATORS
        .iter()
        .find(|operator| operator.name == name)
        .ok_or_else(|| OperatorError::UnknownOperator { name: name.to_string() })?;
    let keys = key::read(operator.name, &(operator.keys)(), keys)?;
    files::check_output(output).map_err(OperatorError::File)?;
    if files::are_one(input, output) {
        return Err(OperatorError::OverInput { path: output.to_path_buf() });
    }
    let inputs = read(input)?;
    let call = Call::new(operator, inputs, keys)?;
    let outputs = (operator.run)(&call)?;
    let (mut tensors, mut indices) = (Tensors::new(), Indices::new());
    for (name, output) in outputs {
        match output {
            Output::Float(Array { values, .. }) if values.iter().any(|value| !value.is_finite()) => {
                return Err(call.overflow(name));
            }
            Output::Float(Array { shape, values }) => drop(tensors.insert(name, (shape, values))),
            Output::Index(shape, values) => drop(indices.insert(name, (shape, values))),
        }
    }
    files::write_output(output, &encode(&tensors, &indices, None)).map_err(OperatorError::File)
}

fn read(path: &Path) -> Result<BTreeMap<String, Array>, OperatorError> {
    let bytes = files::read(path).map_err(OperatorError::File)?;
    let problem = |problem| OperatorError::Input { path: path.to_path_buf(), problem };
    let tensors = decode(&bytes).map_err(problem)?;
    // A tensor without values may claim axes of any size.
    let vast = tensors.iter().find(|(_, (shape, _))| shape.iter().any(|size| u32::try_from(*size).is_err()));
    if let Some((name, (shape, _))) = vast {
        return Err(problem(format!(
            "tensor {name} has shape {shape:?}, an axis may have at most {} indices",
            u32::MAX
        )));
    }
    Ok(tensors.into_iter().map(|(name, (shape, values))| (name, Array { shape, values })).collect())
}
