//! A network as data: named nodes, each an operator with its sizes and the names of what it reads.
//!
//! One description serves all: what a person writes in TOML, the presets, the header of model files, packed files. In TOML:
//!
//! ```text
//! [input]
//! shape = [1, 28, 28]
//!
//! [[node]]
//! name = "conv1"
//! op = "conv2d"
//! channels = 16
//! kernel = 3
//! padding = 1
//!
//! [[node]]
//! name = "add1"
//! op = "add"
//! input = ["conv1", "shortcut1"]
//!
//! [[rule]]
//! nodes = "conv*"
//! weight_bits = 2
//! ```
//! A node reads what its `input` names: nodes that stand before it, or `input`, the network's own; left out, it is the node
//! before. The last node gives the output. Rules say which parts are hard, and how.

mod error;
mod node;
mod report;
mod rule;
mod words;

use std::collections::HashMap;

pub use error::DescriptionError;
pub use node::Node;
pub use report::NodeReport;
pub use rule::Rule;
use serde::{Deserialize, Serialize};
pub use words::INPUT;
pub(crate) use words::QUANTIZER;
use words::nearest;

use crate::ops::check::check_size;
use crate::ops::limits::MAX_PARAMETERS;
use crate::ops::problem::Problem;

/// A network as data.
///
/// ```
/// use hardgrad_runtime::Description;
///
/// let text = r#"{"input": {"shape": [1, 2, 2]}, "node": [
///     {"name": "flatten", "op": "flatten"}, {"name": "output", "op": "linear", "outputs": 3}]}"#;
/// let network: Description = serde_json::from_str(text)?;
/// let nodes = network.check()?;
/// assert_eq!((nodes[1].output.clone(), nodes[1].parameters), (vec![3], 15));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Description {
    /// What it takes.
    pub input: InputShape,
    /// The operators; each reads only what stands before it, and the last one gives the output.
    pub nodes: Vec<Node>,
    /// Which parts are hard; later rules win.
    pub rules: Vec<Rule>,
}

/// What a network takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputShape {
    /// Shape of one item: `[channels, height, width]`, or `[features]`.
    pub shape: Vec<usize>,
}

impl Description {
    /// What each node gives, in their order.
    ///
    /// # Errors
    /// If the nodes make no network: names the node that is wrong, and why. Nothing is allocated that the sizes demand.
    pub fn check(&self) -> Result<Vec<NodeReport>, DescriptionError> {
        check_input(&self.input.shape)?;
        let Some(_) = self.nodes.last() else { return Err(DescriptionError::Empty) };
        let mut places = HashMap::new();
        let mut reports: Vec<NodeReport> = Vec::with_capacity(self.nodes.len());
        let mut parameters = 0usize;
        for (place, node) in self.nodes.iter().enumerate() {
            node.check_name()?;
            if places.contains_key(&node.name) {
                return Err(DescriptionError::DuplicateName(node.name.clone()));
            }
            let mut inputs = Vec::new();
            for input in &node.inputs {
                inputs.push(match places.get(input) {
                    _ if input == INPUT => self.input.shape.clone(),
                    Some(&place) => {
                        let report: &NodeReport = &reports[place];
                        report.output.clone()
                    }
                    None => return Err(self.no_source(node, input)),
                });
            }
            let report = node.report(inputs)?;
            parameters = parameters.saturating_add(report.parameters);
            if parameters > MAX_PARAMETERS {
                let problem = Problem::Parameters { parameters };
                return Err(DescriptionError::Node { node: node.name.clone(), problem });
            }
            reports.push(report);
            places.insert(node.name.clone(), place);
        }
        for report in &reports {
            for tensor in &report.tensors {
                let name = format!("{}.{}", report.name, tensor.name);
                if places.contains_key(&name) {
                    return Err(DescriptionError::Clash { name, owner: report.name.clone() });
                }
            }
        }
        Ok(reports)
    }

    /// The place of a node among the nodes.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The error for a node that reads what is not there yet.
    fn no_source(&self, node: &Node, input: &str) -> DescriptionError {
        let (name, input) = (node.name.clone(), input.to_string());
        if input == name || self.place(&input).is_some() {
            return DescriptionError::Later { node: name, input };
        }
        let names = self.nodes.iter().map(|node| node.name.as_str()).chain([INPUT]);
        let nearest = nearest(&input, names);
        DescriptionError::Unknown { node: name, input, nearest }
    }
}

fn check_input(shape: &[usize]) -> Result<(), DescriptionError> {
    if !matches!(shape.len(), 1 | 3) || shape.contains(&0) {
        return Err(DescriptionError::Input { shape: shape.to_vec() });
    }
    check_size(shape).map_err(|_| DescriptionError::Input { shape: shape.to_vec() })
}

/// The form in files.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    input: InputShape,
    #[serde(default)]
    node: Vec<node::Written>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rule: Vec<Rule>,
}

impl TryFrom<Written> for Description {
    type Error = DescriptionError;

    fn try_from(written: Written) -> Result<Self, DescriptionError> {
        let mut nodes: Vec<Node> = Vec::with_capacity(written.node.len());
        for node in written.node {
            let before = nodes.last().map_or(INPUT, |node| node.name.as_str());
            nodes.push(node.read(before)?);
        }
        Ok(Self { input: written.input, nodes, rules: written.rule })
    }
}

impl From<Description> for Written {
    fn from(description: Description) -> Self {
        let mut before = INPUT.to_string();
        let nodes = description.nodes.into_iter().map(|node| {
            let written = node::Written::of(&node, &before);
            before = node.name;
            written
        });
        Self { input: description.input, node: nodes.collect(), rule: description.rules }
    }
}

#[cfg(test)]
mod tests;
