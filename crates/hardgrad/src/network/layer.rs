//! Layers as nodes: how each is made for what it reads, and how it runs on the values that its operator takes.

use burn::tensor::{Device, Tensor};
use hardgrad_kernels::random::Random;

use super::value::Value;
use crate::layers::{
    BatchNorm, BatchNormConfig, ClassToken, ClassTokenConfig, LayerNorm, LayerNormConfig, PositionEmbedding,
    PositionEmbeddingConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig,
};
use crate::runtime::ops as described;

/// A layer that is the node of an operator with these sizes.
pub(super) trait Layer<Sizes>: Sized {
    /// The layer for items of the shape `input`, which suits the operator; what is drawn is drawn from `random`.
    fn of(sizes: &Sizes, input: &[usize], random: &Random, device: &Device) -> Self;

    /// What it gives.
    fn run(&self, x: Value) -> Value;
}

impl Layer<described::Conv2d> for QuantConv2d {
    fn of(sizes: &described::Conv2d, input: &[usize], random: &Random, device: &Device) -> Self {
        let config = QuantConv2dConfig::new([input[0], sizes.channels], sizes.kernel)
            .with_stride(sizes.stride)
            .with_padding(sizes.padding)
            .with_dilation(sizes.dilation)
            .with_groups(sizes.groups)
            .with_bias(sizes.bias);
        config.init(random, device)
    }

    fn run(&self, x: Value) -> Value {
        self.forward(x.image()).into()
    }
}

impl Layer<described::Linear> for QuantLinear {
    fn of(sizes: &described::Linear, input: &[usize], random: &Random, device: &Device) -> Self {
        QuantLinearConfig::new(width(input), sizes.outputs).with_bias(sizes.bias).init(random, device)
    }

    fn run(&self, x: Value) -> Value {
        match x {
            Value::Tokens(x) => self.forward(x).into(),
            x => self.forward(x.features()).into(),
        }
    }
}

impl Layer<described::BatchNorm> for BatchNorm {
    fn of(settings: &described::BatchNorm, input: &[usize], _: &Random, device: &Device) -> Self {
        let config = BatchNormConfig::new(input[0]);
        config.with_epsilon(settings.epsilon).with_momentum(settings.momentum).init(device)
    }

    fn run(&self, x: Value) -> Value {
        match x {
            Value::Image(x) => self.forward(on_its_tape(self, x.values())).into(),
            x => self.forward(on_its_tape(self, x.features().values())).into(),
        }
    }
}

/// What a batch norm reads, on the tape where its parameters are: there it takes the statistics of the batch, also of
/// values that nothing before it learns from, such as the network's input.
pub(super) fn on_its_tape<const D: usize>(norm: &BatchNorm, x: Tensor<D>) -> Tensor<D> {
    match norm.gamma.val().is_autodiff() && !x.is_autodiff() {
        true => Tensor::from_inner(x),
        false => x,
    }
}

impl Layer<described::LayerNorm> for LayerNorm {
    fn of(settings: &described::LayerNorm, input: &[usize], _: &Random, device: &Device) -> Self {
        LayerNormConfig::new(width(input)).with_epsilon(settings.epsilon).init(device)
    }

    fn run(&self, x: Value) -> Value {
        match x {
            Value::Tokens(x) => self.forward(x.values()).into(),
            x => self.forward(x.features().values()).into(),
        }
    }
}

impl Layer<described::ClassToken> for ClassToken {
    fn of(_: &described::ClassToken, input: &[usize], random: &Random, device: &Device) -> Self {
        ClassTokenConfig::new(width(input)).init(random, device)
    }

    fn run(&self, x: Value) -> Value {
        self.forward(x.tokens().values()).into()
    }
}

impl Layer<described::PositionEmbedding> for PositionEmbedding {
    fn of(_: &described::PositionEmbedding, input: &[usize], random: &Random, device: &Device) -> Self {
        PositionEmbeddingConfig::new(input[0], width(input)).init(random, device)
    }

    fn run(&self, x: Value) -> Value {
        self.forward(x.tokens().values()).into()
    }
}

/// Size of the last axis.
fn width(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(0)
}
