//! Networks with float weights and activations on a fixed grid, whose surrogate can be exchanged.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use hardgrad::layers::{BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig};
use hardgrad::ops::{Conv2dOptions, ReluSurrogate, max_pool2d, quantized_relu};

use super::subject::Subject;
use crate::networks::{CLASSES, FirstWeights};

/// The activation behind each batch norm: quantised ReLU of so many bits, or plain ReLU for none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activation {
    pub bits: Option<u32>,
    pub surrogate: ReluSurrogate,
}

/// The grid step with the least squared error for standard normal values behind a ReLU that rounds up (the Lloyd
/// iteration of Yin et al.); found by numerical minimisation for 2, 3 and 4 bits.
fn step(bits: u32) -> f32 {
    match bits {
        2 => 0.486,
        3 => 0.290,
        _ => 0.166,
    }
}

impl Activation {
    fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self.bits {
            Some(bits) => quantized_relu(x, step(bits), bits, self.surrogate),
            None => relu(x),
        }
    }
}

/// A network whose activation can be exchanged.
pub(super) trait ExchangeActivation: Subject {
    /// The same weights with another activation.
    fn with_activation(self, activation: Activation) -> Self;
}

/// LeNet-5: convolutions 5x5 with 6 and 16 channels and 2x2 max pooling, then 400-120-84-10; batch norm without learned
/// factor and shift before each activation.
#[derive(Module, Debug)]
pub(super) struct LeNet5 {
    convolutions: Vec<QuantConv2d>,
    layers: Vec<QuantLinear>,
    norms: Vec<BatchNorm>,
    #[module(skip)]
    activation: Activation,
}

fn norm(channels: usize) -> BatchNorm {
    BatchNormConfig::new(channels).init(&Device::flex().autodiff())
}

fn linear(inputs: usize, outputs: usize, first: &FirstWeights) -> QuantLinear {
    QuantLinearConfig::new(inputs, outputs).init(&first.next(), &Device::flex().autodiff())
}

impl Subject for LeNet5 {
    fn new(seed: u64) -> Self {
        let first = FirstWeights::new(seed);
        let convolution = |channels, padding| {
            let options = Conv2dOptions { padding: [padding; 2], ..Conv2dOptions::default() };
            let layer = QuantConv2dConfig { options, ..QuantConv2dConfig::new(channels, [5, 5]) };
            layer.init(&first.next(), &Device::flex().autodiff())
        };
        Self {
            convolutions: vec![convolution([1, 6], 2), convolution([6, 16], 0)],
            layers: vec![linear(400, 120, &first), linear(120, 84, &first), linear(84, CLASSES, &first)],
            norms: [6, 16, 120, 84].map(norm).into(),
            activation: Activation::default(),
        }
    }

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

    fn is_frozen(name: &str) -> bool {
        name.starts_with("norms")
    }
}

impl ExchangeActivation for LeNet5 {
    fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }
}

/// Eight linear layers, 784-128-...-128-10; batch norm without learned factor and shift before each activation.
#[derive(Module, Debug)]
pub(super) struct DeepMlp {
    layers: Vec<QuantLinear>,
    norms: Vec<BatchNorm>,
    #[module(skip)]
    activation: Activation,
}

const DEEP_WIDTHS: [usize; 9] = [784, 128, 128, 128, 128, 128, 128, 128, CLASSES];

impl Subject for DeepMlp {
    fn new(seed: u64) -> Self {
        let first = FirstWeights::new(seed);
        Self {
            layers: DEEP_WIDTHS.windows(2).map(|pair| linear(pair[0], pair[1], &first)).collect(),
            norms: DEEP_WIDTHS[1..DEEP_WIDTHS.len() - 1].iter().map(|&width| norm(width)).collect(),
            activation: Activation::default(),
        }
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let hidden = self.layers.iter().zip(&self.norms);
        let x = hidden.fold(images, |x, (layer, norm)| self.activation.apply(norm.forward(layer.forward(x))));
        self.layers[self.norms.len()].forward(x)
    }

    fn is_frozen(name: &str) -> bool {
        name.starts_with("norms")
    }
}

impl ExchangeActivation for DeepMlp {
    fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_least_squared_error() {
        // Midpoint rule over the half-normal distribution.
        let error = |step: f64, bits: u32| -> f64 {
            let levels = f64::from((1u32 << bits) - 1);
            let points = (0..80_000).map(|i| (f64::from(i) + 0.5) * 1e-4);
            points.map(|x| (x - (x / step).ceil().min(levels) * step).powi(2) * (-x * x / 2.0).exp()).sum()
        };
        for bits in [2, 3, 4] {
            let best = f64::from(step(bits));
            assert!([best - 2e-3, best + 2e-3].iter().all(|other| error(best, bits) < error(*other, bits)), "{bits}");
        }
    }
}
