use thiserror::Error;

use crate::quantize::QuantizeError;
use crate::runtime::DescriptionError;

/// Why a description does not become a network, or a network is not quantised.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The description is that of no network.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// A quantiser is written as a node.
    #[error(
        "node {node}: quantisers follow from rules and are no nodes here; leave it out, and give what reads it a rule"
    )]
    Quantize {
        /// The node.
        node: String,
    },
    /// The last node gives no row of outputs.
    #[error(
        "node {node}: it is the last and gives {shape:?}; the last node must give [outputs], so add flatten or linear"
    )]
    Output {
        /// The last node.
        node: String,
        /// Shape of what it gives.
        shape: Vec<usize>,
    },
    /// A rule is for no node with a weight.
    #[error("rule for {nodes:?}: no conv2d and no linear has such a name; the nearest are {}", names.join(", "))]
    NoNode {
        /// Pattern of the rule.
        nodes: String,
        /// The nearest names of nodes that rules can be for.
        names: Vec<String>,
    },
    /// A rule has a word that is no range method.
    #[error("rule for {nodes:?}: there is no range method {word:?}; use one of {}", known.join(", "))]
    Range {
        /// Pattern of the rule.
        nodes: String,
        /// The word.
        word: String,
        /// The range methods.
        known: Vec<&'static str>,
    },
    /// The settings that the rules give to a node cannot work.
    #[error("node {node}: {problem}")]
    Quantizer {
        /// The node.
        node: String,
        /// What is wrong.
        problem: QuantizeError,
    },
    /// Two nodes read one value, and would quantise it in two ways.
    #[error(
        "nodes {first} and {second} both read {source_name}, and rules quantise it in two ways; give their activations \
         the same rule"
    )]
    Readers {
        /// What they read.
        source_name: String,
        /// One reader.
        first: String,
        /// Another.
        second: String,
    },
    /// The network is quantised already.
    #[error("the network is quantised already; quantise a float one")]
    Quantized,
    /// A parameter of a module is not what the description needs.
    #[error("{parameter}: {problem}")]
    Parameter {
        /// Its name.
        parameter: String,
        /// What is wrong, and what helps.
        problem: String,
    },
}
