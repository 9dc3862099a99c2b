use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad::layers::{BatchNorm, BatchNormConfig, QuantLinear, QuantLinearConfig};
use hardgrad::parameters::Role;

use super::first_values::{CLASSES, first_values};
use super::quantized_activation::{ExchangeActivation, QuantizedActivation};
use crate::experiments::subject::Subject;

/// Eight linear layers, 784-128-...-128-10; batch norm without learned factor and shift before each activation.
#[derive(Module, Debug)]
pub(in crate::experiments) struct DeepMlp {
    layers: Vec<QuantLinear>,
    norms: Vec<BatchNorm>,
    #[module(skip)]
    activation: QuantizedActivation,
}

const WIDTHS: [usize; 9] = [784, 128, 128, 128, 128, 128, 128, 128, CLASSES];

impl DeepMlp {
    /// Float weights, plain ReLU.
    pub fn new(seed: u64) -> Self {
        let device = Device::flex().autodiff();
        let layers = WIDTHS
            .windows(2)
            .enumerate()
            .map(|(place, pair)| QuantLinearConfig::new(pair[0], pair[1]).init(&first_values(seed, place), &device));
        let norms = WIDTHS[1..WIDTHS.len() - 1].iter().map(|&width| BatchNormConfig::new(width).init(&device));
        Self { layers: layers.collect(), norms: norms.collect(), activation: QuantizedActivation::default() }
    }
}

impl Subject for DeepMlp {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let hidden = self.layers.iter().zip(&self.norms);
        let x = hidden.fold(images, |x, (layer, norm)| self.activation.apply(norm.forward(layer.forward(x))));
        self.layers[self.norms.len()].forward(x)
    }

    fn trains(role: Role) -> bool {
        role != Role::Norm
    }
}

impl ExchangeActivation for DeepMlp {
    fn with_activation(self, activation: QuantizedActivation) -> Self {
        Self { activation, ..self }
    }
}
