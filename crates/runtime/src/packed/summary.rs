//! A table of what a model consists of.

use hardgrad_kernels::bit_packing::packed_len;

use super::model::PackedModel;
use crate::ops::Op;
use crate::ops::step::Domain;
use crate::ops::weight::{Stored, Weight};

/// What one node is and costs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NodeSummary {
    /// Name of the node.
    pub name: String,
    /// Its operator.
    pub kind: &'static str,
    /// What it reads.
    pub inputs: Vec<String>,
    /// Shape of its output for one item.
    pub output_shape: Vec<usize>,
    /// Learned numbers: weights, biases, multipliers and offsets.
    pub parameters: usize,
    /// Bits of a weight; 32 for floats.
    pub weight_bits: Option<u32>,
    /// Bits of an input value where it is whole numbers.
    pub activation_bits: Option<u32>,
    /// Bytes of its tensors in the file: packed codes and real numbers.
    pub bytes: usize,
    /// Multiplications that are added up, for one item.
    pub multiply_accumulates: u64,
    /// What it computes with.
    pub arithmetic: Arithmetic,
}

/// What a node computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// Whole numbers, exact.
    Integer,
    /// `f32`.
    Float,
}

impl std::fmt::Display for Arithmetic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Integer => "integer",
            Self::Float => "float",
        })
    }
}

impl PackedModel {
    /// One entry a node; none if fields were changed so that something no longer fits.
    pub fn summary(&self) -> Vec<NodeSummary> {
        let Ok(checked) = self.check() else { return Vec::new() };
        let nodes = self.description.nodes.iter().zip(checked);
        let summaries = nodes.map(|(node, checked)| {
            let prefix = format!("{}.", node.name);
            let tensors = self.tensors.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
            // Names may be the beginning of others, `a` and `a.b`: a tensor's own name has no dot.
            let tensors = tensors.filter(|(name, _)| !name[prefix.len()..].contains('.'));
            let (mut bytes, mut weight) = (0, None);
            for (name, stored) in tensors {
                bytes += match stored {
                    Stored::Float(values) => 4 * values.len(),
                    Stored::Codes(Weight { bits, codes, scale, .. }) => {
                        packed_len(codes.len(), *bits) + 4 * scale.len()
                    }
                };
                if name.ends_with(".weight") {
                    weight = Some(match stored {
                        Stored::Float(_) => 32,
                        Stored::Codes(weight) => weight.bits,
                    });
                }
            }
            let whole = |domain: &Domain| matches!(domain, Domain::Codes(_));
            let integer = match node.op.has_weights() {
                true => weight != Some(32),
                false => whole(&checked.output.domain),
            };
            let activation_bits = checked.inputs.first().and_then(|input| match input.domain {
                Domain::Codes(codes) => Some(32 - ((codes.highest - codes.lowest) as u32).leading_zeros()),
                Domain::Float => None,
            });
            NodeSummary {
                name: node.name.clone(),
                kind: node.op.kind(),
                inputs: node.inputs.clone(),
                output_shape: checked.output.shape,
                parameters: if matches!(node.op, Op::Quantize(_)) { 0 } else { checked.parameters },
                weight_bits: weight,
                activation_bits,
                bytes,
                multiply_accumulates: checked.multiply_accumulates,
                arithmetic: if integer { Arithmetic::Integer } else { Arithmetic::Float },
            }
        });
        summaries.collect()
    }
}
