//! What an operator is, and what the operators share.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::step::{Domain, Packed, Runner};
use super::tensor::TensorShape;

/// What an operator of networks is.
pub(crate) trait Operator: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// The word for it, in descriptions, packed files and reports.
    const KIND: &'static str;
    /// How many values it reads.
    const INPUTS: usize = 1;
    /// Whether it only moves values or chooses among them: then codes stay codes.
    const PASSES_CODES: bool = false;
    /// What it makes of the signs of what it reads.
    const SIGNS: Signs = if Self::PASSES_CODES { Signs::Kept } else { Signs::Any };
    /// Whether it multiplies by weights that may be quantised.
    const HAS_WEIGHTS: bool = false;

    /// Shape of what it gives for inputs of these shapes, without the batch.
    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem>;

    /// The tensors that a packed model holds of it; only for inputs that [`output`](Self::output) takes.
    fn tensors(&self, _inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        Vec::new()
    }

    /// Multiplications that it adds up for one item.
    fn multiply_accumulates(&self, _inputs: &[Vec<usize>], _output: &[usize]) -> u64 {
        0
    }

    /// Fails where its numbers cannot be computed with; else what kind of values it gives.
    ///
    /// Its tensors are there, have the lengths that [`tensors`](Self::tensors) gives, and floats are finite.
    fn check(&self, node: &Packed<'_>) -> Result<Domain, Problem> {
        Ok(if Self::PASSES_CODES { node.inputs[0].domain } else { Domain::Float })
    }

    /// How it runs; only for nodes that were checked.
    fn runner(&self, node: &Packed<'_>) -> Runner;
}

/// What an operator makes of the signs of what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signs {
    /// It may give negative values.
    Any,
    /// It gives negative values only where it reads some.
    Kept,
    /// It gives no negative value.
    NeverNegative,
}

/// `[channels, height, width]`, or the error for other shapes.
pub(super) fn image(shape: &[usize]) -> Result<[usize; 3], Problem> {
    shape
        .try_into()
        .map_err(|_| Problem::Rank { expected: "an image [channels, height, width]", found: shape.to_vec() })
}

/// `[tokens, width]`, or the error for other shapes.
pub(super) fn tokens(shape: &[usize]) -> Result<[usize; 2], Problem> {
    shape.try_into().map_err(|_| Problem::Rank { expected: "tokens [tokens, width]", found: shape.to_vec() })
}

/// Sizes as costs.
pub(super) fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
}
