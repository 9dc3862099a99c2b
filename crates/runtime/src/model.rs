//! What a packed model consists of.

use hardgrad_kernels::geometry::{Conv2dShape, Pool2dShape};

use crate::PackedError;

/// A quantised network that can be written to a file and run.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedModel {
    /// The images it takes.
    pub input: Input,
    /// What its outputs mean, one name a logit.
    pub class_names: Vec<String>,
    /// The layers, in the order in which they run.
    pub layers: Vec<Layer>,
}

impl PackedModel {
    /// A model whose layers fit each other; fails where they do not, or where a sum could leave 32 bits.
    pub fn new(input: Input, class_names: Vec<String>, layers: Vec<Layer>) -> Result<Self, PackedError> {
        let model = Self { input, class_names, layers };
        model.check()?;
        Ok(model)
    }
}

/// The images that a model takes: pixels of 8 bits, `[channels, height, width]`.
///
/// Pixel p has the real value (p - zero_point) * scale, so p - zero_point is an exact whole number.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Channels of an image.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Real size of one step of a pixel.
    pub scale: f32,
    /// The pixel that means 0.
    pub zero_point: u8,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Name, different from those of all other layers.
    pub name: String,
    /// What it computes.
    pub kind: LayerKind,
}

/// What a layer computes.
///
/// A convolution and a linear layer first turn their input into whole numbers v, then compute acc = sum of v * weight in whole
/// numbers, and give `y = (acc as f32) * (input_scale * weight_scale)`, then `+ bias` if there is one. Every real operation
/// is rounded to `f32`, the product of the scales before it meets the sum.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// Convolution of `[channels_in, height, width]` with zeros around the image.
    Conv2d {
        /// Weight `[channels_out, channels_in / groups, kernel, kernel]`.
        weight: Weight,
        /// How the input becomes whole numbers.
        input: InputQuantizer,
        /// One value an output channel.
        bias: Option<Vec<f32>>,
        /// Channels of the input.
        channels_in: usize,
        /// Channels of the output.
        channels_out: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Steps between output pixels.
        stride: [usize; 2],
        /// Zeros added on each side.
        padding: [usize; 2],
        /// Distance between kernel taps.
        dilation: [usize; 2],
        /// Channel groups that do not see each other.
        groups: usize,
    },
    /// Weighted sums of all inputs.
    Linear {
        /// Weight `[outputs, inputs]`.
        weight: Weight,
        /// How the input becomes whole numbers.
        input: InputQuantizer,
        /// One value an output.
        bias: Option<Vec<f32>>,
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// `y = x * multiplier + offset` with one pair a channel, rounded after each of the two operations.
    BatchNorm {
        /// One factor a channel.
        multiplier: Vec<f32>,
        /// One value a channel.
        offset: Vec<f32>,
    },
    /// `y = x` where x is above 0, otherwise 0.
    Relu,
    /// The largest value of each window; what does not fill a window at the right and bottom edges is left out.
    MaxPool2d {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// The sum of each window in reading order, divided by its area; edges as in `MaxPool2d`.
    AvgPool2d {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// `[channels, height, width]` becomes `[channels * height * width]`.
    Flatten,
}

/// Quantised weights: code n means the whole number `first + step * n`, and the real number `scale` times that.
///
/// `first` and `scale` hold one value for all outputs, or one an output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Bits of a code, 1 to 8.
    pub bits: u32,
    /// Whole number of code 0.
    pub first: Vec<i32>,
    /// Distance of the whole numbers, at least 1.
    pub step: i32,
    /// One code a byte, in the order of the weight's shape, outputs first; the file packs them.
    pub codes: Vec<u8>,
    /// Real number of the whole number 1.
    pub scale: Vec<f32>,
}

impl Weight {
    /// The whole numbers that the codes mean; only for weights that were checked.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i16> {
        let step = self.step;
        let of_one_first = self.codes.chunks((self.codes.len() / self.first.len()).max(1)).zip(&self.first);
        of_one_first
            .flat_map(move |(codes, first)| codes.iter().map(move |&code| (first + step * i32::from(code)) as i16))
    }

    /// The factor of output channel `channel`.
    pub(crate) fn scale_of(&self, channel: usize) -> f32 {
        if self.scale.len() == 1 { self.scale[0] } else { self.scale[channel] }
    }
}

