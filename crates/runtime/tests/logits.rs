//! Logits against a slow implementation that shares no code with the executor.

mod common;

use common::{Draw, every_kind, example};
use hardgrad_runtime::{
    Input, InputQuantizer, Layer, LayerKind, PackedError, PackedModel, QuantizeRule, Weight, first_difference,
};
use proptest::prelude::*;

/// Values of one image with their shape [channels, height, width].
struct Planes {
    values: Vec<f32>,
    sizes: [usize; 3],
}

fn integers(planes: &Planes, quantizer: &InputQuantizer, input: &Input, pixels: &[u8]) -> (Vec<i64>, f32) {
    match *quantizer {
        InputQuantizer::Pixels => {
            let zero_point = i64::from(input.zero_point);
            (pixels.iter().map(|&pixel| i64::from(pixel) - zero_point).collect(), input.scale)
        }
        InputQuantizer::Levels { lowest, highest, scale, rule, .. } => {
            let quantize = |&x: &f32| {
                let ratio = match rule {
                    QuantizeRule::Divide => x / scale,
                    QuantizeRule::Multiply { factor } => x * factor,
                };
                (ratio.round_ties_even() as i64).clamp(lowest.into(), highest.into())
            };
            (planes.values.iter().map(quantize).collect(), scale)
        }
    }
}

fn real(sum: i64, channel: usize, input_scale: f32, weight: &Weight, bias: &Option<Vec<f32>>) -> f32 {
    let scale = input_scale * weight.scale[channel % weight.scale.len()];
    let y = sum as f32 * scale;
    bias.as_ref().map_or(y, |bias| y + bias[channel])
}

fn weight_at(weight: &Weight, index: usize) -> i64 {
    let first = weight.first[index / (weight.codes.len() / weight.first.len())];
    i64::from(first) + i64::from(weight.step) * i64::from(weight.codes[index])
}

fn pool(planes: &Planes, kernel: [usize; 2], stride: [usize; 2], combine: impl Fn(&[f32]) -> f32) -> Planes {
    let [channels, height, width] = planes.sizes;
    let sizes = [channels, (height - kernel[0]) / stride[0] + 1, (width - kernel[1]) / stride[1] + 1];
    let mut values = Vec::new();
    for channel in 0..channels {
        for y in 0..sizes[1] {
            for x in 0..sizes[2] {
                let mut window = Vec::new();
                for i in 0..kernel[0] {
                    for j in 0..kernel[1] {
                        window.push(planes.values[(channel * height + y * stride[0] + i) * width + x * stride[1] + j]);
                    }
                }
                values.push(combine(&window));
            }
        }
    }
    Planes { values, sizes }
}

