use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::ops as nodes;

use super::{init, operands};
use crate::coded::Activation;
use crate::ops::{Conv2dOptions, conv2d, quantized_conv2d};
use crate::packing::{Edge, PackError, Packer, stored_bias, stored_weight};
use crate::quantize::{QuantizeError, Quantizer, QuantizerConfig, StepClock};
use crate::random::Random;

/// Settings of a [`QuantConv2d`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::QuantConv2dConfig;
/// use hardgrad::quantize::{QuantizerConfig, StepClock};
/// use hardgrad::random::Random;
///
/// let device = Device::flex();
/// let layer = QuantConv2dConfig::new([1, 8], [3, 3]).with_padding([1, 1]).init(&Random::new(0, 0, 0), &device);
/// let (weights, activations) = (QuantizerConfig::weights(4), QuantizerConfig::activations(4));
/// let layer = layer.quantize(Some(&weights), Some(&activations), &StepClock::default()).unwrap();
/// assert_eq!(layer.forward(Tensor::<4>::zeros([2, 1, 9, 9], &device)).dims(), [2, 8, 9, 9]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct QuantConv2dConfig {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride, padding, dilation, groups.
    pub options: Conv2dOptions,
    /// Add a learned value a channel.
    pub bias: bool,
}

impl QuantConv2dConfig {
    /// Stride 1, no padding, one group, no bias (a batch norm usually follows).
    pub fn new(channels: [usize; 2], kernel: [usize; 2]) -> Self {
        Self { channels, kernel, options: Conv2dOptions::default(), bias: false }
    }

    /// Steps between output pixels, `[rows, columns]`.
    pub fn with_stride(mut self, stride: [usize; 2]) -> Self {
        self.options.stride = stride;
        self
    }

    /// Zeros added on each side, `[rows, columns]`.
    pub fn with_padding(mut self, padding: [usize; 2]) -> Self {
        self.options.padding = padding;
        self
    }

    /// Distance between the taps of the kernel, `[rows, columns]`.
    pub fn with_dilation(mut self, dilation: [usize; 2]) -> Self {
        self.options.dilation = dilation;
        self
    }

    /// Groups of channels that do not see each other.
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.options.groups = groups;
        self
    }

    /// With a learned value a channel, or without.
    pub fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// A float layer with weights drawn uniformly within 1/sqrt(inputs of one output) and biases 0;
    /// [`QuantConv2d::quantize`] quantises it.
    ///
    /// # Panics
    /// If there are 0 groups.
    pub fn init(&self, random: &Random, device: &Device) -> QuantConv2d {
        let ([channels_in, channels_out], [rows, columns]) = (self.channels, self.kernel);
        let group_channels = channels_in / self.options.groups;
        let shape = [channels_out, group_channels, rows, columns];
        QuantConv2d {
            weight: init::uniform(shape, group_channels * rows * columns, random, device),
            bias: init::bias(self.bias, channels_out, device),
            input_quantizer: None,
            options: self.options,
        }
    }
}

/// Two-dimensional convolution with quantised input and weights.
///
/// ```text
/// y = conv2d(quantize(x), quantize(weight)) + bias
/// ```
/// x `[batch, channels_in, height, width]` to `[batch, channels_out, out_height, out_width]`.
#[derive(Module, Debug)]
pub struct QuantConv2d {
    /// Weight `[channels_out, channels_in / groups, kernel, kernel]`, with its quantiser as reparameterization.
    pub weight: Param<Tensor<4>>,
    /// One value a channel.
    pub bias: Option<Param<Tensor<1>>>,
    /// Quantiser of the input.
    pub input_quantizer: Option<Quantizer>,
    #[module(skip)]
    options: Conv2dOptions,
}

impl QuantConv2d {
    /// The layer with quantisers for its weight and its input (where given), which wait on `clock` if they have a
    /// delay.
    ///
    /// Fails where the settings cannot work, and where the layer has that quantiser already.
    pub fn quantize(
        mut self,
        weights: Option<&QuantizerConfig>,
        activations: Option<&QuantizerConfig>,
        clock: &StepClock,
    ) -> Result<Self, QuantizeError> {
        let (present, device) = (self.input_quantizer.take(), self.weight.lazy_device());
        let input_quantizer = operands::activation_quantizer(present, activations, clock, &device)?;
        let layer = operands::with_weight_quantizer(self, weights, clock)?;
        Ok(Self { input_quantizer, ..layer })
    }

    /// The convolution of `x` (floats or codes).
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(&self, x: impl Into<Activation<4>>) -> Tensor<4> {
        let (x, weight, grid) = operands::on_grids(self.input_quantizer.as_ref(), x.into(), &self.weight);
        let bias = self.bias.as_ref().map(Param::val);
        match (x, grid) {
            (Activation::Coded(x), Some(grid)) => quantized_conv2d(x, weight, &grid, bias, self.options),
            (x, _) => conv2d(x, weight, bias, self.options),
        }
    }

    /// Sets the range of the input's quantiser from a sample of inputs; see [`Quantizer::calibrate`].
    pub fn calibrate(&mut self, sample: &Tensor<4>) -> Result<(), QuantizeError> {
        operands::calibrate(&mut self.input_quantizer, sample)
    }

    /// Adds this layer to a packed model as the node `name` behind `x`; its input quantiser, where it has one, is the
    /// node `name.input`.
    ///
    /// Fails where a quantiser cannot be packed, or a quantised weight would meet floats.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let x = packer.input_of(name, self.input_quantizer.as_ref(), x)?;
        let weight = stored_weight(name, self, &self.weight, &x)?;
        let bias = stored_bias(&self.bias);
        let [channels, _, rows, columns] = self.weight.base().dims();
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let (kernel, has_bias) = ([rows, columns], bias.is_some());
        let op = nodes::Conv2d { channels, kernel, stride, padding, dilation, groups, bias: has_bias };
        let tensors = [("weight", weight)].into_iter().chain(bias).collect();
        Ok(packer.node(name, op, &[&x], tensors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_set_what_they_are_called_after() {
        let config = QuantConv2dConfig::new([4, 6], [3, 5])
            .with_stride([1, 2])
            .with_padding([2, 3])
            .with_dilation([1, 3])
            .with_groups(2)
            .with_bias(true);
        let options = Conv2dOptions { stride: [1, 2], padding: [2, 3], dilation: [1, 3], groups: 2 };
        assert_eq!((config.options, config.bias), (options, true));
        let layer = config.init(&Random::new(0, 0, 0), &Device::flex());
        assert_eq!(layer.weight.dims(), [6, 2, 3, 5]);
        assert_eq!(layer.bias.as_ref().unwrap().dims(), [6]);
        assert!(config.with_bias(false).init(&Random::new(0, 0, 0), &Device::flex()).bias.is_none());
    }
}
