//! A model of stock Burn layers, trained in float, is quantised, trained on, packed and verified.
//!
//! A description says which layers there are and how they are connected; its node names are the field names of the
//! stock model, whose values are taken over by name. Rules say how many bits the nodes get. Run it:
//!
//! ```text
//! cargo run --release --example pack_stock_model
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use hardgrad::coded::CodedTensor;
use hardgrad::network::Network;
use hardgrad::quantize::StepClock;
use hardgrad::random::Random;
use hardgrad::runtime::{Description, INPUT, InputShape, Node, Op, PackedModel, Pixels, Rule, first_difference, ops};

const SIZE: usize = 8;
const CLASSES: usize = SIZE;
const CHANNELS: usize = 8;
/// Images of a batch.
const BATCH: usize = 64;
/// Bytes become values from 0 to 1.
const PIXELS: Pixels = Pixels { scale: 1.0 / 255.0, zero_point: 0 };

#[derive(Module, Debug)]
struct Stock {
    conv1: Conv2d,
    norm1: BatchNorm,
    output: Linear,
}

impl Stock {
    fn new(device: &Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, CHANNELS], [3, 3]).with_bias(false).init(device),
            norm1: BatchNormConfig::new(CHANNELS).init(device),
            output: LinearConfig::new(CHANNELS * 3 * 3, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm1.forward(self.conv1.forward(images)));
        let x = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(x);
        self.output.forward(x.flatten(1, 3))
    }
}

/// The same network as data.
fn description() -> Description {
    let nodes: [(&str, Op); 6] = [
        ("conv1", ops::Conv2d { bias: false, ..ops::Conv2d::new(CHANNELS, [3, 3]) }.into()),
        ("norm1", ops::BatchNorm::default().into()),
        ("relu1", ops::Relu {}.into()),
        ("pool1", ops::MaxPool2d::new([2, 2]).into()),
        ("flatten", ops::Flatten {}.into()),
        ("output", ops::Linear::new(CLASSES).into()),
    ];
    // Each node reads the one before it.
    let mut last = INPUT.to_string();
    let nodes = nodes.into_iter().map(|(name, op)| {
        let input = std::mem::replace(&mut last, name.to_string());
        Node { name: name.to_string(), op, inputs: vec![input] }
    });
    Description { input: InputShape { shape: vec![1, SIZE, SIZE] }, nodes: nodes.collect(), rules: Vec::new() }
}

/// Noisy images of one bright row; the class is the row.
fn data(count: usize, seed: u64) -> (Vec<u8>, Tensor<1, Int>) {
    let noise = Random::new(seed, 0, 0);
    let labels: Vec<i64> = (0..count).map(|image| (image % CLASSES) as i64).collect();
    let mut pixels: Vec<u8> = (0..count * SIZE * SIZE).map(|pixel| noise.below(pixel as u64, 100) as u8).collect();
    for (image, &label) in pixels.chunks_mut(SIZE * SIZE).zip(&labels) {
        image[label as usize * SIZE..][..SIZE].iter_mut().for_each(|pixel| *pixel += 100);
    }
    (pixels, Tensor::from_data(TensorData::new(labels, [count]), &Device::flex()))
}

/// Pixels stay bytes up to the first layer.
fn images(pixels: &[u8]) -> CodedTensor<4> {
    CodedTensor::from_bytes(pixels.to_vec(), [pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE], PIXELS)
}

/// Trains any module with Burn's Adam.
fn train<M: Module>(mut model: M, steps: u64, rate: f64, forward: impl Fn(&M, &[u8]) -> Tensor<2>) -> M {
    let mut optimizer: ModuleOptimizer = AdamConfig::new().with_epsilon(1e-8).init();
    for step in 0..steps {
        let (pixels, labels) = data(BATCH, step);
        let logits = forward(&model, &pixels);
        let loss = CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels);
        if step + 1 == steps {
            println!("step {step}: loss {:.4}", loss.clone().inner().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model, gradients);
    }
    model
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(0);
    // Burn's batch norm trains where its input is on the tape.
    let on_tape = |pixels: &[u8]| Tensor::<4>::from_inner(images(pixels).decode());
    let stock = train(Stock::new(&device), 40, 0.01, |model, pixels| model.forward(on_tape(pixels)));

    // Two bits for weights and activations, eight for the weights of the output.
    let rules = [
        Rule { weight_bits: Some(2), activation_bits: Some(2), ..Rule::all() },
        Rule { nodes: "output".into(), weight_bits: Some(8), ..Rule::all() },
    ];
    let network = Network::from_module(&description(), &stock)?.quantize(&rules, &StepClock::default())?;
    let (network, problems) = network.calibrate(images(&data(256, 500).0));
    if let Some((name, problem)) = problems.into_iter().next() {
        return Err(format!("{name}: {problem}").into());
    }
    let network = train(network, 60, 0.005, |network, pixels| network.forward(images(pixels)));

    let class_names = (0..CLASSES).map(|row| format!("row {row}")).collect();
    let file = network.pack(PIXELS, class_names)?.to_bytes()?;
    let (pixels, labels) = data(256, 1000);
    let evaluated = network.valid().forward(images(&pixels));
    let correct = evaluated.clone().argmax(1).squeeze_dim::<1>(1).equal(labels).int().sum().into_scalar::<i64>();
    let evaluated: Vec<f32> = evaluated.into_data().try_into_vec().map_err(|_| "logits are f32")?;
    let packed = PackedModel::from_bytes(&file)?.plan()?.logits(&pixels)?;
    println!("{correct} of 256 images classified correctly by {} bytes", file.len());
    let comparison = first_difference(&evaluated, &packed, CLASSES);
    if !comparison.is_identical() {
        return Err(format!("the packed model is another: {comparison:?}").into());
    }
    println!("identical");
    Ok(())
}