fn reference(model: &PackedModel, pixels: &[u8]) -> Vec<f32> {
    let input = &model.input;
    let real_pixel = |&pixel: &u8| (i32::from(pixel) - i32::from(input.zero_point)) as f32 * input.scale;
    let mut planes =
        Planes { values: pixels.iter().map(real_pixel).collect(), sizes: [input.channels, input.height, input.width] };
    for layer in &model.layers {
        let [channels, height, width] = planes.sizes;
        planes = match &layer.kind {
            LayerKind::Conv2d {
                weight,
                input: quantizer,
                bias,
                channels_in,
                channels_out,
                kernel,
                stride,
                padding,
                dilation,
                groups,
            } => {
                let (v, input_scale) = integers(&planes, quantizer, input, pixels);
                let out = |axis: usize, size: usize| {
                    (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
                };
                let sizes = [*channels_out, out(0, height), out(1, width)];
                let (group_in, group_out) = (channels_in / groups, channels_out / groups);
                let mut values = Vec::new();
                for o in 0..sizes[0] {
                    for y in 0..sizes[1] as i64 {
                        for x in 0..sizes[2] as i64 {
                            let mut sum = 0;
                            for c in 0..group_in {
                                for i in 0..kernel[0] {
                                    for j in 0..kernel[1] {
                                        let row = y * stride[0] as i64 + (i * dilation[0]) as i64 - padding[0] as i64;
                                        let column =
                                            x * stride[1] as i64 + (j * dilation[1]) as i64 - padding[1] as i64;
                                        if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                                            let plane = o / group_out * group_in + c;
                                            let at = (plane * height + row as usize) * width + column as usize;
                                            let tap = ((o * group_in + c) * kernel[0] + i) * kernel[1] + j;
                                            sum += v[at] * weight_at(weight, tap);
                                        }
                                    }
                                }
                            }
                            values.push(real(sum, o, input_scale, weight, bias));
                        }
                    }
                }
                Planes { values, sizes }
            }
            LayerKind::Linear { weight, input: quantizer, bias, inputs, outputs } => {
                let (v, input_scale) = integers(&planes, quantizer, input, pixels);
                let value = |o: usize| {
                    let sum = (0..*inputs).map(|k| v[k] * weight_at(weight, o * inputs + k)).sum();
                    real(sum, o, input_scale, weight, bias)
                };
                Planes { values: (0..*outputs).map(value).collect(), sizes: [*outputs, 1, 1] }
            }
            LayerKind::BatchNorm { multiplier, offset } => {
                let plane = height * width;
                let value = |(i, x): (usize, &f32)| {
                    let product = x * multiplier[i / plane];
                    product + offset[i / plane]
                };
                Planes { values: planes.values.iter().enumerate().map(value).collect(), sizes: planes.sizes }
            }
            LayerKind::Relu => {
                let value = |&x: &f32| if x > 0.0 { x } else { 0.0 };
                Planes { values: planes.values.iter().map(value).collect(), sizes: planes.sizes }
            }
            LayerKind::MaxPool2d { kernel, stride } => {
                pool(&planes, *kernel, *stride, |window| window.iter().copied().reduce(f32::max).unwrap())
            }
            LayerKind::AvgPool2d { kernel, stride } => pool(&planes, *kernel, *stride, |window| {
                let sum = window.iter().fold(0.0, |sum, x| sum + x);
                sum / window.len() as f32
            }),
            LayerKind::Flatten => Planes { values: planes.values, sizes: [channels * height * width, 1, 1] },
        };
    }
    planes.values
}

#[test]
fn the_executor_equals_the_slow_implementation_in_every_bit() {
    let (mut varied, mut asymmetric) = (0, 0);
    for bits in 1..=8 {
        for seed in 0..12 {
            let model = every_kind(bits, seed * 8 + u64::from(bits));
            let image = model.input.channels * model.input.height * model.input.width;
            let pixels = Draw::new(!seed).pixels(19 * image);
            let expected: Vec<f32> = pixels.chunks(image).flat_map(|pixels| reference(&model, pixels)).collect();
            let logits = model.plan().unwrap().logits(&pixels).unwrap();
            let comparison = first_difference(&logits, &expected, 3);
            assert!(comparison.is_identical(), "bits {bits}, seed {seed}: {comparison:?}");
            varied += usize::from(logits.chunks(3).any(|row| row != &logits[..3]));
            asymmetric += usize::from(model.layers.iter().any(|layer| match &layer.kind {
                LayerKind::Conv2d { weight, .. } | LayerKind::Linear { weight, .. } => weight.first.len() > 1,
                _ => false,
            }));
        }
    }
    // Models whose logits do not depend on the image prove little.
    assert!(varied > 70, "only {varied} of 96 models give logits that depend on the image");
    assert!(asymmetric > 48, "only {asymmetric} of 96 models have a weight with a first number a channel");
}

