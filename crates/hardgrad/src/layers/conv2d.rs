use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::{Input, LayerKind};

use super::operands;
use super::packing::{self, PackError};
use crate::coded::Activation;
use crate::ops::{Conv2dOptions, conv2d, quantized_conv2d};
use crate::quantize::{QuantizeError, Quantizer, QuantizerConfig, StepClock};

/// Settings of a [`QuantConv2d`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::QuantConv2dConfig;
/// use hardgrad::quantize::{QuantizerConfig, StepClock};
///
/// let device = Device::flex();
/// let layer = QuantConv2dConfig::new([1, 8], [3, 3]).init(&device);
/// let (weights, activations) = (QuantizerConfig::weights(4), QuantizerConfig::activations(4));
/// let layer = layer.quantize(Some(&weights), Some(&activations), &StepClock::default()).unwrap();
/// assert_eq!(layer.forward(Tensor::<4>::zeros([2, 1, 9, 9], &device)).dims(), [2, 8, 7, 7]);
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

    /// A float layer with weights from Kaiming's uniform distribution; [`QuantConv2d::quantize`] quantises it.
    pub fn init(&self, device: &Device) -> QuantConv2d {
        let [channels_in, channels_out] = self.channels;
        let inputs = channels_in / self.options.groups * self.kernel[0] * self.kernel[1];
        let initializer = Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false };
        let shape = [channels_out, channels_in / self.options.groups, self.kernel[0], self.kernel[1]];
        let weight = initializer.init_with(shape, Some(inputs), None, device);
        let bias = self.bias.then(|| initializer.init_with([channels_out], Some(inputs), None, device));
        QuantConv2d { weight, bias, input_quantizer: None, options: self.options }
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
    /// The layer with quantisers for its weight and its input (where given), which wait on `clock` if they have a delay.
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

    /// The packed form; `name` is for errors. The first layer of a model, which reads the image itself, takes the packed model's
    /// input as `pixels`: the one that [`Quantizer::pixel_input`] makes.
    pub fn pack(&self, name: &str, pixels: Option<&Input>) -> Result<LayerKind, PackError> {
        let [channels_out, group_channels, rows, columns] = self.weight.base().dims();
        let (weight, input) = packing::pack(name, &self.weight, self.input_quantizer.as_ref(), pixels, |codes| codes)?;
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        Ok(LayerKind::Conv2d {
            weight,
            input,
            bias: packing::vector(&self.bias),
            channels_in: group_channels * groups,
            channels_out,
            kernel: [rows, columns],
            stride,
            padding,
            dilation,
            groups,
        })
    }
}
