//! A table of what a model consists of.

use hardgrad_kernels::bit_packing::packed_len;

use crate::check::Chain;
use crate::{InputQuantizer, LayerKind, PackedModel, QuantizeRule};

/// What one layer is and costs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LayerSummary {
    /// Name of the layer.
    pub name: String,
    /// Its kind, as the file names it.
    pub kind: &'static str,
    /// Shape of its output for one image.
    pub output_shape: Vec<usize>,
    /// Learned numbers: weights, biases, multipliers and offsets.
    pub parameters: usize,
    /// Bits of a weight.
    pub weight_bits: Option<u32>,
    /// Bits of an input value.
    pub activation_bits: Option<u32>,
    /// Bytes of its tensors in the file: packed codes and real numbers.
    pub bytes: usize,
    /// Multiplications with a weight for one image.
    pub multiply_accumulates: u64,
    /// What it computes with.
    pub arithmetic: Arithmetic,
}

/// What a layer computes with.
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

impl LayerKind {
    /// The kind, as the file names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Linear { .. } => "linear",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Relu => "relu",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::Flatten => "flatten",
        }
    }
}

impl PackedModel {
    /// One entry a layer. If fields were changed so that something no longer fits, the list ends before it.
    pub fn summary(&self) -> Vec<LayerSummary> {
        if self.input.check().is_err() {
            return Vec::new();
        }
        let mut chain = Chain::new(&self.input);
        let mut summaries = Vec::new();
        for layer in &self.layers {
            let Ok(shape) = chain.pass(layer) else { break };
            let mut summary = LayerSummary {
                name: layer.name.clone(),
                kind: layer.kind.name(),
                output_shape: shape.sizes(),
                parameters: 0,
                weight_bits: None,
                activation_bits: None,
                bytes: 0,
                multiply_accumulates: 0,
                arithmetic: Arithmetic::Float,
            };
            if let LayerKind::BatchNorm { multiplier, offset } = &layer.kind {
                summary.parameters = multiplier.len() + offset.len();
                summary.bytes = 4 * summary.parameters;
            }
            if let Some((weight, input, bias)) = layer.kind.products() {
                let bias = bias.map_or(0, <[f32]>::len);
                let (activation_bits, input_floats) = match input {
                    InputQuantizer::Pixels => (8, 0),
                    InputQuantizer::Levels { bits, rule: QuantizeRule::Divide, .. } => (*bits, 1),
                    InputQuantizer::Levels { bits, rule: QuantizeRule::Multiply { .. }, .. } => (*bits, 2),
                };
                // Each weight meets each pixel of its output channel once.
                let pixels = shape.len() / shape.channels();
                summary.parameters = weight.codes.len() + bias;
                summary.weight_bits = Some(weight.bits);
                summary.activation_bits = Some(activation_bits);
                summary.bytes =
                    packed_len(weight.codes.len(), weight.bits) + 4 * (weight.scale.len() + bias + input_floats);
                summary.multiply_accumulates = weight.codes.len() as u64 * pixels as u64;
                summary.arithmetic = Arithmetic::Integer;
            }
            summaries.push(summary);
        }
        summaries
    }
}
