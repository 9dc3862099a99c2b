//! The tensors of an operator.

use serde::Serialize;

use super::limits::count;

/// A tensor that a node owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorShape {
    /// Its name within the node.
    pub name: &'static str,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
}

impl TensorShape {
    /// A tensor of this name and shape.
    pub fn new(name: &'static str, shape: impl Into<Vec<usize>>) -> Self {
        Self { name, shape: shape.into() }
    }

    /// Number of values; the largest number there is where it cannot be counted.
    pub fn len(&self) -> usize {
        count(&self.shape)
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
