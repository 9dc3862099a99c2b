//! Networks of hardgrad's layers for benchmarks and experiments, in sizes and with quantisers that are passed in.
//!
//! All take images row by row; the quantiser of activations stands behind each ReLU, or before each linear layer of the
//! transformer, which has none.

use std::cell::Cell;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad::coded::Activation;
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear,
    QuantLinearConfig, QuantRelu,
};
use hardgrad::ops::{Conv2dOptions, attention, avg_pool2d, gelu, max_pool2d};
use hardgrad::quantize::{QuantizerConfig, StepClock};
use hardgrad::random::Random;

use crate::train::stream;

/// Classes of all networks here.
pub(crate) const CLASSES: usize = 10;

/// Where the first weights of a network come from: counters of a seed, another stream a layer.
pub(crate) struct FirstWeights {
    seed: u64,
    layer: Cell<u32>,
}

impl FirstWeights {
    pub fn new(seed: u64) -> Self {
        Self { seed, layer: Cell::new(0) }
    }

    /// The numbers of the next layer.
    pub fn next(&self) -> Random {
        Random::new(self.seed, self.layer.replace(self.layer.get() + 1), stream::WEIGHTS)
    }
}

/// Quantisers of a network; none for float.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quantizers {
    /// Of the weights.
    pub weights: Option<QuantizerConfig>,
    /// Of the activations.
    pub activations: Option<QuantizerConfig>,
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// A ReLU, with a quantiser behind it where there is one.
fn relu(activations: Option<&QuantizerConfig>) -> QuantRelu {
    let relu = QuantRelu::new();
    match activations {
        Some(config) => relu.quantize(config, &StepClock::default(), &device()).expect("settings of the program"),
        None => relu,
    }
}

fn linear(
    inputs: usize,
    outputs: usize,
    weights: Option<&QuantizerConfig>,
    input: Option<&QuantizerConfig>,
    first: &FirstWeights,
) -> QuantLinear {
    let layer = QuantLinearConfig::new(inputs, outputs).init(&first.next(), &device());
    layer.quantize(weights, input, &StepClock::default()).expect("settings of the program")
}

/// A convolution of a square kernel that keeps the size of the image, but for the stride.
fn convolution(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    bias: bool,
    weights: Option<&QuantizerConfig>,
    first: &FirstWeights,
) -> QuantConv2d {
    let options = Conv2dOptions { stride: [stride; 2], padding: [kernel / 2; 2], ..Conv2dOptions::default() };
    let layer = QuantConv2dConfig { options, bias, ..QuantConv2dConfig::new(channels, [kernel; 2]) };
    let layer = layer.init(&first.next(), &device());
    layer.quantize(weights, None, &StepClock::default()).expect("settings of the program")
}

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    layers: Vec<QuantLinear>,
    relus: Vec<QuantRelu>,
}

impl Mlp {
    /// Layers between these `widths`, first the inputs, last the classes.
    pub fn new(widths: &[usize], Quantizers { weights, activations }: &Quantizers, first: &FirstWeights) -> Self {
        let layers = widths.windows(2).map(|pair| linear(pair[0], pair[1], weights.as_ref(), None, first));
        let relus = (2..widths.len()).map(|_| relu(activations.as_ref()));
        Self { layers: layers.collect(), relus: relus.collect() }
    }

    /// Logits of inputs `[batch, inputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut x: Activation<2> = x.into();
        for (layer, relu) in self.layers.iter().zip(&self.relus) {
            x = relu.forward(layer.forward(x), None);
        }
        self.layers[self.relus.len()].forward(x)
    }
}

/// Two convolutions 5x5, each with ReLU and 2x2 max pooling, then two linear layers.
#[derive(Module, Debug)]
pub(crate) struct LeNet {
    convolutions: Vec<QuantConv2d>,
    layers: Vec<QuantLinear>,
    relus: Vec<QuantRelu>,
}

impl LeNet {
    /// For grey images of 28 x 28 pixels, with so many channels behind each convolution and so many hidden values.
    pub fn new(
        channels: [usize; 2],
        hidden: usize,
        Quantizers { weights, activations }: &Quantizers,
        first: &FirstWeights,
    ) -> Self {
        let weights = weights.as_ref();
        let [one, two] = channels;
        Self {
            convolutions: [[1, one], [one, two]].map(|pair| convolution(pair, 5, 1, true, weights, first)).into(),
            layers: vec![linear(49 * two, hidden, weights, None, first), linear(hidden, CLASSES, weights, None, first)],
            relus: (0..3).map(|_| relu(activations.as_ref())).collect(),
        }
    }

