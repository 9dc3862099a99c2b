//! A node: its name, its operator with its sizes, what it reads.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::DescriptionError;
use super::report::NodeReport;
use super::words::{INPUT, QUANTIZER, nearest};
use crate::ops::Op;
use crate::ops::check::check_size;
use crate::ops::problem::Problem;

/// An operator in a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name, different from those of all other nodes.
    pub name: String,
    /// What it computes, with its sizes.
    pub op: Op,
    /// The names of what it reads: earlier nodes, or [`INPUT`].
    pub inputs: Vec<String>,
}

impl Node {
    pub(crate) fn check_name(&self) -> Result<(), DescriptionError> {
        let name = &self.name;
        let good = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        // A quantiser's tensors are called after it: `relu1.quantizer.scale`.
        let quantizer = (name.ends_with(QUANTIZER) && self.op.kind() != "quantize") || name.contains(".quantizer.");
        if name.is_empty() || name == INPUT || !name.chars().all(good) || quantizer {
            return Err(DescriptionError::Name(name.clone()));
        }
        Ok(())
    }

    /// What the node gives for inputs of these shapes.
    pub(crate) fn report(&self, inputs: Vec<Vec<usize>>) -> Result<NodeReport, DescriptionError> {
        let failed = |problem| DescriptionError::Node { node: self.name.clone(), problem };
        let expected = self.op.inputs();
        if inputs.len() != expected {
            return Err(failed(Problem::Inputs { expected, found: inputs.len() }));
        }
        let output = self.op.output(&inputs).map_err(failed)?;
        check_size(&output).map_err(failed)?;
        let tensors = self.op.tensors(&inputs);
        let parameters = tensors.iter().fold(0usize, |sum, tensor| sum.saturating_add(tensor.len()));
        let multiply_accumulates = self.op.multiply_accumulates(&inputs, &output);
        let (name, kind) = (self.name.clone(), self.op.kind());
        Ok(NodeReport { name, kind, inputs, output, tensors, parameters, multiply_accumulates })
    }
}

/// The form in files: name, op and input stand among the sizes, before them where we write.
#[derive(Clone)]
pub(crate) struct Written(Vec<(String, Value)>);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Written;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a node: a table with name, op and sizes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut entries: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    // Readers would take one or the other.
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom(format!("a node has {key} twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Written(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Written {
    /// The node, which reads `before` where it does not say what.
    pub fn read(self, before: &str) -> Result<Node, DescriptionError> {
        let mut entries: Map<String, Value> = self.0.into_iter().collect();
        let name = match entries.remove("name") {
            Some(Value::String(name)) => name,
            found => return Err(DescriptionError::Name(found.map_or_else(String::new, |name| name.to_string()))),
        };
        let op = match entries.remove("op") {
            Some(Value::String(op)) => op,
            Some(found) => {
                return Err(DescriptionError::Sizes { node: name, problem: format!("op is {found}; give it a word") });
            }
            None => return Err(DescriptionError::NoOp { node: name }),
        };
        let inputs = match entries.remove("input") {
            None => vec![before.to_string()],
            Some(Value::String(input)) => vec![input],
            Some(found) => serde_json::from_value(found.clone()).map_err(|_| DescriptionError::Sizes {
                node: name.clone(),
                problem: format!("input is {found}; give it the name of a node, or a list of names"),
            })?,
        };
        let op = read_op(&name, op, &entries)?;
        Ok(Node { name, op, inputs })
    }

    /// The form of a node that stands behind `before`.
    pub fn of(node: &Node, before: &str) -> Self {
        let mut entries: Vec<(String, Value)> =
            vec![("name".to_string(), node.name.clone().into()), ("op".to_string(), node.op.kind().into())];
        match &node.inputs[..] {
            [input] if input == before => {}
            [input] => entries.push(("input".to_string(), input.clone().into())),
            inputs => entries.push(("input".to_string(), inputs.to_vec().into())),
        }
        if let Value::Object(sizes) = node.op.sizes() {
            entries.extend(sizes);
        }
        Self(entries)
    }
}

/// The operator of a node with its sizes.
fn read_op(node: &str, op: String, sizes: &Map<String, Value>) -> Result<Op, DescriptionError> {
    let node = node.to_string();
    if !Op::KINDS.contains(&&op[..]) {
        let nearest = nearest(&op, Op::KINDS.iter().copied());
        return Err(DescriptionError::UnknownOp { node, op, nearest });
    }
    let known = Op::keys(&op);
    if let Some(key) = sizes.keys().find(|key| !known.contains(&&key[..])) {
        let nearest = nearest(key, known.iter().copied().chain(["name", "op", "input"]));
        return Err(DescriptionError::UnknownKey { node, op, key: key.clone(), nearest });
    }
    match Op::read(&op, Value::Object(sizes.clone())) {
        Some(Ok(op)) => Ok(op),
        Some(Err(problem)) => {
            let problem = problem.to_string();
            let key = culprit(&op, sizes, &problem).map_or_else(String::new, |key| format!("{key}: "));
            Err(DescriptionError::Sizes { node, problem: format!("{key}{problem}") })
        }
        None => Err(DescriptionError::UnknownOp { node, nearest: op.clone(), op }),
    }
}

/// The size that reading failed at, which serde does not tell: without it, nothing fails or something else does.
fn culprit<'a>(op: &str, sizes: &'a Map<String, Value>, problem: &str) -> Option<&'a String> {
    sizes.keys().find(|key| {
        let others = sizes.iter().filter(|(other, _)| other != key).map(|(key, value)| (key.clone(), value.clone()));
        match Op::read(op, Value::Object(others.collect())) {
            Some(Err(other)) => other.to_string() != problem,
            Some(Ok(_)) | None => true,
        }
    })
}
