use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad::layers::{BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig};
use hardgrad::ops::max_pool2d;
use hardgrad::parameters::Role;

use super::first_values::{CLASSES, first_values};
use super::quantized_activation::{ExchangeActivation, QuantizedActivation};
use crate::experiments::subject::Subject;

/// LeNet-5: convolutions 5x5 with 6 and 16 channels and 2x2 max pooling, then 400-120-84-10; batch norm without learned
/// factor and shift before each activation.
#[derive(Module, Debug)]
pub(in crate::experiments) struct LeNet5 {
    convolutions: Vec<QuantConv2d>,
    layers: Vec<QuantLinear>,
    norms: Vec<BatchNorm>,
    #[module(skip)]
    activation: QuantizedActivation,
}

impl LeNet5 {
    /// Float weights, plain ReLU.
    pub fn new(seed: u64) -> Self {
        let device = Device::flex().autodiff();
        let convolution = |place, channels, padding| {
            let config = QuantConv2dConfig::new(channels, [5, 5]).with_padding([padding; 2]);
            config.init(&first_values(seed, place), &device)
        };
        let linear =
            |place, inputs, outputs| QuantLinearConfig::new(inputs, outputs).init(&first_values(seed, place), &device);
        Self {
            convolutions: vec![convolution(0, [1, 6], 2), convolution(1, [6, 16], 0)],
            layers: vec![linear(2, 400, 120), linear(3, 120, 84), linear(4, 84, CLASSES)],
            norms: [6, 16, 120, 84].map(|channels| BatchNormConfig::new(channels).init(&device)).into(),
            activation: QuantizedActivation::default(),
        }
    }
}

impl Subject for LeNet5 {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let [batch, _] = images.dims();
        let mut x = images.reshape([batch, 1, 28, 28]);
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            let y = self.activation.apply(norm.forward(convolution.forward(x)));
            x = max_pool2d(y, [2, 2], [2, 2]).values();
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (layer, norm) in self.layers.iter().zip(&self.norms[2..]) {
            x = self.activation.apply(norm.forward(layer.forward(x)));
        }
        self.layers[2].forward(x)
    }

    fn trains(role: Role) -> bool {
        role != Role::Norm
    }
}

impl ExchangeActivation for LeNet5 {
    fn with_activation(self, activation: QuantizedActivation) -> Self {
        Self { activation, ..self }
    }
}
