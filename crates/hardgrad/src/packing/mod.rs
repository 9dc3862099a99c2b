//! Layers put together to a packed model, node by node.
//!
//! A [`Packer`] notes what a forward pass does: each layer's `pack` takes the [`Edge`] that it reads and gives the one
//! that it makes, as `forward` takes and gives tensors. What has no parameters is a node by its operator
//! ([`Packer::op`]). The packed model computes what the layers evaluate, to the last bit: quantised weights become
//! codes, float weights stay floats.
//!
//! The input of a packed model are bytes, which are codes from the start; a layer whose weight is quantised reads
//! codes, be they the pixels or those of a quantiser.
//!
//! ```
//! use burn::tensor::Device;
//! use hardgrad::layers::{QuantLinearConfig, QuantRelu};
//! use hardgrad::packing::Packer;
//! use hardgrad::quantize::{QuantizerConfig, StepClock};
//! use hardgrad::random::Random;
//! use hardgrad::runtime::Pixels;
//!
//! let (device, clock) = (Device::flex(), StepClock::default());
//! let weights = QuantizerConfig::weights(4);
//! let layer = |place, inputs, outputs| {
//!     let layer = QuantLinearConfig::new(inputs, outputs).init(&Random::new(0, place, 0), &device);
//!     layer.quantize(Some(&weights), None, &clock).unwrap()
//! };
//! let (hidden, output) = (layer(0, 4, 8), layer(1, 8, 2));
//! let relu = QuantRelu::new().quantize(&QuantizerConfig::activations(4), &clock, &device).unwrap();
//!
//! let mut packer = Packer::new([4], Pixels { scale: 1.0 / 255.0, zero_point: 0 });
//! let x = packer.input();
//! let x = hidden.pack("hidden", &x, &mut packer).unwrap();
//! let x = relu.pack("relu", &x, &mut packer).unwrap();
//! let x = output.pack("output", &x, &mut packer).unwrap();
//! let model = packer.finish(&x, vec!["cat".into(), "dog".into()]).unwrap();
//! assert_eq!(model.plan().unwrap().logits(&[0, 50, 100, 255]).unwrap().len(), 2);
//! ```

mod error;
mod quantizer;
mod weight;

use std::collections::BTreeMap;

pub use error::PackError;
use hardgrad_runtime::{Description, INPUT, InputShape, Node, Op, PackedModel, Pixels, Stored, ops};
use quantizer::Levels;
pub(crate) use weight::{stored_bias, stored_weight};

use crate::quantize::Quantizer;

/// What flows between two nodes of the model that a [`Packer`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    name: String,
    carries: Carries,
}

/// What the values of an [`Edge`] are in the packed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// The bytes that the model gets.
    Pixels,
    /// Whole numbers from a quantiser.
    Codes,
    /// Floats.
    Floats,
}

impl Edge {
    /// The name of the node that it comes from; `input` for the model's input.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its values are.
    pub fn carries(&self) -> Carries {
        self.carries
    }
}

/// Makes a packed model node by node; see the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct Packer {
    shape: Vec<usize>,
    pixels: Pixels,
    nodes: Vec<Node>,
    tensors: BTreeMap<String, Stored>,
    /// Name of what was quantised, how, and what came of it.
    quantized: Vec<(String, Levels, Edge)>,
}

impl Packer {
    /// A model for items of this shape (`[channels, height, width]` or `[features]`), whose bytes mean (byte -
    /// zero_point) scale.
    pub fn new(shape: impl Into<Vec<usize>>, pixels: Pixels) -> Self {
        Self { shape: shape.into(), pixels, nodes: Vec::new(), tensors: BTreeMap::new(), quantized: Vec::new() }
    }

    /// The model's input.
    pub fn input(&self) -> Edge {
        Edge { name: INPUT.to_string(), carries: Carries::Pixels }
    }

    /// Adds a node without tensors: a ReLU, a pooling, an addition. That it fits is checked by
    /// [`finish`](Self::finish).
    pub fn op(&mut self, name: &str, op: impl Into<Op>, inputs: &[&Edge]) -> Edge {
        self.node(name, op, inputs, Vec::new())
    }

    /// Adds a node with its tensors, which are called as its operator calls them.
    pub fn node(&mut self, name: &str, op: impl Into<Op>, inputs: &[&Edge], tensors: Vec<(&str, Stored)>) -> Edge {
        let op = op.into();
        let carries = if matches!(op, Op::Quantize(_)) {
            Carries::Codes
        } else if op.passes_codes() {
            inputs.first().map_or(Carries::Floats, |input| input.carries)
        } else {
            Carries::Floats
        };
        let inputs = inputs.iter().map(|edge| edge.name.clone()).collect();
        self.nodes.push(Node { name: name.to_string(), op, inputs });
        self.tensors.extend(tensors.into_iter().map(|(part, stored)| (format!("{name}.{part}"), stored)));
        Edge { name: name.to_string(), carries }
    }

    /// Adds a quantiser behind `x`, unless there is one that does the same.
    ///
    /// Pixels are codes already: there the quantiser must be that of the model's pixels ([`Quantizer::pixels`]), and no
    /// node is made. Fails where the quantiser has not begun, is not set or is one of weights.
    pub fn quantize(&mut self, name: &str, quantizer: &Quantizer, x: &Edge) -> Result<Edge, PackError> {
        self.quantize_for(name, name, quantizer, x)
    }

    /// Adds the quantiser of a layer's input, where it has one; errors name the layer.
    pub(crate) fn input_of(&mut self, layer: &str, quantizer: Option<&Quantizer>, x: &Edge) -> Result<Edge, PackError> {
        match quantizer {
            Some(quantizer) => self.quantize_for(layer, &format!("{layer}.input"), quantizer, x),
            None => Ok(x.clone()),
        }
    }

    fn quantize_for(&mut self, owner: &str, name: &str, quantizer: &Quantizer, x: &Edge) -> Result<Edge, PackError> {
        let levels = Levels::new(owner, quantizer)?;
        if x.carries == Carries::Pixels {
            levels.check_pixels(owner, self.pixels)?;
            return Ok(x.clone());
        }
        if let Some((_, _, edge)) = self.quantized.iter().find(|(of, known, _)| *of == x.name && *known == levels) {
            return Ok(edge.clone());
        }
        let Levels { bits, lowest, highest, scale, factor } = levels;
        let op = ops::Quantize { bits, lowest, highest, multiply: factor.is_some() };
        let factor = factor.map(|factor| ("factor", Stored::Float(vec![factor])));
        let tensors = [("scale", Stored::Float(vec![scale]))].into_iter().chain(factor).collect();
        let edge = self.node(name, op, &[x], tensors);
        self.quantized.push((x.name.clone(), levels, edge.clone()));
        Ok(edge)
    }

    /// The packed model; `output` comes from the node that was added last, and has one value for each of `class_names`.
    ///
    /// Fails where another node was added last, and where the model cannot be run: shapes that do not fit, names that
    /// are taken, sums that could leave 32 bits, numbers that are not finite.
    pub fn finish(self, output: &Edge, class_names: Vec<String>) -> Result<PackedModel, PackError> {
        let last = self.nodes.last().map_or(INPUT, |node| node.name.as_str());
        if last != output.name {
            return Err(PackError::NotLast { output: output.name.clone(), last: last.to_string() });
        }
        let Self { shape, pixels, nodes, tensors, .. } = self;
        let description = Description { input: InputShape { shape }, nodes, rules: Vec::new() };
        Ok(PackedModel::new(description, pixels, class_names, tensors)?)
    }
}
