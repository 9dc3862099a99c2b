//! The packed model computes what the trained model evaluates, to the last bit: every range method at every bit width.

mod drawn;

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use drawn::drawn;
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, PackError, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig,
};
use hardgrad::ops::{Conv2dOptions, avg_pool2d, max_pool2d};
use hardgrad::quantize::{QuantizeError, Quantizer, QuantizerConfig, RangeMethod, Role, StepClock};
use hardgrad_kernels::images::PixelScale;
use hardgrad_kernels::random::Random;
use hardgrad_runtime::{Input, InputQuantizer, Layer, LayerKind, PackedModel, first_difference};

const SIZE: usize = 9;
const CLASSES: usize = 5;
/// Combinations of bits, methods, channels and zero points that go together.
const POSSIBLE: usize = 114;
const PIXELS: PixelScale = PixelScale { scale: 0.0137, zero_point: 71 };

#[derive(Module, Debug)]
struct Net {
    first: QuantConv2d,
    norm: BatchNorm,
    second: QuantConv2d,
    output: QuantLinear,
}

impl Net {
    fn new(weights: &QuantizerConfig, activations: &QuantizerConfig, device: &Device) -> Self {
        let clock = StepClock::default();
        let image = image_quantizer();
        let options = Conv2dOptions { padding: [1, 2], stride: [1, 2], ..Conv2dOptions::default() };
        let first = QuantConv2dConfig { options, ..QuantConv2dConfig::new([1, 6], [3, 3]) };
        let grouped = Conv2dOptions { groups: 2, ..Conv2dOptions::default() };
        let second = QuantConv2dConfig { options: grouped, bias: true, ..QuantConv2dConfig::new([6, 4], [3, 2]) };
        let [first, second] = [first, second].map(|config| drawn(config.init(device)));
        let output = drawn(QuantLinearConfig::new(4, CLASSES).init(device));
        Self {
            first: first.quantize(Some(weights), Some(&image), &clock).unwrap(),
            norm: BatchNormConfig::new(6).init(device),
            second: second.quantize(Some(weights), Some(activations), &clock).unwrap(),
            output: output.quantize(Some(weights), Some(activations), &clock).unwrap(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(max_pool2d(self.norm.forward(self.first.forward(x)), [2, 2], [2, 2]).values());
        let x = self.second.forward(x);
        let [_, _, height, width] = x.dims();
        let x = avg_pool2d(x, [height, width], [1, 1]);
        self.output.forward(x.flatten(1, 3))
    }

    fn calibrate(&mut self, x: Tensor<4>) -> Result<(), QuantizeError> {
        let x = relu(max_pool2d(self.norm.forward(self.first.forward(x)), [2, 2], [2, 2]).values());
        self.second.calibrate(&x)?;
        let x = self.second.forward(x);
        let [_, _, height, width] = x.dims();
        self.output.calibrate::<2>(&avg_pool2d(x, [height, width], [1, 1]).flatten(1, 3))
    }

    fn pack(&self) -> PackedModel {
        let layer = |name: &str, kind| Layer { name: name.to_string(), kind };
        let image = self.first.input_quantizer.as_ref().unwrap();
        let input = image.pixel_input("first", [1, SIZE, SIZE]).unwrap();
        let second = self.second.pack("second", None).unwrap();
        let layers = vec![
            layer("first", self.first.pack("first", Some(&input)).unwrap()),
            layer("norm", self.norm.pack()),
            layer("pool", LayerKind::MaxPool2d { kernel: [2, 2], stride: [2, 2] }),
            layer("relu", LayerKind::Relu),
            layer("second", second),
            layer("mean", LayerKind::AvgPool2d { kernel: [2, 2], stride: [1, 1] }),
            layer("flatten", LayerKind::Flatten),
            layer("output", self.output.pack("output", None).unwrap()),
        ];
        PackedModel::new(input, (0..CLASSES).map(|class| class.to_string()).collect(), layers).unwrap()
    }
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

fn inputs(pixels: &[u8], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = pixels.iter().map(|&pixel| PIXELS.apply(pixel)).collect();
    Tensor::from_data(TensorData::new(values, [pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE]), device)
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
    let trained: Vec<f32> = net.valid().forward(inputs(&pixels, &Device::flex())).into_data().try_into_vec().unwrap();
    let bytes = net.pack().to_bytes().unwrap();
    let packed = PackedModel::from_bytes(&bytes).unwrap().plan().unwrap().logits(&pixels).unwrap();
    let comparison = first_difference(&trained, &packed, CLASSES);
    assert!(comparison.is_identical(), "{weights:?} {activations:?}: {comparison:?}");
    let varied = trained.chunks(CLASSES).any(|row| row != &trained[..CLASSES]);
    // So few levels may leave nothing; elsewhere the images must make a difference.
    assert!(varied || weights.bits < 3 || activations.bits < 3, "{weights:?} {activations:?}: all outputs are equal");
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
    let layer = drawn(QuantConv2dConfig::new([1, 4], [3, 3]).init(&device));
    let layer =
        layer.quantize(Some(&QuantizerConfig::weights(4)), Some(&QuantizerConfig::activations(4)), &clock).unwrap();
    let x = inputs(&images(5, 3), &Device::flex());
    let floats = |y: Tensor<4>| y.inner().into_data().try_into_vec::<f32>().unwrap();
    let training = floats(layer.forward(Tensor::from_inner(x.clone())));
    assert_eq!(training, floats(layer.valid().forward(x)));
}

#[test]
fn layers_without_a_packed_form_say_why() {
    let device = Device::flex();
    let clock = StepClock::default();
    let linear = || drawn(QuantLinearConfig::new(3, 2).init(&device));
    let (weights, activations) = (QuantizerConfig::weights(4), QuantizerConfig::activations(4));
    let error = linear().pack("hidden.0", None).unwrap_err().to_string();
    assert!(error.contains("hidden.0") && error.contains("weight is not quantised"), "{error}");
    let half = linear().quantize(Some(&weights), None, &clock).unwrap();
    assert!(half.pack("x", None).unwrap_err().to_string().contains("input is not quantised"));
    let seen = QuantizerConfig { range: RangeMethod::MinMax, ..activations.clone() };
    let unseen = linear().quantize(Some(&weights), Some(&seen), &clock).unwrap();
    assert_eq!(unseen.pack("x", None).unwrap_err(), PackError::Unset { layer: "x".into() });
    // The quantiser of a weight is not one of activations.
    let mut swapped = linear().quantize(Some(&weights), None, &clock).unwrap();
    swapped.input_quantizer = swapped.weight.reparameterization::<Quantizer>().cloned();
    assert_eq!(swapped.pack("x", None).unwrap_err(), PackError::WeightQuantizer { layer: "x".into() });
    let late = QuantizerConfig { delay: 3, ..weights };
    let waiting = linear().quantize(Some(&late), Some(&activations), &clock).unwrap();
    assert!(waiting.pack("x", None).unwrap_err().to_string().contains("delay"));
    clock.set(3);
    assert!(waiting.pack("x", None).is_ok());
}

#[test]
fn a_first_layer_reads_the_pixels_it_was_trained_with_or_is_refused() {
    let device = Device::flex();
    let clock = StepClock::default();
    let layer = |input: &QuantizerConfig| {
        let layer = drawn(QuantLinearConfig::new(SIZE * SIZE, 2).init(&device));
        layer.quantize(Some(&QuantizerConfig::weights(4)), Some(input), &clock).unwrap()
    };
    let right = Input { channels: 1, height: SIZE, width: SIZE, scale: PIXELS.scale, zero_point: PIXELS.zero_point };
    let first = layer(&image_quantizer());
    let own = first.input_quantizer.as_ref().unwrap().pixel_input("first", [1, SIZE, SIZE]).unwrap();
    assert_eq!(own, right);
    let LayerKind::Linear { input, .. } = first.pack("first", Some(&right)).unwrap() else { panic!("a linear layer") };
    assert_eq!(input, InputQuantizer::Pixels);
    let next = f32::from_bits(PIXELS.scale.to_bits() + 1);
    for other in [Input { scale: next, ..right.clone() }, Input { zero_point: PIXELS.zero_point - 1, ..right.clone() }]
    {
        let error = first.pack("first", Some(&other)).unwrap_err();
        assert!(matches!(error, PackError::OtherPixels { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("first") && error.contains("0.0137") && error.contains("71"), "{error}");
        assert!(error.contains("pixel_input"), "{error}");
    }
    let unfit = [
        QuantizerConfig::activations(4),
        QuantizerConfig { range: RangeMethod::Dorefa, ..QuantizerConfig::activations(8) },
        QuantizerConfig { signed: true, fixed_zero_point: 0, ..image_quantizer() },
    ];
    for config in unfit {
        let fits = config.signed;
        let found = layer(&config).pack("first", Some(&right));
        match found.unwrap_err() {
            // Signed codes without a zero point are those of pixels whose 128 is 0.
            PackError::OtherPixels { zero_point, .. } => assert!(fits && zero_point == 128),
            error => assert!(!fits && matches!(error, PackError::NotPixels { .. }), "{error}"),
        }
    }
}
