//! The networks of the training workloads, built of hardgrad's layers.
//!
//! Quantised forms: perceptron and LeNet quantise all weights (4 bits, one scale a tensor, from the largest magnitude) and the
//! output of each ReLU (4 bits, learned step); ResNet-20 likewise, but first convolution and last layer keep float
//! weights; the transformer quantises weights (a scale a channel) and inputs (learned step) of the linear layers inside its
//! four layers.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad::coded::Activation;
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, LayerNorm, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu,
};
use hardgrad::ops::{Conv2dOptions, attention, avg_pool2d, gelu, max_pool2d};
use hardgrad::quantize::{QuantizerConfig, RangeMethod, StepClock};

use super::training::CLASSES;

const BITS: u32 = 4;

fn device() -> Device {
    Device::flex().autodiff()
}

/// Weights from their largest magnitude.
fn weights(per_channel: bool) -> QuantizerConfig {
    QuantizerConfig { range: RangeMethod::MinMax, per_channel, ..QuantizerConfig::weights(BITS) }
}

/// A ReLU, with a quantiser of a learned step behind it if `quantized`.
fn relu(quantized: bool) -> QuantRelu {
    let relu = QuantRelu::new();
    if !quantized {
        return relu;
    }
    let config = QuantizerConfig::activations(BITS);
    relu.quantize(&config, &StepClock::default(), &device()).expect("settings of this file")
}

fn linear(
    inputs: usize,
    outputs: usize,
    weights: Option<QuantizerConfig>,
    input: Option<QuantizerConfig>,
) -> QuantLinear {
    let layer = QuantLinearConfig::new(inputs, outputs).init(&device());
    layer.quantize(weights.as_ref(), input.as_ref(), &StepClock::default()).expect("settings of this file")
}

/// A convolution of a square kernel that keeps the size of the image, but for the stride.
fn convolution(channels: [usize; 2], kernel: usize, stride: usize, bias: bool, quantized: bool) -> QuantConv2d {
    let options = Conv2dOptions { stride: [stride; 2], padding: [kernel / 2; 2], ..Conv2dOptions::default() };
    let layer = QuantConv2dConfig { options, bias, ..QuantConv2dConfig::new(channels, [kernel; 2]) }.init(&device());
    let weights = quantized.then(|| weights(false));
    layer.quantize(weights.as_ref(), None, &StepClock::default()).expect("settings of this file")
}

/// 784-512-512-10.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    layers: Vec<QuantLinear>,
    relus: Vec<QuantRelu>,
}

impl Mlp {
    pub fn new(quantized: bool) -> Self {
        let layer = |inputs, outputs| linear(inputs, outputs, quantized.then(|| weights(false)), None);
        let layers = vec![layer(784, 512), layer(512, 512), layer(512, CLASSES)];
        Self { layers, relus: vec![relu(quantized), relu(quantized)] }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.relus[0].forward(self.layers[0].forward(x), None);
        let x = self.relus[1].forward(self.layers[1].forward(x), None);
        self.layers[2].forward(x)
    }
}

/// Two convolutions 5x5 with 32 and 64 channels, each with ReLU and 2x2 max pooling, then 3136-512-10.
#[derive(Module, Debug)]
pub(super) struct LeNet {
    convolutions: Vec<QuantConv2d>,
    layers: Vec<QuantLinear>,
    relus: Vec<QuantRelu>,
}

impl LeNet {
    pub fn new(quantized: bool) -> Self {
        let layer = |inputs, outputs| linear(inputs, outputs, quantized.then(|| weights(false)), None);
        Self {
            convolutions: [[1, 32], [32, 64]].map(|channels| convolution(channels, 5, 1, true, quantized)).into(),
            layers: vec![layer(3136, 512), layer(512, CLASSES)],
            relus: (0..3).map(|_| relu(quantized)).collect(),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x: Activation<4> = x.into();
        for (convolution, relu) in self.convolutions.iter().zip(&self.relus) {
            x = max_pool2d(relu.forward(convolution.forward(x), None), [2, 2], [2, 2]);
        }
        let [batch, channels, rows, columns] = x.dims();
        let x = self.layers[0].forward(x.reshape([batch, channels * rows * columns]));
        self.layers[1].forward(self.relus[2].forward(x, None))
    }
}

/// Convolution 3x3, batch norm, ReLU, convolution 3x3, batch norm, plus the shortcut, ReLU.
#[derive(Module, Debug)]
pub(super) struct Block {
    convolutions: Vec<QuantConv2d>,
    norms: Vec<BatchNorm>,
    relus: Vec<QuantRelu>,
    /// A 1x1 convolution and batch norm where the shape changes.
    shortcut: Option<(QuantConv2d, BatchNorm)>,
}

impl Block {
    fn new(channels: [usize; 2], stride: usize, quantized: bool) -> Self {
        let [input, output] = channels;
        let norm = || BatchNormConfig::new(output).init(&device());
        let first = convolution(channels, 3, stride, false, quantized);
        Self {
            convolutions: vec![first, convolution([output, output], 3, 1, false, quantized)],
            norms: vec![norm(), norm()],
            relus: vec![relu(quantized), relu(quantized)],
            shortcut: (input != output).then(|| (convolution(channels, 1, stride, false, quantized), norm())),
        }
    }

