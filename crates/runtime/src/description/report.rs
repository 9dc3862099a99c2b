//! What a node is and gives, found without its parameters.

use serde::Serialize;

use crate::ops::tensor::TensorShape;

/// What a node is and gives, found without its parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeReport {
    /// Name of the node.
    pub name: String,
    /// Its operator.
    pub kind: &'static str,
    /// Shapes of what it reads.
    pub inputs: Vec<Vec<usize>>,
    /// Shape of what it gives.
    pub output: Vec<usize>,
    /// The tensors that a packed model holds of it.
    pub tensors: Vec<TensorShape>,
    /// Numbers in these tensors.
    pub parameters: usize,
    /// Multiplications that it adds up for one item.
    pub multiply_accumulates: u64,
}
