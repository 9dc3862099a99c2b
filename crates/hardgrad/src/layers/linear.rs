use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::ops as nodes;

use super::{init, operands};
use crate::coded::Activation;
use crate::ops::{linear, quantized_linear};
use crate::packing::{Edge, PackError, Packer, stored_bias, stored_weight};
use crate::quantize::{QuantizeError, Quantizer, QuantizerConfig, StepClock};
use crate::random::Random;

/// Settings of a [`QuantLinear`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::QuantLinearConfig;
/// use hardgrad::random::Random;
///
/// let layer = QuantLinearConfig::new(16, 4).init(&Random::new(0, 0, 0), &Device::flex());
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

    /// With a learned value an output, or without.
    pub fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// A float layer with weights drawn uniformly within 1/sqrt(inputs) and biases 0; [`QuantLinear::quantize`]
    /// quantises it.
    pub fn init(&self, random: &Random, device: &Device) -> QuantLinear {
        QuantLinear {
            weight: init::uniform([self.inputs, self.outputs], self.inputs, random, device),
            bias: init::bias(self.bias, self.outputs, device),
            input_quantizer: None,
        }
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

    /// Adds this layer to a packed model as the node `name` behind `x`; its input quantiser, where it has one, is the
    /// node `name.input`.
    ///
    /// Fails where a quantiser cannot be packed, or a quantised weight would meet floats.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let x = packer.input_of(name, self.input_quantizer.as_ref(), x)?;
        let weight = stored_weight(name, self, &self.weight, &x)?;
        let bias = stored_bias(&self.bias);
        let [_, outputs] = self.weight.base().dims();
        let op = nodes::Linear { outputs, bias: bias.is_some() };
        let tensors = [("weight", weight)].into_iter().chain(bias).collect();
        Ok(packer.node(name, op, &[&x], tensors))
    }
}
