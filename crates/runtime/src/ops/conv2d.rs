//! Convolution of an image, with zeros around it.
//!
//! ```text
//! [channels_in, height, width] -> [channels, out_height, out_width]
//! whole weight:  y = (sum of whole products as f32) * (input_scale * weight_scale), then + bias
//! float weight:  y = sum of products in the order channel, row, column, then + bias
//! ```
//! Tensors: weight `[channels, channels_in / groups, kernel, kernel]`, bias `[channels]`.

use hardgrad_kernels::geometry::{Conv2dShape, GeometryError};
use hardgrad_kernels::{integer, ordered};
use serde::{Deserialize, Serialize};

use super::check::check_size;
use super::operator::{Operator, image, product};
use super::problem::Problem;
use super::products::{self, Operand};
use super::sizes;
use super::step::{Buffer, Domain, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// Sizes of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Channels of the output.
    pub channels: usize,
    /// Height and width of the kernel.
    #[serde(with = "sizes::pair")]
    pub kernel: [usize; 2],
    /// Steps between output pixels; 1.
    #[serde(with = "sizes::pair", default = "sizes::ones", skip_serializing_if = "sizes::is_ones")]
    pub stride: [usize; 2],
    /// Zeros added on each side; 0.
    #[serde(with = "sizes::pair", default, skip_serializing_if = "sizes::is_zeros")]
    pub padding: [usize; 2],
    /// Distance between kernel taps; 1.
    #[serde(with = "sizes::pair", default = "sizes::ones", skip_serializing_if = "sizes::is_ones")]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other; as many as channels make it depthwise; 1.
    #[serde(default = "sizes::one", skip_serializing_if = "sizes::is_one")]
    pub groups: usize,
    /// Whether a value is added to each channel; true.
    #[serde(default = "sizes::yes", skip_serializing_if = "sizes::is_yes")]
    pub bias: bool,
}

impl Conv2d {
    /// Stride 1, no padding, one group, a bias.
    pub fn new(channels: usize, kernel: [usize; 2]) -> Self {
        Self { channels, kernel, stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1, bias: true }
    }

    /// The sizes over an image `[channels, height, width]`.
    fn shape(&self, [channels_in, height, width]: [usize; 3]) -> Conv2dShape {
        let &Self { channels: channels_out, kernel, stride, padding, dilation, groups, .. } = self;
        Conv2dShape { channels_in, channels_out, height, width, kernel, stride, padding, dilation, groups }
    }
}

impl Operator for Conv2d {
    const KIND: &'static str = "conv2d";
    const HAS_WEIGHTS: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let size @ [channels, height, width] = image(&inputs[0])?;
        let shape = self.shape(size);
        shape.check()?;
        let padded = |size: usize, padding: usize| padding.checked_mul(2).and_then(|both| size.checked_add(both));
        let (Some(rows), Some(columns)) = (padded(height, self.padding[0]), padded(width, self.padding[1])) else {
            return Err(GeometryError::Overflow.into());
        };
        check_size(&[channels, rows, columns])?;
        // What float sums lay out for one row of the output: the rows that it sees, once for each column of the kernel.
        let seen = self.dilation[0] * (self.kernel[0] - 1) + 1 + self.kernel[0];
        check_size(&[channels / self.groups, seen, self.kernel[1], shape.out_width()])?;
        Ok(vec![self.channels, shape.out_height(), shape.out_width()])
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        let group_channels = inputs[0][0] / self.groups;
        products::tensors(vec![self.channels, group_channels, self.kernel[0], self.kernel[1]], self.bias)
    }

    fn multiply_accumulates(&self, inputs: &[Vec<usize>], output: &[usize]) -> u64 {
        product(&[inputs[0][0] / self.groups, self.kernel[0], self.kernel[1]]).saturating_mul(product(output))
    }

    fn check(&self, node: &Packed<'_>) -> Result<Domain, Problem> {
        products::check(node, self.channels)
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let shape = self.shape([input.shape[0], input.shape[1], input.shape[2]]);
        let lay_out = |weight: &[f32], bias: Option<&[f32]>| ordered::Conv2d::new(weight, bias, &shape);
        let operand = Operand::new(node, self.channels, lay_out);
        Runner::Step(Box::new(Run { shape, operand, form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    shape: Conv2dShape,
    operand: Operand<ordered::Conv2d>,
    form: Form,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let Self { shape, operand, form } = self;
        output.floats.resize(items * shape.output_len(), 0.0);
        let outputs = output.floats.chunks_mut(shape.output_len());
        match operand {
            Operand::Whole { weight, scale, bias } => {
                scratch.sums.resize(shape.output_len(), 0);
                for (input, out) in inputs[0].codes.chunks(shape.input_len()).zip(outputs) {
                    integer::conv2d(input, weight, shape, &mut scratch.codes, &mut scratch.sums);
                    let planes = scratch.sums.chunks(shape.out_pixels()).zip(out.chunks_mut(shape.out_pixels()));
                    for (channel, (sums, out)) in planes.enumerate() {
                        let bias = bias.as_ref().map(|bias| bias[channel]);
                        integer::scale_plane(sums, scale[channel], bias, out);
                    }
                }
            }
            Operand::Float(convolution) => {
                let floats = form.floats(inputs[0], &mut scratch.floats[0]);
                for (input, out) in floats.chunks(shape.input_len()).zip(outputs) {
                    convolution.forward(input, &mut scratch.room, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, signs, stored, whole};
    use super::*;

    #[test]
    fn whole_and_float_weights_give_the_sums() {
        // The kernel sees two neighbours, with a zero at both ends of a row.
        let op = Conv2d { padding: [0, 1], ..Conv2d::new(1, [1, 2]) };
        let (shape, x, bias) = (&[1, 2, 3][..], [1, 2, 3, 0, -1, 5], ("bias", stored(&[1.0])));
        let (output, y) =
            run(&op, &[(shape, whole(&x, 0.5))], &[("weight", signs(&[0, 1], 0.25)), bias.clone()]).unwrap();
        assert_eq!(output, [1, 2, 4]);
        assert_eq!(y, floats(&[1.125, 1.125, 1.125, 0.625, 1.0, 0.875, 1.75, 0.375]));
        let expected = floats(&[1.5, 1.5, 1.5, -0.5, 1.0, 0.5, 4.0, -1.5]);
        let weight = ("weight", stored(&[-1.0, 1.0]));
        let (_, y) = run(&op, &[(shape, whole(&x, 0.5))], &[weight.clone(), bias.clone()]).unwrap();
        assert_eq!(y, expected);
        let (_, y) = run(&op, &[(shape, floats(&x.map(|x| f32::from(x) / 2.0)))], &[weight, bias]).unwrap();
        assert_eq!(y, expected);
    }

    #[test]
    fn each_channel_by_itself() {
        // Depthwise: each channel has a weight of its own. Two images.
        let op = Conv2d { groups: 2, bias: false, ..Conv2d::new(2, [1, 1]) };
        let x = whole(&[1, 2, 3, 4], 1.0);
        let (output, y) = run(&op, &[(&[2, 1, 1], x)], &[("weight", signs(&[0, 1], 1.0))]).unwrap();
        assert_eq!((output, y), (vec![2, 1, 1], floats(&[-1.0, 2.0, -3.0, 4.0])));
        assert_eq!(op.multiply_accumulates(&[vec![2, 1, 1]], &[2, 1, 1]), 2);
    }
}
