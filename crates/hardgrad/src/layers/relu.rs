use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::ops as nodes;

use super::operands;
use crate::coded::Activation;
use crate::ops::{LearnedStep, relu};
use crate::packing::{Edge, PackError, Packer};
use crate::quantize::{QuantizeError, Quantizer, QuantizerConfig, StepClock};

/// ReLU with an optional quantiser behind it, which all layers that read the result share.
///
/// ```text
/// y = quantize(max(x, 0))
/// ```
/// With a learned step and codes from 0, ReLU and quantiser are one operator, also with the batch norm and the addition
/// of a shortcut before them ([`BatchNorm::forward_relu`](super::BatchNorm::forward_relu)); the result is held as
/// codes.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::QuantRelu;
/// use hardgrad::quantize::{QuantizerConfig, RangeMethod, StepClock};
///
/// let device = Device::flex();
/// let config = QuantizerConfig { range: RangeMethod::Lsq, ..QuantizerConfig::activations(4) };
/// let relu = QuantRelu::new().quantize(&config, &StepClock::default(), &device).unwrap();
/// let y = relu.forward(Tensor::<1>::from_floats([-1.0, 100.0], &device), None).values();
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap()[0], 0.0);
/// ```
#[derive(Module, Debug, Default)]
pub struct QuantRelu {
    /// The quantiser.
    pub quantizer: Option<Quantizer>,
}

impl QuantRelu {
    /// A plain ReLU.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a quantiser, which waits on `clock` if it has a delay; fails where there is one already.
    pub fn quantize(self, config: &QuantizerConfig, clock: &StepClock, device: &Device) -> Result<Self, QuantizeError> {
        Ok(Self { quantizer: operands::activation_quantizer(self.quantizer, Some(config), clock, device)? })
    }

    /// ReLU of `x`, to which `shortcut` is added first.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, shortcut: Option<Activation<D>>) -> Activation<D> {
        self.apply(|step| relu(x, shortcut, step))
    }

    /// Sets the range of the quantiser from a sample of what ReLU gives; see [`Quantizer::calibrate`].
    pub fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>) -> Result<(), QuantizeError> {
        operands::calibrate(&mut self.quantizer, sample)
    }

    /// Adds ReLU to a packed model as the node `name` behind `x`, and the quantiser, where there is one, as
    /// `name.quantizer`. A shortcut is a node `add` of its own before it.
    ///
    /// Fails where the quantiser cannot be packed.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let y = packer.op(name, nodes::Relu {}, &[x]);
        match &self.quantizer {
            Some(quantizer) => packer.quantize(&format!("{name}.quantizer"), quantizer, &y),
            None => Ok(y),
        }
    }

    /// Runs `chain`, which ends in a ReLU, together with the quantiser.
    pub(super) fn apply<const D: usize>(
        &self,
        chain: impl FnOnce(Option<LearnedStep>) -> Activation<D>,
    ) -> Activation<D> {
        fused_relu(self.quantizer.as_ref(), chain)
    }
}

/// Runs `chain`, which ends in a ReLU, with the quantiser's step where it can be fused; else quantises what it gives.
pub(crate) fn fused_relu<const D: usize>(
    quantizer: Option<&Quantizer>,
    chain: impl FnOnce(Option<LearnedStep>) -> Activation<D>,
) -> Activation<D> {
    let Some(quantizer) = quantizer.filter(|quantizer| quantizer.is_active()) else {
        return chain(None);
    };
    match quantizer.relu_step() {
        Some(step) => chain(Some(step)),
        None => quantizer.encode(chain(None).values()),
    }
}