    fn forward(&self, x: Activation<4>) -> Activation<4> {
        let shortcut = match &self.shortcut {
            Some((convolution, norm)) => norm.forward(convolution.forward(x.clone())).into(),
            None => x.clone(),
        };
        let x = self.norms[0].forward_relu(self.convolutions[0].forward(x), None, &self.relus[0]);
        self.norms[1].forward_relu(self.convolutions[1].forward(x), Some(shortcut), &self.relus[1])
    }
}

/// ResNet-20: three groups of three blocks with 16, 32 and 64 channels.
#[derive(Module, Debug)]
pub(super) struct ResNet20 {
    first: QuantConv2d,
    norm: BatchNorm,
    relu: QuantRelu,
    blocks: Vec<Block>,
    output: QuantLinear,
}

impl ResNet20 {
    pub fn new(quantized: bool) -> Self {
        let groups = [([16, 16], 1), ([16, 32], 2), ([32, 64], 2)];
        let blocks = groups.into_iter().flat_map(|(channels, stride)| {
            let [_, output] = channels;
            (0..3).map(move |place| match place {
                0 => Block::new(channels, stride, quantized),
                _ => Block::new([output, output], 1, quantized),
            })
        });
        Self {
            first: convolution([3, 16], 3, 1, false, false),
            norm: BatchNormConfig::new(16).init(&device()),
            relu: relu(quantized),
            blocks: blocks.collect(),
            output: linear(64, CLASSES, None, None),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward_relu(self.first.forward(x), None, &self.relu);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let [batch, channels, rows, columns] = x.dims();
        let x = avg_pool2d(x, [rows, columns], [rows, columns]);
        self.output.forward(x.reshape([batch, channels]))
    }
}

/// Layer norm, attention, layer norm, two linear layers with GELU, each half with a shortcut.
#[derive(Module, Debug)]
pub(super) struct TransformerLayer {
    norms: Vec<LayerNorm>,
    qkv: QuantLinear,
    out: QuantLinear,
    up: QuantLinear,
    down: QuantLinear,
}

const WIDTH: usize = 192;
const HEADS: usize = 3;

impl TransformerLayer {
    fn new(quantized: bool) -> Self {
        let input = QuantizerConfig { signed: true, ..QuantizerConfig::activations(BITS) };
        let layer = |inputs, outputs| {
            linear(inputs, outputs, quantized.then(|| weights(true)), quantized.then(|| input.clone()))
        };
        Self {
            norms: vec![LayerNorm::new(WIDTH, &device()), LayerNorm::new(WIDTH, &device())],
            qkv: layer(WIDTH, 3 * WIDTH),
            out: layer(WIDTH, WIDTH),
            up: layer(WIDTH, 4 * WIDTH),
            down: layer(4 * WIDTH, WIDTH),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = attention(self.qkv.forward(self.norms[0].forward(x.clone())), HEADS);
        let x = x + self.out.forward(attended);
        let hidden: Tensor<3> = self.up.forward(self.norms[1].forward(x.clone()));
        x + self.down.forward(gelu(hidden))
    }
}

/// Linear 48-192, four transformer layers, layer norm, mean over the tokens, 192-10.
#[derive(Module, Debug)]
pub(super) struct Vit {
    embedding: QuantLinear,
    layers: Vec<TransformerLayer>,
    norm: LayerNorm,
    output: QuantLinear,
}

impl Vit {
    pub fn new(quantized: bool) -> Self {
        Self {
            embedding: linear(48, WIDTH, None, None),
            layers: (0..4).map(|_| TransformerLayer::new(quantized)).collect(),
            norm: LayerNorm::new(WIDTH, &device()),
            output: linear(WIDTH, CLASSES, None, None),
        }
    }

    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, ..] = x.dims();
        let x = self.layers.iter().fold(self.embedding.forward(x), |x, layer| layer.forward(x));
        let mean = self.norm.forward(x).mean_dim(1).reshape([batch, WIDTH]);
        self.output.forward(mean)
    }
}
