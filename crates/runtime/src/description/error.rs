//! What can be wrong with a network as data.

use crate::ops::limits::MAX_ACTIVATION;
use crate::ops::problem::Problem;

/// Why a description is no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DescriptionError {
    /// There are no nodes.
    #[error("there is no node; add [[node]] tables, the last of which gives the output")]
    Empty,
    /// The input is not possible.
    #[error(
        "input.shape is {shape:?}; give [channels, height, width] or [features], each at least 1 and at most {} values \
         together",
        MAX_ACTIVATION
    )]
    Input {
        /// The shape that was given.
        shape: Vec<usize>,
    },
    /// A node has no name, or one that cannot be told from others.
    #[error(
        "node name {0:?} cannot be; use letters, digits, _, - and ., not \"input\", and no end \".quantizer\", which quantisers have"
    )]
    Name(String),
    /// Two nodes have one name.
    #[error("node name {0:?} is used twice; names must tell the nodes apart")]
    DuplicateName(String),
    /// A node has no operator.
    #[error("node {node}: it has no op; give it one, such as op = \"conv2d\"")]
    NoOp {
        /// Its name.
        node: String,
    },
    /// A node has an operator that there is not.
    #[error("node {node}: there is no op {op:?}; did you mean {nearest}?")]
    UnknownOp {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// The nearest operator that there is.
        nearest: String,
    },
    /// A node is called like a tensor of another one.
    #[error("node name {name:?} is that of a tensor of node {owner}; give the node another name")]
    Clash {
        /// The name.
        name: String,
        /// The node with the tensor.
        owner: String,
    },
    /// A node has a key that its operator does not have.
    #[error("node {node}: {op} has no {key:?}; did you mean {nearest}?")]
    UnknownKey {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// The key.
        key: String,
        /// The nearest key that there is.
        nearest: String,
    },
    /// A size of a node is missing or not of the right kind.
    #[error("node {node}: {problem}")]
    Sizes {
        /// Name of the node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// A node reads something that is not there.
    #[error("node {node}: it reads {input:?}, which is no node; did you mean {nearest}?")]
    Unknown {
        /// Name of the node.
        node: String,
        /// What it reads.
        input: String,
        /// The nearest name that there is.
        nearest: String,
    },
    /// A node reads itself or a later one.
    #[error(
        "node {node}: it reads {input:?}, which does not stand before it; nodes read only earlier ones, so that there are no circles"
    )]
    Later {
        /// Name of the node.
        node: String,
        /// What it reads.
        input: String,
    },
    /// A node does not fit what it reads, or its sizes are not possible.
    #[error("node {node}: {problem}")]
    Node {
        /// Name of the node.
        node: String,
        /// What is wrong.
        problem: Problem,
    },
}