#[test]
fn each_output_channel_has_its_own_first_number() {
    let weight = |first: &[i32]| Weight {
        bits: 2,
        first: first.to_vec(),
        step: 1,
        codes: vec![0, 1, 2, 3, 3, 0, 0, 0],
        scale: vec![1.0],
    };
    let run = |kinds: [LayerKind; 2]| {
        let input = Input { channels: 1, height: 2, width: 2, scale: 1.0, zero_point: 0 };
        let named = |kind: LayerKind| Layer { name: kind.name().into(), kind };
        let model = PackedModel::new(input, vec!["a".into(), "b".into()], kinds.map(named).to_vec()).unwrap();
        assert_eq!(PackedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
        let logits = model.plan().unwrap().logits(&[1, 10, 0, 100]).unwrap();
        assert!(first_difference(&logits, &reference(&model, &[1, 10, 0, 100]), 2).is_identical());
        logits
    };
    // The codes give 310 and 3; each step down of the first number takes away 111.
    for (first, expected) in
        [(&[0][..], [310.0, 3.0]), (&[-1], [199.0, -108.0]), (&[0, -2], [310.0, -219.0]), (&[-3, 1], [-23.0, 114.0])]
    {
        let input = InputQuantizer::Pixels;
        let linear =
            LayerKind::Linear { weight: weight(first), input: input.clone(), bias: None, inputs: 4, outputs: 2 };
        let conv = LayerKind::Conv2d {
            weight: weight(first),
            input,
            bias: None,
            channels_in: 1,
            channels_out: 2,
            kernel: [2, 2],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        };
        assert_eq!(run([LayerKind::Flatten, linear]), expected, "{first:?}");
        assert_eq!(run([conv, LayerKind::Flatten]), expected, "{first:?}");
    }
}

#[test]
fn real_layers_may_come_before_the_first_products() {
    let mut model = every_kind(4, 3);
    let LayerKind::Conv2d { input, .. } = &mut model.layers[0].kind else { panic!() };
    *input = InputQuantizer::Levels { bits: 5, lowest: -16, highest: 15, scale: 0.01, rule: QuantizeRule::Divide };
    let kind = LayerKind::BatchNorm { multiplier: vec![0.5, 2.0], offset: vec![-0.1, 0.1] };
    model.layers.insert(0, Layer { name: "normalise".into(), kind });
    let pixels = Draw::new(5).pixels(2 * 11 * 9);
    let logits = model.plan().unwrap().logits(&pixels).unwrap();
    assert!(first_difference(&logits, &reference(&model, &pixels), 3).is_identical());
}

#[test]
fn one_thread_and_two_and_one_image_at_a_time_give_the_same_bytes() {
    let model = every_kind(3, 7);
    let executor = model.plan().unwrap();
    let image = 2 * 11 * 9;
    let pixels = Draw::new(9).pixels(50 * image);
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| executor.logits(&pixels).unwrap())
    };
    let one = with_threads(1);
    assert!(first_difference(&one, &with_threads(2), 3).is_identical());
    let alone: Vec<f32> = pixels.chunks(image).flat_map(|pixels| executor.logits(pixels).unwrap()).collect();
    assert!(first_difference(&one, &alone, 3).is_identical());
}

#[test]
fn probabilities_are_the_softmax_of_the_logits() {
    let executor = example().plan().unwrap();
    let pixels = [0, 255, 0, 0, 0, 255, 9, 9, 9, 255, 0, 0, 0, 255, 0, 0, 0, 255];
    let (logits, probabilities) = (executor.logits(&pixels).unwrap(), executor.predict(&pixels).unwrap());
    for (logits, probabilities) in logits.chunks(2).zip(probabilities.chunks(2)) {
        let expected = 1.0 / (1.0 + f64::from(logits[1] - logits[0]).exp());
        assert!((f64::from(probabilities[0]) - expected).abs() < 1e-6);
        assert!((probabilities[0] + probabilities[1] - 1.0).abs() < 1e-6);
    }
}

#[test]
fn pixels_must_be_whole_images() {
    let executor = example().plan().unwrap();
    let error = executor.logits(&[0; 10]).unwrap_err().to_string();
    assert_eq!(error, "10 pixels are not a whole number of images of 9 pixels");
    assert!(executor.logits(&[]).unwrap().is_empty());
}

