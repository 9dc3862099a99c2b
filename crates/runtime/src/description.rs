//! The description of a model, word for word as it stands in the file, and its way to and from the model.
//!
//! Real numbers are tensors and never JSON, so that no digit is lost.

use hardgrad_kernels::geometry::GeometryError;
use serde::{Deserialize, Serialize};

use crate::check::check_bits;
use crate::format::{Tensors, Writer};
use crate::{InputQuantizer, Layer, LayerKind, PackedError, Problem, QuantizeRule, Weight};

/// The part of a description that every version has.
#[derive(Deserialize)]
pub(crate) struct Head {
    pub(crate) format: String,
    pub(crate) version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) format: String,
    pub(crate) version: u64,
    pub(crate) sha256: String,
    pub(crate) input: InputEntry,
    pub(crate) class_names: Vec<String>,
    pub(crate) layers: Vec<LayerEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputEntry {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) scale: String,
    pub(crate) zero_point: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum LayerEntry {
    Conv2d {
        name: String,
        weight: WeightEntry,
        input: QuantizerEntry,
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightEntry {
    bits: u32,
    first: Vec<i32>,
    step: i32,
    codes: String,
    scale: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum QuantizerEntry {
    Pixels {},
    Divide { bits: u32, lowest: i32, highest: i32, scale: String },
    Multiply { bits: u32, lowest: i32, highest: i32, scale: String, factor: String },
}

impl LayerEntry {
    /// The layer, with its tensors.
    pub(crate) fn read(self, tensors: &mut Tensors) -> Result<Layer, PackedError> {
        Ok(match self {
            Self::Conv2d {
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
                let sizes =
                    channels_in.checked_div(groups).map(|group_in| [channels_out, group_in, kernel[0], kernel[1]]);
                let weight = weight.read(&name, sizes.as_ref().map(|sizes| &sizes[..]), tensors)?;
                let (input, bias) = (input.read(tensors)?, read_bias(bias, tensors)?);
                let kind = LayerKind::Conv2d {
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
                };
                Layer { name, kind }
            }
            Self::Linear { name, weight, input, bias, inputs, outputs } => {
                let weight = weight.read(&name, Some(&[outputs, inputs]), tensors)?;
                let (input, bias) = (input.read(tensors)?, read_bias(bias, tensors)?);
                Layer { name, kind: LayerKind::Linear { weight, input, bias, inputs, outputs } }
            }
            Self::BatchNorm { name, multiplier, offset } => {
                let (multiplier, offset) = (tensors.floats(&multiplier)?, tensors.floats(&offset)?);
                Layer { name, kind: LayerKind::BatchNorm { multiplier, offset } }
            }
            Self::Relu { name } => Layer { name, kind: LayerKind::Relu },
            Self::MaxPool2d { name, kernel, stride } => Layer { name, kind: LayerKind::MaxPool2d { kernel, stride } },
            Self::AvgPool2d { name, kernel, stride } => Layer { name, kind: LayerKind::AvgPool2d { kernel, stride } },
            Self::Flatten { name } => Layer { name, kind: LayerKind::Flatten },
        })
    }

    /// The entry of a checked layer, whose tensors go to the writer.
    pub(crate) fn write(layer: &Layer, tensors: &mut Writer) -> Self {
        let name = layer.name.clone();
        match layer.kind {
            LayerKind::Conv2d {
                ref weight,
                ref input,
                ref bias,
                channels_in,
                channels_out,
                kernel,
                stride,
                padding,
                dilation,
                groups,
            } => Self::Conv2d {
                weight: WeightEntry::write(weight, &name, tensors),
                input: QuantizerEntry::write(input, &name, tensors),
                bias: bias.as_ref().map(|bias| tensors.floats(&name, "bias", bias)),
                name,
                channels_in,
                channels_out,
                kernel,
                stride,
                padding,
                dilation,
                groups,
            },
            LayerKind::Linear { ref weight, ref input, ref bias, inputs, outputs } => Self::Linear {
                weight: WeightEntry::write(weight, &name, tensors),
                input: QuantizerEntry::write(input, &name, tensors),
                bias: bias.as_ref().map(|bias| tensors.floats(&name, "bias", bias)),
                name,
                inputs,
                outputs,
            },
            LayerKind::BatchNorm { ref multiplier, ref offset } => Self::BatchNorm {
                multiplier: tensors.floats(&name, "multiplier", multiplier),
                offset: tensors.floats(&name, "offset", offset),
                name,
            },
            LayerKind::Relu => Self::Relu { name },
            LayerKind::MaxPool2d { kernel, stride } => Self::MaxPool2d { name, kernel, stride },
            LayerKind::AvgPool2d { kernel, stride } => Self::AvgPool2d { name, kernel, stride },
            LayerKind::Flatten => Self::Flatten { name },
        }
    }
}

fn read_bias(name: Option<String>, tensors: &mut Tensors) -> Result<Option<Vec<f32>>, PackedError> {
    name.map(|name| tensors.floats(&name)).transpose()
}

impl WeightEntry {
    /// The weight of `layer`, which has the given sizes if they are possible.
    fn read(self, layer: &str, sizes: Option<&[usize]>, tensors: &mut Tensors) -> Result<Weight, PackedError> {
        let failed = |problem| PackedError::Layer { layer: layer.to_owned(), problem };
        check_bits("weight", self.bits).map_err(failed)?;
        let sizes = sizes.ok_or_else(|| failed(Problem::Geometry(GeometryError::Zero)))?;
        let count = sizes
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size))
            .ok_or_else(|| failed(Problem::Geometry(GeometryError::Overflow)))?;
        Ok(Weight {
            bits: self.bits,
            first: self.first,
            step: self.step,
            codes: tensors.codes(&self.codes, self.bits, count)?,
            scale: tensors.floats(&self.scale)?,
        })
    }

    fn write(weight: &Weight, layer: &str, tensors: &mut Writer) -> Self {
        Self {
            bits: weight.bits,
            first: weight.first.clone(),
            step: weight.step,
            codes: tensors.codes(layer, "weight.codes", &weight.codes, weight.bits),
            scale: tensors.floats(layer, "weight.scale", &weight.scale),
        }
    }
}

impl QuantizerEntry {
    fn read(self, tensors: &mut Tensors) -> Result<InputQuantizer, PackedError> {
        Ok(match self {
            Self::Pixels {} => InputQuantizer::Pixels,
            Self::Divide { bits, lowest, highest, scale } => {
                let scale = tensors.float(&scale)?;
                InputQuantizer::Levels { bits, lowest, highest, scale, rule: QuantizeRule::Divide }
            }
            Self::Multiply { bits, lowest, highest, scale, factor } => {
                let (scale, factor) = (tensors.float(&scale)?, tensors.float(&factor)?);
                InputQuantizer::Levels { bits, lowest, highest, scale, rule: QuantizeRule::Multiply { factor } }
            }
        })
    }

    fn write(input: &InputQuantizer, layer: &str, tensors: &mut Writer) -> Self {
        match *input {
            InputQuantizer::Pixels => Self::Pixels {},
            InputQuantizer::Levels { bits, lowest, highest, scale, rule } => {
                let scale = tensors.floats(layer, "input.scale", &[scale]);
                match rule {
                    QuantizeRule::Divide => Self::Divide { bits, lowest, highest, scale },
                    QuantizeRule::Multiply { factor } => {
                        let factor = tensors.floats(layer, "input.factor", &[factor]);
                        Self::Multiply { bits, lowest, highest, scale, factor }
                    }
                }
            }
        }
    }
}