/// How the input of a layer becomes whole numbers v; v stands for the real number v * scale.
#[derive(Clone, Debug, PartialEq)]
pub enum InputQuantizer {
    /// `v = pixel - zero_point`: for the first layer, with the scale of the model's input.
    Pixels,
    /// `v = clamp(round(x / scale), lowest, highest)`, halves to the even number, or a product in place of the quotient.
    Levels {
        /// Bits that the levels need, 1 to 8.
        bits: u32,
        /// Smallest whole number.
        lowest: i32,
        /// Largest whole number.
        highest: i32,
        /// Real size of one level.
        scale: f32,
        /// What is rounded.
        rule: QuantizeRule,
    },
}

impl InputQuantizer {
    /// Real size of the whole number 1, in a model that takes `images`.
    pub(crate) fn scale_in(&self, images: &Input) -> f32 {
        match *self {
            Self::Pixels => images.scale,
            Self::Levels { scale, .. } => scale,
        }
    }
}

/// What a quantiser rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuantizeRule {
    /// `x / scale`.
    Divide,
    /// `x * factor`; the levels still have the size `scale`.
    Multiply {
        /// The factor.
        factor: f32,
    },
}

/// Shape of what passes from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[channels, height, width]`.
    Image([usize; 3]),
    /// `[features]`.
    Features(usize),
}

impl Shape {
    /// Channels, or features.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Image([channels, ..]) => channels,
            Self::Features(features) => features,
        }
    }

    pub(crate) fn sizes(self) -> Vec<usize> {
        match self {
            Self::Image(sizes) => sizes.to_vec(),
            Self::Features(features) => vec![features],
        }
    }

    /// Number of values; only for shapes that were checked.
    pub(crate) fn len(self) -> usize {
        self.sizes().iter().product()
    }
}

impl LayerKind {
    /// Sizes of a convolution over an image of the given height and width; `None` for other layers.
    pub(crate) fn conv2d_shape(&self, height: usize, width: usize) -> Option<Conv2dShape> {
        match *self {
            Self::Conv2d { channels_in, channels_out, kernel, stride, padding, dilation, groups, .. } => {
                Some(Conv2dShape {
                    channels_in,
                    channels_out,
                    height,
                    width,
                    kernel,
                    stride,
                    padding,
                    dilation,
                    groups,
                })
            }
            Self::Linear { .. }
            | Self::BatchNorm { .. }
            | Self::Relu
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::Flatten => None,
        }
    }

    /// Sizes of a pooling layer over an image of the given height and width; `None` for other layers.
    pub(crate) fn pool2d_shape(&self, height: usize, width: usize) -> Option<Pool2dShape> {
        match *self {
            Self::MaxPool2d { kernel, stride } | Self::AvgPool2d { kernel, stride } => {
                Some(Pool2dShape { height, width, kernel, stride })
            }
            Self::Conv2d { .. } | Self::Linear { .. } | Self::BatchNorm { .. } | Self::Relu | Self::Flatten => None,
        }
    }

    /// The parts of a convolution or linear layer that compute with whole numbers.
    pub(crate) fn products(&self) -> Option<(&Weight, &InputQuantizer, Option<&[f32]>)> {
        match self {
            Self::Conv2d { weight, input, bias, .. } | Self::Linear { weight, input, bias, .. } => {
                Some((weight, input, bias.as_deref()))
            }
            Self::BatchNorm { .. } | Self::Relu | Self::MaxPool2d { .. } | Self::AvgPool2d { .. } | Self::Flatten => {
                None
            }
        }
    }
}
