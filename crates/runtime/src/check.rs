//! What must hold for a model before it can be run: sizes that fit, numbers in range, sums that cannot leave 32 bits.

use std::collections::HashSet;

use hardgrad_kernels::geometry::GeometryError;

use crate::model::Shape;
use crate::{Input, InputQuantizer, Layer, LayerKind, PackedError, PackedModel, Problem, QuantizeRule, Weight};

/// Most values that one image may have between two layers, padding included.
pub const MAX_ACTIVATION: usize = 1 << 28;

/// Largest magnitude of a whole number: nine bits with sign, so that products of a pair fit and are exact.
const MAX_INTEGER: i64 = 255;

impl PackedModel {
    /// The shape after each layer, if the model can be run.
    pub(crate) fn check(&self) -> Result<Vec<Shape>, PackedError> {
        self.input.check().map_err(PackedError::Input)?;
        let mut names = HashSet::new();
        let mut chain = Chain::new(&self.input);
        let mut shapes = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            if layer.name.is_empty() || !names.insert(&layer.name) {
                return Err(PackedError::LayerName(layer.name.clone()));
            }
            shapes.push(chain.pass(layer)?);
        }
        match shapes.last() {
            Some(&Shape::Features(classes)) if classes == self.class_names.len() => Ok(shapes),
            Some(Shape::Image(_) | Shape::Features(_)) | None => {
                Err(PackedError::Output { shape: chain.shape.sizes(), classes: self.class_names.len() })
            }
        }
    }
}

impl Input {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if [self.channels, self.height, self.width].contains(&0) {
            return Err(Problem::Geometry(GeometryError::Zero));
        }
        check_size(&[self.channels, self.height, self.width])?;
        check_scales("scale", &[self.scale])
    }
}

/// What reaches the next layer.
pub(crate) struct Chain<'a> {
    input: &'a Input,
    shape: Shape,
    /// Whether the pixels are still whole numbers.
    pixels: bool,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(input: &'a Input) -> Self {
        Self { input, shape: Shape::Image([input.channels, input.height, input.width]), pixels: true }
    }

    /// The shape after `layer`, if the layer is possible here.
    pub(crate) fn pass(&mut self, layer: &Layer) -> Result<Shape, PackedError> {
        let name = |problem| PackedError::Layer { layer: layer.name.clone(), problem };
        self.shape = self.shape_after(&layer.kind).map_err(name)?;
        if let Some((weight, input, bias)) = layer.kind.products() {
            self.check_products(weight, input, bias).map_err(name)?;
            self.check_sums(&layer.name, weight, input, bias)?;
        }
        self.pixels &= layer.kind == LayerKind::Flatten;
        Ok(self.shape)
    }

    fn shape_after(&self, kind: &LayerKind) -> Result<Shape, Problem> {
        let image = || match self.shape {
            Shape::Image(sizes) => Ok(sizes),
            Shape::Features(_) => {
                Err(Problem::Rank { expected: "[channels, height, width]", found: self.shape.sizes() })
            }
        };
        let shape = match kind {
            LayerKind::Conv2d { weight, channels_in, .. } => {
                let [channels, height, width] = image()?;
                check_channels(*channels_in, channels)?;
                let shape = kind.conv2d_shape(height, width).expect("a convolution has its sizes");
                shape.check()?;
                check_size(&[channels, height + 2 * shape.padding[0], width + 2 * shape.padding[1]])?;
                check_length("weight", shape.weight_len(), weight.codes.len())?;
                Shape::Image([shape.channels_out, shape.out_height(), shape.out_width()])
            }
            LayerKind::Linear { weight, inputs, outputs, .. } => {
                let Shape::Features(features) = self.shape else {
                    return Err(Problem::Rank { expected: "[features]", found: self.shape.sizes() });
                };
                check_channels(*inputs, features)?;
                if *outputs == 0 {
                    return Err(Problem::Geometry(GeometryError::Zero));
                }
                let weights = inputs.checked_mul(*outputs).ok_or(GeometryError::Overflow)?;
                check_length("weight", weights, weight.codes.len())?;
                Shape::Features(*outputs)
            }
            LayerKind::BatchNorm { multiplier, offset } => {
                for (field, values) in [("multiplier", multiplier), ("offset", offset)] {
                    check_length(field, self.shape.channels(), values.len())?;
                    check_finite(field, values)?;
                }
                self.shape
            }
            LayerKind::MaxPool2d { .. } | LayerKind::AvgPool2d { .. } => {
                let [channels, height, width] = image()?;
                let shape = kind.pool2d_shape(height, width).expect("a pooling layer has its sizes");
                shape.check()?;
                Shape::Image([channels, shape.out_height(), shape.out_width()])
            }
            LayerKind::Relu => self.shape,
            LayerKind::Flatten => Shape::Features(self.shape.len()),
        };
        check_size(&shape.sizes())?;
        Ok(shape)
    }

    /// Weight, input and bias of a layer whose output is `self.shape`.
    fn check_products(&self, weight: &Weight, input: &InputQuantizer, bias: Option<&[f32]>) -> Result<(), Problem> {
        let channels = self.shape.channels();
        weight.check(channels)?;
        match *input {
            InputQuantizer::Pixels if self.pixels => (),
            InputQuantizer::Pixels => return Err(Problem::NoPixels),
            InputQuantizer::Levels { bits, lowest, highest, scale, rule } => {
                check_bits("input", bits)?;
                let (low, high) = (i64::from(lowest), i64::from(highest));
                if low > high || low < -MAX_INTEGER || high > MAX_INTEGER || high - low >= 1 << bits {
                    return Err(Problem::InputLevels { bits, lowest, highest });
                }
                check_scales("input scale", &[scale])?;
                if let QuantizeRule::Multiply { factor } = rule {
                    check_scales("input factor", &[factor])?;
                }
            }
        }
        let input_scale = input.scale_in(self.input);
        let products: Vec<f32> = weight.scale.iter().map(|scale| input_scale * scale).collect();
        check_scales("product of input scale and weight scale", &products)?;
        if let Some(bias) = bias {
            check_length("bias", channels, bias.len())?;
            check_finite("bias", bias)?;
        }
        Ok(())
    }

    /// No sum of a layer whose output is `self.shape` may leave 32 bits, nor may any part of it, and the real number that it
    /// becomes must be finite.
    fn check_sums(
        &self,
        layer: &str,
        weight: &Weight,
        input: &InputQuantizer,
        bias: Option<&[f32]>,
    ) -> Result<(), PackedError> {
        let largest = match *input {
            InputQuantizer::Pixels => i64::from(self.input.zero_point.max(255 - self.input.zero_point)),
            InputQuantizer::Levels { lowest, highest, .. } => i64::from(lowest.abs().max(highest.abs())),
        };
        let input_scale = input.scale_in(self.input);
        let channel_len = weight.codes.len() / self.shape.channels();
        for (channel, codes) in weight.codes.chunks(channel_len).enumerate() {
            let first = weight.first[channel.min(weight.first.len() - 1)];
            let magnitude = |&code: &u8| i64::from((first + weight.step * i32::from(code)).abs());
            let sum = codes.iter().map(magnitude).sum::<i64>() * largest;
            if sum > i64::from(i32::MAX) {
                return Err(PackedError::AccumulatorOverflow { layer: layer.to_owned(), channel, sum });
            }
            // In the order of the executor: rounding keeps the order of numbers, so no smaller sum can give more.
            let product = sum as f32 * (input_scale * weight.scale_of(channel));
            let value = product + bias.map_or(0.0, |bias| bias[channel].abs());
            if !value.is_finite() {
                return Err(PackedError::Layer {
                    layer: layer.to_owned(),
                    problem: Problem::Overflow { channel, sum },
                });
            }
        }
        Ok(())
    }
}

