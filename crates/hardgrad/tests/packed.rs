//! The packed model computes what the trained model evaluates, to the last bit: every range method at every bit width.

mod drawn;

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use drawn::drawn;
use hardgrad::coded::{Activation, CodedTensor};
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu,
};
use hardgrad::ops::{avg_pool2d, max_pool2d};
use hardgrad::packing::Packer;
use hardgrad::quantize::{QuantizeError, QuantizerConfig, RangeMethod, Role, StepClock};
use hardgrad::random::Random;
use hardgrad::runtime::{PackedModel, Pixels, first_difference, ops};

const SIZE: usize = 9;
const CLASSES: usize = 5;
/// Combinations of bits, methods, channels and zero points that go together.
const POSSIBLE: usize = 114;
const PIXELS: Pixels = Pixels { scale: 0.0137, zero_point: 71 };

#[derive(Module, Debug)]
struct Net {
    first: QuantConv2d,
    norm: BatchNorm,
    second: QuantConv2d,
    output: QuantLinear,
}

impl Net {
    fn new(weights: &QuantizerConfig, activations: &QuantizerConfig, device: &Device) -> Self {
        let (clock, random) = (StepClock::default(), Random::new(0, 0, 0));
        let image = image_quantizer();
        let first = QuantConv2dConfig::new([1, 6], [3, 3]).with_padding([1, 2]).with_stride([1, 2]);
        let second = QuantConv2dConfig::new([6, 4], [3, 2]).with_groups(2).with_bias(true);
        let [first, second] = [first, second].map(|config| drawn(config.init(&random, device)));
        let output = drawn(QuantLinearConfig::new(4, CLASSES).init(&random, device));
        Self {
            first: first.quantize(Some(weights), Some(&image), &clock).unwrap(),
            norm: BatchNormConfig::new(6).init(device),
            second: second.quantize(Some(weights), Some(activations), &clock).unwrap(),
            output: output.quantize(Some(weights), Some(activations), &clock).unwrap(),
        }
    }

    fn forward(&self, x: impl Into<Activation<4>>) -> Tensor<2> {
        let x = relu(max_pool2d(self.norm.forward(self.first.forward(x)), [2, 2], [2, 2]).values());
        let x = self.second.forward(x);
        let [_, _, height, width] = x.dims();
        self.output.forward(avg_pool2d(x, [height, width], [1, 1]).flatten())
    }

    fn calibrate(&mut self, x: Tensor<4>) -> Result<(), QuantizeError> {
        let x = relu(max_pool2d(self.norm.forward(self.first.forward(x)), [2, 2], [2, 2]).values());
        self.second.calibrate(&x)?;
        let x = self.second.forward(x);
        let [_, _, height, width] = x.dims();
        self.output.calibrate(&avg_pool2d(x, [height, width], [1, 1]).flatten().values())
    }

    fn pack(&self) -> PackedModel {
        let mut packer = Packer::new([1, SIZE, SIZE], PIXELS);
        let x = self.first.pack("first", &packer.input(), &mut packer).unwrap();
        let x = self.norm.pack("norm", &x, &mut packer).unwrap();
        let x = packer.op("pool", pool(), &[&x]);
        let x = packer.op("relu", ops::Relu {}, &[&x]);
        let x = self.second.pack("second", &x, &mut packer).unwrap();
        let x = packer.op("mean", ops::AvgPool2d::new([2, 2]), &[&x]);
        let x = packer.op("flatten", ops::Flatten {}, &[&x]);
        let x = self.output.pack("output", &x, &mut packer).unwrap();
        packer.finish(&x, class_names(CLASSES)).unwrap()
    }
}

fn pool() -> ops::MaxPool2d {
    ops::MaxPool2d::new([2, 2])
}

