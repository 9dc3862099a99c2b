//! Files of version 1: a chain of layers, read as nodes.
//!
//! The quantiser of a layer's input becomes a node `LAYER.input` before it. Names of layers were free: what node names may not
//! hold becomes `_`. Such files are no longer written.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::error::PackedError;
use super::model::{PackedModel, Pixels};
use super::tensors::Tensors;
use crate::description::{Description, DescriptionError, INPUT, InputShape, Node, QUANTIZER};
use crate::ops::check::check_bits;
use crate::ops::problem::Problem;
use crate::ops::weight::{Stored, Weight};
use crate::ops::{AvgPool2d, BatchNorm, Conv2d, Flatten, Linear, MaxPool2d, Op, Quantize, Relu};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u64,
    sha256: String,
    input: InputEntry,
    class_names: Vec<String>,
    layers: Vec<LayerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    channels: usize,
    height: usize,
    width: usize,
    scale: String,
    zero_point: u8,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum LayerEntry {
    Conv2d {
        name: String,
        weight: WeightEntry,
        input: QuantizerEntry,
        #[serde(default)]
        bias: Option<String>,
        channels_in: usize,
        channels_out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
    },
    Linear {
        name: String,
        weight: WeightEntry,
        input: QuantizerEntry,
        #[serde(default)]
        bias: Option<String>,
        inputs: usize,
        outputs: usize,
    },
    BatchNorm {
        name: String,
        multiplier: String,
        offset: String,
    },
    Relu {
        name: String,
    },
    MaxPool2d {
        name: String,
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    AvgPool2d {
        name: String,
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    Flatten {
        name: String,
    },
}

impl LayerEntry {
    fn name(&mut self) -> &mut String {
        match self {
            Self::Conv2d { name, .. }
            | Self::Linear { name, .. }
            | Self::BatchNorm { name, .. }
            | Self::Relu { name }
            | Self::MaxPool2d { name, .. }
            | Self::AvgPool2d { name, .. }
            | Self::Flatten { name } => name,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightEntry {
    bits: u32,
    first: Vec<i32>,
    step: i32,
    codes: String,
    scale: String,
}

#[derive(Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
enum QuantizerEntry {
    Pixels {},
    Divide { bits: u32, lowest: i32, highest: i32, scale: String },
    Multiply { bits: u32, lowest: i32, highest: i32, scale: String, factor: String },
}

/// The model of a description, not yet checked as a whole, and the checksum that it claims.
pub(super) fn read(text: &str, tensors: &mut Tensors<'_>) -> Result<(PackedModel, String), PackedError> {
    let Entry { sha256, input, class_names, layers, .. } =
        serde_json::from_str(text).map_err(PackedError::Description)?;
    let InputEntry { channels, height, width, scale, zero_point } = input;
    let pixels = Pixels { scale: tensors.float(&scale)?, zero_point };
    let mut chain = Chain {
        nodes: Vec::new(),
        stored: BTreeMap::new(),
        names: HashSet::new(),
        taken: HashSet::new(),
        channels: Vec::new(),
        pixels: true,
        tensors,
    };
    for layer in layers {
        chain.layer(layer)?;
    }
    let Chain { nodes, stored, channels: claimed, .. } = chain;
    let input = InputShape { shape: vec![channels, height, width] };
    let description = Description { input, nodes, rules: Vec::new() };
    // These files say how many channels each layer takes; here that follows from what stands before it.
    let reports = description.check()?;
    for (place, expected) in claimed {
        let found = reports[place].inputs[0][0];
        if found != expected {
            let (node, problem) = (reports[place].name.clone(), Problem::Channels { expected, found });
            return Err(DescriptionError::Node { node, problem }.into());
        }
    }
    Ok((PackedModel { description, pixels, class_names, tensors: stored }, sha256))
}

/// The nodes so far.
struct Chain<'a, 'b> {
    nodes: Vec<Node>,
    stored: BTreeMap<String, Stored>,
    /// Names of layers so far, which must differ.
    names: HashSet<String>,
    /// Names of nodes so far.
    taken: HashSet<String>,
    /// Places of nodes with the channels that they claim to take.
    channels: Vec<(usize, usize)>,
    /// Whether the pixels are still whole numbers.
    pixels: bool,
    tensors: &'a mut Tensors<'b>,
}

impl Chain<'_, '_> {
    fn layer(&mut self, mut layer: LayerEntry) -> Result<(), PackedError> {
        let name = layer.name();
        if name.is_empty() || !self.names.insert(name.clone()) {
            return Err(DescriptionError::DuplicateName(name.clone()).into());
        }
        *name = self.free_name(name);
        let flattens = matches!(layer, LayerEntry::Flatten { .. });
        self.convert(layer)?;
        self.pixels &= flattens;
        Ok(())
    }

    /// A name of a node that no node has: `name` itself, if it can be one.
    fn free_name(&self, name: &str) -> String {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        let mut name: String = name.chars().map(|letter| if good(letter) { letter } else { '_' }).collect();
        while name == INPUT || name.ends_with(QUANTIZER) || self.taken.contains(&name) {
            name = format!("{name}_{}", self.nodes.len());
        }
        name
    }

    fn convert(&mut self, layer: LayerEntry) -> Result<(), PackedError> {
        match layer {
            LayerEntry::Conv2d {
                name,
                weight,
                input,
                bias,
                channels_in,
                channels_out,
                kernel,
                stride,
                padding,
                dilation,
                groups,
            } => {
                let group_in = channels_in.checked_div(groups).unwrap_or(0);
                self.products(&name, weight, input, &bias, &[channels_out, group_in, kernel[0], kernel[1]])?;
                let bias = bias.is_some();
                self.channels.push((self.nodes.len(), channels_in));
                self.node(name, Conv2d { channels: channels_out, kernel, stride, padding, dilation, groups, bias });
            }
            LayerEntry::Linear { name, weight, input, bias, inputs, outputs } => {
                self.products(&name, weight, input, &bias, &[outputs, inputs])?;
                self.channels.push((self.nodes.len(), inputs));
                self.node(name, Linear { outputs, bias: bias.is_some() });
            }
            LayerEntry::BatchNorm { name, multiplier, offset } => {
                self.floats(&name, "multiplier", &multiplier)?;
                self.floats(&name, "offset", &offset)?;
                self.node(name, BatchNorm::default());
            }
            LayerEntry::Relu { name } => self.node(name, Relu {}),
            LayerEntry::MaxPool2d { name, kernel, stride } => self.node(name, MaxPool2d { kernel, stride }),
            LayerEntry::AvgPool2d { name, kernel, stride } => self.node(name, AvgPool2d { kernel, stride }),
            LayerEntry::Flatten { name } => self.node(name, Flatten {}),
        }
        Ok(())
    }

    fn node(&mut self, name: String, op: impl Into<Op>) {
        let inputs = vec![self.nodes.last().map_or_else(|| INPUT.to_string(), |node| node.name.clone())];
        self.taken.insert(name.clone());
        self.nodes.push(Node { name, op: op.into(), inputs });
    }

    fn floats(&mut self, layer: &str, part: &str, name: &str) -> Result<(), PackedError> {
        let values = self.tensors.floats(name)?;
        self.stored.insert(format!("{layer}.{part}"), Stored::Float(values));
        Ok(())
    }

    /// The quantiser of a layer's input, and its weight and bias.
    fn products(
        &mut self,
        layer: &str,
        weight: WeightEntry,
        input: QuantizerEntry,
        bias: &Option<String>,
        sizes: &[usize],
    ) -> Result<(), PackedError> {
        let failed = |problem| PackedError::from(DescriptionError::Node { node: layer.to_string(), problem });
        let name = self.free_name(&format!("{layer}.input"));
        let (levels, scale, factor) = match input {
            QuantizerEntry::Pixels {} if self.pixels => (None, None, None),
            QuantizerEntry::Pixels {} => return Err(failed(Problem::FloatInput)),
            QuantizerEntry::Divide { bits, lowest, highest, scale } => {
                (Some(Quantize { bits, lowest, highest, multiply: false }), Some(scale), None)
            }
            QuantizerEntry::Multiply { bits, lowest, highest, scale, factor } => {
                (Some(Quantize { bits, lowest, highest, multiply: true }), Some(scale), Some(factor))
            }
        };
        for (part, tensor) in [("scale", scale), ("factor", factor)] {
            if let Some(tensor) = tensor {
                self.floats(&name, part, &tensor)?;
            }
        }
        if let Some(levels) = levels {
            self.node(name, levels);
        }
        let WeightEntry { bits, first, step, codes, scale } = weight;
        check_bits("weight", bits).map_err(failed)?;
        let count = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let count = count.ok_or_else(|| failed(Problem::Parameters { parameters: usize::MAX }))?;
        let (codes, scale) = (self.tensors.codes(&codes, bits, count)?, self.tensors.floats(&scale)?);
        self.stored.insert(format!("{layer}.weight"), Stored::Codes(Weight { bits, first, step, codes, scale }));
        match bias {
            Some(bias) => self.floats(layer, "bias", bias),
            None => Ok(()),
        }
    }
}
