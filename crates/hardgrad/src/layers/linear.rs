use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::{Input, LayerKind};

use super::operands;
use super::packing::{self, PackError};
use crate::coded::Activation;
use crate::ops::{linear, quantized_linear};
use crate::quantize::{QuantizeError, Quantizer, QuantizerConfig, StepClock};

/// Settings of a [`QuantLinear`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::QuantLinearConfig;
///
/// let layer = QuantLinearConfig::new(16, 4).init(&Device::flex());
/// assert_eq!(layer.forward(Tensor::<2>::zeros([2, 16], &Device::flex())).dims(), [2, 4]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct QuantLinearConfig {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Add a learned value an output.
    pub bias: bool,
}

impl QuantLinearConfig {
    /// A layer with bias.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, bias: true }
    }

    /// A float layer with weights from Kaiming's uniform distribution; [`QuantLinear::quantize`] quantises it.
    pub fn init(&self, device: &Device) -> QuantLinear {
        let initializer = Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false };
        let weight = initializer.init_with([self.inputs, self.outputs], Some(self.inputs), None, device);
        let bias = self.bias.then(|| initializer.init_with([self.outputs], Some(self.inputs), None, device));
        QuantLinear { weight, bias, input_quantizer: None }
    }
}

/// Matrix product with quantised input and weights.
///
/// ```text
/// y = quantize(x) quantize(weight) + bias
/// ```
/// x `[..., inputs]` to `[..., outputs]`.
#[derive(Module, Debug)]
pub struct QuantLinear {
    /// Weight `[inputs, outputs]`, with its quantiser as reparameterization.
    pub weight: Param<Tensor<2>>,
    /// One value an output.
    pub bias: Option<Param<Tensor<1>>>,
    /// Quantiser of the input.
    pub input_quantizer: Option<Quantizer>,
}

impl QuantLinear {
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

    /// The product of `x` `[..., inputs]` (floats or codes) with the weight.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward<const D: usize>(&self, x: impl Into<Activation<D>>) -> Tensor<D> {
        let (x, weight, grid) = operands::on_grids(self.input_quantizer.as_ref(), x.into(), &self.weight);
        let bias = self.bias.as_ref().map(Param::val);
        match (x, grid) {
            (Activation::Coded(x), Some(grid)) => quantized_linear(x, weight, &grid, bias),
            (x, _) => linear(x, weight, bias),
        }
    }

    /// Sets the range of the input's quantiser from a sample of inputs; see [`Quantizer::calibrate`].
    pub fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>) -> Result<(), QuantizeError> {
        operands::calibrate(&mut self.input_quantizer, sample)
    }

    /// The packed form; `name` is for errors. The first layer of a model, which reads the image itself, takes the packed model's
    /// input as `pixels`: the one that [`Quantizer::pixel_input`] makes.
    pub fn pack(&self, name: &str, pixels: Option<&Input>) -> Result<LayerKind, PackError> {
        let [inputs, outputs] = self.weight.base().dims();
        // Packed weights are [outputs, inputs].
        let turned = |codes: Vec<u8>| (0..outputs).flat_map(|o| codes[o..].iter().step_by(outputs).copied()).collect();
        let (weight, input) = packing::pack(name, &self.weight, self.input_quantizer.as_ref(), pixels, turned)?;
        Ok(LayerKind::Linear { weight, input, bias: packing::vector(&self.bias), inputs, outputs })
    }
}