    /// Logits of images `[batch, 1, 28, 28]`.
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
pub(crate) struct Block {
    convolutions: Vec<QuantConv2d>,
    norms: Vec<BatchNorm>,
    relus: Vec<QuantRelu>,
    /// A 1x1 convolution and batch norm where the shape changes.
    shortcut: Option<(QuantConv2d, BatchNorm)>,
}

impl Block {
    fn new(
        channels: [usize; 2],
        stride: usize,
        Quantizers { weights, activations }: &Quantizers,
        first: &FirstWeights,
    ) -> Self {
        let [input, output] = channels;
        let (weights, relu) = (weights.as_ref(), || relu(activations.as_ref()));
        let norm = || BatchNormConfig::new(output).init(&device());
        let of_block = convolution(channels, 3, stride, false, weights, first);
        Self {
            convolutions: vec![of_block, convolution([output, output], 3, 1, false, weights, first)],
            norms: vec![norm(), norm()],
            relus: vec![relu(), relu()],
            shortcut: (input != output).then(|| (convolution(channels, 1, stride, false, weights, first), norm())),
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

/// ResNet-20: three groups of three blocks with 16, 32 and 64 channels; the first convolution and the last layer keep float
/// weights.
#[derive(Module, Debug)]
pub(crate) struct ResNet20 {
    first: QuantConv2d,
    norm: BatchNorm,
    relu: QuantRelu,
    blocks: Vec<Block>,
    output: QuantLinear,
}

impl ResNet20 {
    /// For colour images.
    pub fn new(quantizers: &Quantizers, first: &FirstWeights) -> Self {
        let groups = [([16, 16], 1), ([16, 32], 2), ([32, 64], 2)];
        let blocks = groups.into_iter().flat_map(|(channels, stride)| {
            let [_, output] = channels;
            (0..3).map(move |place| match place {
                0 => Block::new(channels, stride, quantizers, first),
                _ => Block::new([output, output], 1, quantizers, first),
            })
        });
        Self {
            first: convolution([3, 16], 3, 1, false, None, first),
            norm: BatchNormConfig::new(16).init(&device()),
            relu: relu(quantizers.activations.as_ref()),
            blocks: blocks.collect(),
            output: linear(64, CLASSES, None, None, first),
        }
    }

    /// Logits of images `[batch, 3, rows, columns]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward_relu(self.first.forward(x), None, &self.relu);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let [batch, channels, rows, columns] = x.dims();
        let x = avg_pool2d(x, [rows, columns], [rows, columns]).values();
        self.output.forward(x.reshape([batch, channels]))
    }
}

/// Layer norm, attention, layer norm, two linear layers with GELU, each half with a shortcut.
#[derive(Module, Debug)]
pub(crate) struct TransformerLayer {
    norms: Vec<LayerNorm>,
    qkv: QuantLinear,
    out: QuantLinear,
    up: QuantLinear,
    down: QuantLinear,
    heads: usize,
}

impl TransformerLayer {
    fn new(width: usize, heads: usize, Quantizers { weights, activations }: &Quantizers, first: &FirstWeights) -> Self {
        let layer = |inputs, outputs| linear(inputs, outputs, weights.as_ref(), activations.as_ref(), first);
        Self {
            norms: vec![LayerNormConfig::new(width).init(&device()), LayerNormConfig::new(width).init(&device())],
            qkv: layer(width, 3 * width),
            out: layer(width, width),
            up: layer(width, 4 * width),
            down: layer(4 * width, width),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = attention(self.qkv.forward(self.norms[0].forward(x.clone())), self.heads);
        let x = x + self.out.forward(attended);
        let hidden: Tensor<3> = self.up.forward(self.norms[1].forward(x.clone()));
        x + self.down.forward(gelu(hidden))
    }
}

/// A vision transformer: a linear embedding of the patches, transformer layers, layer norm, mean over the patches, a linear
/// output; embedding and output keep float weights.
#[derive(Module, Debug)]
pub(crate) struct Vit {
    embedding: QuantLinear,
    layers: Vec<TransformerLayer>,
    norm: LayerNorm,
    output: QuantLinear,
}

impl Vit {
    /// For patches of so many values, with so many layers of this width.
    pub fn new(
        patch: usize,
        [width, heads, layers]: [usize; 3],
        quantizers: &Quantizers,
        first: &FirstWeights,
    ) -> Self {
        Self {
            embedding: linear(patch, width, None, None, first),
            layers: (0..layers).map(|_| TransformerLayer::new(width, heads, quantizers, first)).collect(),
            norm: LayerNormConfig::new(width).init(&device()),
            output: linear(width, CLASSES, None, None, first),
        }
    }

    /// Logits of patches `[batch, patches, values]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let x = self.layers.iter().fold(self.embedding.forward(x), |x, layer| layer.forward(x));
        let x = self.norm.forward(x);
        let [batch, _, width] = x.dims();
        self.output.forward(x.mean_dim(1).reshape([batch, width]))
    }
}