/// Two classes of images of 1 x 2 pixels, their difference as the first logit, then layers of one factor a class.
fn amplified(multipliers: &[[f32; 2]]) -> PackedModel {
    let weight = Weight { bits: 1, first: vec![-1], step: 2, codes: vec![1, 0, 0, 1], scale: vec![0.5] };
    let linear = LayerKind::Linear { weight, input: InputQuantizer::Pixels, bias: None, inputs: 2, outputs: 2 };
    let norm = |multiplier: &[f32; 2]| LayerKind::BatchNorm { multiplier: multiplier.to_vec(), offset: vec![0.0; 2] };
    let kinds = [LayerKind::Flatten, linear].into_iter().chain(multipliers.iter().map(norm));
    let layers = kinds.enumerate().map(|(index, kind)| Layer { name: index.to_string(), kind }).collect();
    let input = Input { channels: 1, height: 1, width: 2, scale: 0.25, zero_point: 0 };
    PackedModel::new(input, vec!["left".into(), "right".into()], layers).unwrap()
}

#[test]
fn logits_that_are_not_finite_are_an_error_with_their_image() {
    // Only the third image overflows, and only in its second logit.
    let pixels = [5, 7, 9, 9, 100, 200, 7, 5];
    let check = |multipliers: &[[f32; 2]], expected: fn(f32) -> bool| {
        let executor = amplified(multipliers).plan().unwrap();
        for error in [executor.logits(&pixels).unwrap_err(), executor.predict(&pixels).unwrap_err()] {
            let PackedError::NotFinite { image, class, value } = error else { panic!("{error}") };
            assert!((image, class) == (2, 1) && expected(value), "image {image}, class {class}: {value}");
        }
        assert!(executor.logits(&pixels[..4]).is_ok() && executor.predict(&pixels[6..]).is_ok());
    };
    check(&[[1.0, f32::MAX]], |value| value == f32::INFINITY);
    check(&[[1.0, -f32::MAX]], |value| value == f32::NEG_INFINITY);
    check(&[[1.0, f32::MAX], [1.0, 0.0]], f32::is_nan);
    let message = amplified(&[[1.0, f32::MAX]]).plan().unwrap().predict(&pixels).unwrap_err().to_string();
    assert!(message.starts_with("output 1 of image 2 is inf: "), "{message}");
}

#[test]
fn the_largest_finite_logits_have_probabilities() {
    let executor = amplified(&[[f32::MAX, f32::MAX]]).plan().unwrap();
    assert_eq!(executor.predict(&[7, 5, 5, 7, 6, 6]).unwrap(), [1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
}

proptest! {
    #[test]
    fn products_of_a_model_that_is_accepted_are_finite(
        exponent in 30.0f32..38.5,
        codes in prop::collection::vec(0u8..4, 8),
        bias in prop::array::uniform2(-1e38f32..1e38),
        zero_point: u8,
        random in prop::array::uniform4(any::<u8>()),
    ) {
        let weight = Weight { bits: 2, first: vec![-2], step: 1, codes, scale: vec![10f32.powf(exponent)] };
        let kinds = [
            LayerKind::Flatten,
            LayerKind::Linear {
                weight: weight.clone(),
                input: InputQuantizer::Pixels,
                bias: Some(bias.to_vec()),
                inputs: 4,
                outputs: 2,
            },
        ];
        let named = |kind: LayerKind| Layer { name: kind.name().into(), kind };
        let input = Input { channels: 1, height: 2, width: 2, scale: 1.0, zero_point };
        if let Ok(model) = PackedModel::new(input, vec!["a".into(), "b".into()], kinds.map(named).to_vec()) {
            // The images with the largest and the smallest sum of each class, and any other.
            let mut pixels = random.to_vec();
            for codes in weight.codes.chunks(4) {
                pixels.extend(codes.iter().map(|&code| if code > 2 { 255 } else { 0 }));
                pixels.extend(codes.iter().map(|&code| if code > 2 { 0 } else { 255 }));
            }
            let logits = model.plan().unwrap().logits(&pixels);
            prop_assert!(logits.is_ok(), "{:?}", logits);
        }
    }
}