fn class_names(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// Takes the pixels of the images as they are.
fn image_quantizer() -> QuantizerConfig {
    QuantizerConfig {
        range: RangeMethod::Fixed,
        fixed_scale: PIXELS.scale,
        fixed_zero_point: i32::from(PIXELS.zero_point),
        ..QuantizerConfig::activations(8)
    }
}

fn images(count: usize, seed: u64) -> Vec<u8> {
    let random = Random::new(seed, 0, 0);
    (0..count * SIZE * SIZE).map(|i| random.below(i as u64, 256) as u8).collect()
}

fn coded(pixels: &[u8]) -> CodedTensor<4> {
    CodedTensor::from_bytes(pixels.to_vec(), [pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE], PIXELS)
}

fn inputs(pixels: &[u8], device: &Device) -> Tensor<4> {
    let value = |pixel: &u8| (f32::from(*pixel) - f32::from(PIXELS.zero_point)) * PIXELS.scale;
    let values: Vec<f32> = pixels.iter().map(value).collect();
    Tensor::from_data(TensorData::new(values, [pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE]), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec().unwrap()
}

/// Trains a little (so that statistics and ranges move), packs, and compares all outputs.
fn check(weights: &QuantizerConfig, activations: &QuantizerConfig) {
    let device = Device::flex().autodiff();
    let mut net = Net::new(weights, activations, &device);
    let sample = images(40, 1);
    let mut plain = net.valid();
    plain.calibrate(inputs(&sample, &Device::flex())).unwrap();
    net = plain.train();
    for step in 0..3 {
        let logits = net.forward(inputs(&images(40, 10 + step), &Device::flex()));
        let mut gradients = burn::optim::GradientsParams::from_grads(logits.square().mean().backward(), &net);
        let gradients = hardgrad::parameters::gradients(&net, &mut gradients);
        net = hardgrad::parameters::update(net, |name, _, values| {
            if let Some((_, gradient)) = gradients.iter().find(|(of, _)| of == name) {
                values.iter_mut().zip(gradient).for_each(|(value, gradient)| *value -= 0.01 * gradient);
            }
        });
    }
    let pixels = images(64, 2);
    let trained = floats(net.valid().forward(inputs(&pixels, &Device::flex())));
    // Pixels that come as bytes are the same pixels.
    assert_eq!(trained, floats(net.valid().forward(coded(&pixels))));
    let comparison = first_difference(&trained, &packed_logits(&net.pack(), &pixels), CLASSES);
    assert!(comparison.is_identical(), "{weights:?} {activations:?}: {comparison:?}");
    let varied = trained.chunks(CLASSES).any(|row| row != &trained[..CLASSES]);
    // So few levels may leave nothing; elsewhere the images must make a difference.
    assert!(varied || weights.bits < 3 || activations.bits < 3, "{weights:?} {activations:?}: all outputs are equal");
}

/// The logits of a model that has been a file.
fn packed_logits(model: &PackedModel, pixels: &[u8]) -> Vec<f32> {
    let bytes = model.to_bytes().unwrap();
    PackedModel::from_bytes(&bytes).unwrap().plan().unwrap().logits(pixels).unwrap()
}

#[test]
fn every_range_method_at_every_bit_width() {
    use RangeMethod::*;
    let mut checked = 0;
    for bits in 1..=8 {
        for (weight_range, activation_range) in
            [(Lsq, Lsq), (MinMax, MinMax), (MinMax, MovingAverage), (Fixed, Fixed), (Dorefa, Dorefa), (MinMax, Pact)]
        {
            for (per_channel, zero_point) in [(false, false), (true, false), (true, true), (false, true)] {
                let set = |config: QuantizerConfig, range, role| {
                    let per_channel = per_channel && role == Role::Weight;
                    QuantizerConfig { range, per_channel, zero_point, fixed_scale: 0.07, ..config }
                };
                let weights = set(QuantizerConfig::weights(bits), weight_range, Role::Weight);
                let activations = set(QuantizerConfig::activations(bits), activation_range, Role::Activation);
                let possible = weights.check(Role::Weight).is_ok() && activations.check(Role::Activation).is_ok();
                if possible {
                    check(&weights, &activations);
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, POSSIBLE);
}

#[test]
fn signed_and_narrow_activations_and_mixed_bits() {
    for (weight_bits, activation_bits) in [(2, 8), (8, 2), (3, 5), (8, 8)] {
        for narrow in [false, true] {
            let weights = QuantizerConfig { narrow, ..QuantizerConfig::weights(weight_bits) };
            let activations = QuantizerConfig { signed: true, narrow, ..QuantizerConfig::activations(activation_bits) };
            check(&weights, &activations);
        }
    }
}

#[test]
fn training_and_evaluation_forward_passes_are_the_same_function() {
    // Without batch norm, whose training form differs on purpose.
    let device = Device::flex().autodiff();
    let clock = StepClock::default();
    let layer = drawn(QuantConv2dConfig::new([1, 4], [3, 3]).init(&Random::new(0, 0, 0), &device));
    let layer =
        layer.quantize(Some(&QuantizerConfig::weights(4)), Some(&QuantizerConfig::activations(4)), &clock).unwrap();
    let x = inputs(&images(5, 3), &Device::flex());
    let training = floats(layer.forward(Tensor::from_inner(x.clone())));
    assert_eq!(training, floats(layer.valid().forward(x)));
}

/// Two convolutions with a shortcut, quantised behind each ReLU: batch norm, addition, ReLU and quantiser are one
/// operator here, and four nodes in the packed model.
#[derive(Module, Debug)]
struct Residual {
    convolutions: Vec<QuantConv2d>,
    norms: Vec<BatchNorm>,
    relus: Vec<QuantRelu>,
    output: QuantLinear,
}

impl Residual {
    fn new(weights: Option<&QuantizerConfig>, activations: Option<&QuantizerConfig>) -> Self {
        let (clock, device) = (StepClock::default(), Device::flex());
        let random = |place| Random::new(3, place, 0);
        let convolution = |place, channels| {
            let layer = QuantConv2dConfig::new(channels, [3, 3]).with_padding([1, 1]).init(&random(place), &device);
            layer.quantize(weights, None, &clock).unwrap()
        };
        let relu = || match activations {
            Some(config) => QuantRelu::new().quantize(config, &clock, &device).unwrap(),
            None => QuantRelu::new(),
        };
        let output = QuantLinearConfig::new(4 * (SIZE / 2) * (SIZE / 2), CLASSES).init(&random(2), &device);
        Self {
            convolutions: vec![convolution(0, [1, 4]), convolution(1, [4, 4])],
            norms: vec![BatchNormConfig::new(4).init(&device), BatchNormConfig::new(4).init(&device)],
            relus: vec![relu(), relu()],
            output: output.quantize(weights, None, &clock).unwrap(),
        }
        .trained()
    }

    /// With statistics, factors and shifts as after some training.
    fn trained(self) -> Self {
        hardgrad::parameters::update_some(
            self,
            |name| name.starts_with("norms."),
            |name, _, values| {
                let first = match name.rsplit('.').next() {
                    Some("gamma") => 1.2,
                    Some("running_variance") => 0.6,
                    _ => -0.1,
                };
                values.iter_mut().enumerate().for_each(|(place, value)| *value = first + 0.1 * place as f32);
            },
        )
    }

    fn forward(&self, x: CodedTensor<4>) -> Tensor<2> {
        let x = self.norms[0].forward_relu(self.convolutions[0].forward(x), None, &self.relus[0]);
        let x = self.norms[1].forward_relu(self.convolutions[1].forward(x.clone()), Some(x), &self.relus[1]);
        self.output.forward(max_pool2d(x, [2, 2], [2, 2]).flatten())
    }

    fn pack(&self) -> PackedModel {
        let mut packer = Packer::new([1, SIZE, SIZE], PIXELS);
        let x = self.convolutions[0].pack("conv1", &packer.input(), &mut packer).unwrap();
        let x = self.norms[0].pack("norm1", &x, &mut packer).unwrap();
        let shortcut = self.relus[0].pack("relu1", &x, &mut packer).unwrap();
        let x = self.convolutions[1].pack("conv2", &shortcut, &mut packer).unwrap();
        let x = self.norms[1].pack("norm2", &x, &mut packer).unwrap();
        let x = packer.op("add", ops::Add {}, &[&x, &shortcut]);
        let x = self.relus[1].pack("relu2", &x, &mut packer).unwrap();
        let x = packer.op("pool", pool(), &[&x]);
        let x = packer.op("flatten", ops::Flatten {}, &[&x]);
        let x = self.output.pack("output", &x, &mut packer).unwrap();
        packer.finish(&x, class_names(CLASSES)).unwrap()
    }
}

#[test]
fn fused_chains_are_the_nodes_that_they_stand_for_in_codes_and_in_floats() {
    let pixels = images(64, 4);
    for (weight_bits, activation_bits) in [(Some(2), Some(2)), (Some(4), Some(8)), (None, Some(4)), (None, None)] {
        let weights = weight_bits.map(QuantizerConfig::weights);
        let activations = activation_bits.map(QuantizerConfig::activations);
        let net = Residual::new(weights.as_ref(), activations.as_ref());
        let evaluated = floats(net.forward(coded(&pixels)));
        let comparison = first_difference(&evaluated, &packed_logits(&net.pack(), &pixels), CLASSES);
        assert!(comparison.is_identical(), "{weight_bits:?} {activation_bits:?}: {comparison:?}");
        assert!(evaluated.chunks(CLASSES).any(|row| row != &evaluated[..CLASSES]), "all outputs are equal");
    }
}
