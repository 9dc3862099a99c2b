//! `hardgrad op`: every discrete operator on tensors in a file, forward and backward.
//!
//! People check an operator against their own code in any language with it, and the project's own cases run through it.
//! One file an operator (or a pair); each says its inputs, its keys and how to run it.

mod call;
mod dorefa;
mod error;
mod fake_quant;
mod lsq;
mod pact;
mod round;
mod sign;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::files;
use crate::tensor_file::{decode, encode};

pub use call::{Array, Call};
pub use error::OperatorError;

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
    /// Keys with their defaults; one without must be given.
    pub keys: &'static [(&'static str, Option<&'static str>)],
    #[serde(skip)]
    run: fn(&Call) -> Result<Outputs, OperatorError>,
}

/// Named outputs and gradients.
pub(crate) type Outputs = BTreeMap<String, Array>;

/// All operators.
pub static OPERATORS: [&Operator; 7] =
    [&round::ROUND, &sign::SIGN, &fake_quant::FAKE_QUANT, &lsq::LSQ, &pact::PACT, &dorefa::ACTIVATION, &dorefa::WEIGHT];

/// Runs operator `name` on the tensors of `input` and writes its outputs and gradients to `output`.
///
/// `keys` are `key=value` pairs. Nothing is written unless everything is right.
pub fn run(name: &str, input: &Path, output: &Path, keys: &[String]) -> Result<(), OperatorError> {
    let operator = OPERATORS
        .iter()
        .find(|operator| operator.name == name)
        .ok_or_else(|| OperatorError::UnknownOperator { name: name.to_string() })?;
    let keys = operator.keys(keys)?;
    let inputs = read(input)?;
    let call = Call::new(operator, inputs, keys)?;
    let outputs = (operator.run)(&call)?;
    if let Some(output) = outputs.iter().find(|(_, array)| array.values.iter().any(|value| !value.is_finite())) {
        return Err(OperatorError::Overflow { operator: operator.name, output: output.0.clone() });
    }
    let tensors = outputs.into_iter().map(|(name, Array { shape, values })| (name, (shape, values))).collect();
    files::write_atomically(output, &encode(&tensors, None)).map_err(OperatorError::File)
}

impl Operator {
    fn keys(&self, given: &[String]) -> Result<BTreeMap<&'static str, String>, OperatorError> {
        let mut keys: BTreeMap<&'static str, String> =
            self.keys.iter().filter_map(|(key, default)| Some((*key, default.as_ref()?.to_string()))).collect();
        for pair in given {
            let (key, value) = pair.split_once('=').ok_or_else(|| OperatorError::NotAPair { pair: pair.clone() })?;
            let known = self.keys.iter().find(|(known, _)| *known == key.trim());
            let (known, _) = known.ok_or_else(|| OperatorError::UnknownKey {
                operator: self.name,
                key: key.trim().to_string(),
                known: self.keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", "),
            })?;
            keys.insert(known, value.trim().to_string());
        }
        Ok(keys)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Array>, OperatorError> {
    let bytes = files::read(path).map_err(OperatorError::File)?;
    let problem = |problem| OperatorError::Input { path: path.to_path_buf(), problem };
    let tensors = decode(&bytes).map_err(problem)?;
    Ok(tensors.into_iter().map(|(name, (shape, values))| (name, Array { shape, values })).collect())
}
