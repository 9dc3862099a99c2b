//! A network of one's own, made of hardgrad's layers: trained with 4-bit weights and activations, packed, and shown to
//! be what was trained.
//!
//! `pack` says once more what `forward` does, layer by layer; the packed model runs in whole numbers, without Burn. Run
//! it:
//!
//! ```text
//! cargo run --release --example pack_layers
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use hardgrad::coded::CodedTensor;
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu,
};
use hardgrad::ops::max_pool2d;
use hardgrad::packing::{PackError, Packer};
use hardgrad::quantize::{QuantizeError, QuantizerConfig, StepClock};
use hardgrad::random::Random;
use hardgrad::runtime::{PackedModel, Pixels, first_difference, ops};

const SIZE: usize = 8;
const CLASSES: usize = SIZE;
const CHANNELS: usize = 8;
/// Bytes become values from 0 to 1.
const PIXELS: Pixels = Pixels { scale: 1.0 / 255.0, zero_point: 0 };

#[derive(Module, Debug)]
struct Model {
    convolution: QuantConv2d,
    norm: BatchNorm,
    relu: QuantRelu,
    output: QuantLinear,
}

impl Model {
    fn new(device: &Device) -> Result<Self, QuantizeError> {
        let (clock, seed) = (StepClock::default(), 0);
        let weights = QuantizerConfig::weights(4);
        let convolution = QuantConv2dConfig::new([1, CHANNELS], [3, 3]).with_padding([1, 1]);
        let convolution = convolution.init(&Random::new(seed, 0, 0), device);
        let output = QuantLinearConfig::new(CHANNELS * SIZE * SIZE / 4, CLASSES);
        let output = output.init(&Random::new(seed, 1, 0), device);
        Ok(Self {
            convolution: convolution.quantize(Some(&weights), None, &clock)?,
            norm: BatchNormConfig::new(CHANNELS).init(device),
            relu: QuantRelu::new().quantize(&QuantizerConfig::activations(4), &clock, device)?,
            output: output.quantize(Some(&weights), None, &clock)?,
        })
    }

    fn forward(&self, images: CodedTensor<4>) -> Tensor<2> {
        let x = self.convolution.forward(images);
        let x = self.norm.forward_relu(x, None, &self.relu);
        self.output.forward(max_pool2d(x, [2, 2], [2, 2]).flatten())
    }

    fn pack(&self, class_names: Vec<String>) -> Result<PackedModel, PackError> {
        let mut packer = Packer::new([1, SIZE, SIZE], PIXELS);
        let x = packer.input();
        let x = self.convolution.pack("convolution", &x, &mut packer)?;
        let x = self.norm.pack("norm", &x, &mut packer)?;
        let x = self.relu.pack("relu", &x, &mut packer)?;
        let x = packer.op("pool", ops::MaxPool2d::new([2, 2]), &[&x]);
        let x = packer.op("flatten", ops::Flatten {}, &[&x]);
        let x = self.output.pack("output", &x, &mut packer)?;
        packer.finish(&x, class_names)
    }
}

/// Noisy images of one bright row; the class is the row.
fn data(count: usize, seed: u64) -> (Vec<u8>, Vec<i64>) {
    let noise = Random::new(seed, 0, 1);
    let labels: Vec<i64> = (0..count).map(|image| (image % CLASSES) as i64).collect();
    let mut pixels: Vec<u8> = (0..count * SIZE * SIZE).map(|pixel| noise.below(pixel as u64, 100) as u8).collect();
    for (image, &label) in pixels.chunks_mut(SIZE * SIZE).zip(&labels) {
        image[label as usize * SIZE..][..SIZE].iter_mut().for_each(|pixel| *pixel += 100);
    }
    (pixels, labels)
}

/// Pixels stay bytes up to the first layer.
fn images(pixels: &[u8]) -> CodedTensor<4> {
    CodedTensor::from_bytes(pixels.to_vec(), [pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE], PIXELS)
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let mut model = Model::new(&device)?;
    let mut optimizer: ModuleOptimizer = AdamConfig::new().with_epsilon(1e-8).init();
    for step in 0..60 {
        let (pixels, labels) = data(64, step);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [64]), &Device::flex());
        let loss = CrossEntropyLossConfig::new().init(&device).forward(model.forward(images(&pixels)), labels);
        if step % 20 == 0 {
            println!("step {step}: loss {:.4}", loss.clone().inner().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }

    // What ships is the file; it is compared with the trained model on images that neither has seen.
    let model = model.valid();
    let file = model.pack((0..CLASSES).map(|row| format!("row {row}")).collect())?.to_bytes()?;
    let (pixels, labels) = data(256, 1000);
    let trained: Vec<f32> = model.forward(images(&pixels)).into_data().try_into_vec().map_err(|_| "logits are f32")?;
    let packed = PackedModel::from_bytes(&file)?.plan()?;
    let logits = packed.logits(&pixels)?;
    let largest = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let is_right = |&(row, &label): &(&[f32], &i64)| largest(row) == Some(label as usize);
    let correct = logits.chunks(CLASSES).zip(&labels).filter(is_right).count();
    println!("{correct} of {} images classified correctly by {} bytes", labels.len(), file.len());
    let comparison = first_difference(&trained, &logits, CLASSES);
    if !comparison.is_identical() {
        return Err(format!("the packed model is another: {comparison:?}").into());
    }
    println!("identical");
    Ok(())
}