impl Weight {
    fn check(&self, channels: usize) -> Result<(), Problem> {
        check_bits("weight", self.bits)?;
        if ![1, channels].contains(&self.first.len()) {
            return Err(Problem::PerChannel { field: "weight first", channels, found: self.first.len() });
        }
        let step = i64::from(self.step);
        let impossible = |&first: &i32| {
            let last = i64::from(first) + step * ((1 << self.bits) - 1);
            step < 1 || i64::from(first) < -MAX_INTEGER || last > MAX_INTEGER
        };
        if let Some(index) = self.first.iter().position(impossible) {
            return Err(Problem::WeightLevels { index, first: self.first[index], step: self.step });
        }
        if let Some(index) = self.codes.iter().position(|&code| u32::from(code) >= 1 << self.bits) {
            return Err(Problem::Code { index, code: self.codes[index], bits: self.bits });
        }
        if self.scale.len() != 1 {
            check_length("weight scale", channels, self.scale.len())?;
        }
        check_scales("weight scale", &self.scale)
    }
}

pub(crate) fn check_bits(field: &'static str, bits: u32) -> Result<(), Problem> {
    if (1..=8).contains(&bits) { Ok(()) } else { Err(Problem::Bits { field, bits }) }
}

fn check_channels(expected: usize, found: usize) -> Result<(), Problem> {
    if expected == found { Ok(()) } else { Err(Problem::Channels { expected, found }) }
}

fn check_length(field: &'static str, expected: usize, found: usize) -> Result<(), Problem> {
    if expected == found { Ok(()) } else { Err(Problem::Length { field, expected, found }) }
}

fn check_size(sizes: &[usize]) -> Result<(), Problem> {
    let values = sizes.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    if values <= MAX_ACTIVATION { Ok(()) } else { Err(Problem::Activation { values }) }
}

fn check_scales(field: &'static str, values: &[f32]) -> Result<(), Problem> {
    match values.iter().position(|&value| !(value.is_finite() && value > 0.0)) {
        Some(index) => Err(Problem::Scale { field, index, value: values[index] }),
        None => Ok(()),
    }
}

fn check_finite(field: &'static str, values: &[f32]) -> Result<(), Problem> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Problem::NotFinite { field, index, value: values[index] }),
        None => Ok(()),
    }
}
