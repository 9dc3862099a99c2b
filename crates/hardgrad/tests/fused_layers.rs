//! The fused operators of networks against their compositions of Burn's operators: values and the gradients of all inputs, for
//! inputs as floats, as views that are not contiguous and as codes.

mod drawn;
mod fused;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use drawn::drawn;
use fused::{FORMS, Form, Found, STEP, flat, float, floats, normal, plain, run, shaped};
use hardgrad::coded::Activation;
use hardgrad::layers::{BatchNormConfig, QuantConv2dConfig, QuantLinearConfig, QuantRelu};
use hardgrad::ops::{self, Conv2dOptions, LearnedStep};
use hardgrad::quantize::{QuantizerConfig, RangeMethod, StepClock};
use hardgrad::random::Random;
use hardgrad::{composed, parameters};
use proptest::prelude::*;

const EPSILON: f32 = 1e-3;
/// The highest code of the quantisers behind a ReLU.
const HIGHEST: f32 = 7.0;

fn forms() -> impl Strategy<Value = Form> {
    proptest::sample::select(FORMS.as_slice())
}

/// For operators that take floats only.
fn float_forms() -> impl Strategy<Value = Form> {
    proptest::sample::select(&FORMS[..2])
}

/// No shortcut, or one of these.
fn shortcuts() -> impl Strategy<Value = Option<Form>> {
    proptest::option::weighted(0.75, forms())
}

fn assert_near(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f32, |size, value| size.max(value.abs()));
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{what}[{index}] is {a}, composed {b}");
    }
}

/// Fused and composed give the same value where it is `counted`, and all gradients, within `tolerance` of the largest of each.
fn compare(
    inputs: &[Vec<f32>],
    counted: Option<&[bool]>,
    tolerance: f32,
    operator: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) -> Found {
    let found = run(inputs, counted, &operator);
    let expected = composed::only(|| run(inputs, counted, &operator));
    let kept = |y: &[f32]| match counted {
        Some(counted) => y.iter().zip(counted).filter(|(_, counted)| **counted).map(|(y, _)| *y).collect(),
        None => y.to_vec(),
    };
    assert_near("y", &kept(&found.y), &kept(&expected.y), tolerance);
    for (input, pair) in found.gradients.iter().zip(&expected.gradients).enumerate() {
        match pair {
            (Some(found), Some(expected)) => assert_near(&format!("gradient {input}"), found, expected, tolerance),
            (found, expected) => assert_eq!(found.is_some(), expected.is_some(), "gradient {input} is there"),
        }
    }
    found
}

/// Where rounding cannot move ReLU and quantiser to another piece of their function: `a` is what comes before them.
fn away_from_jumps(a: &[f32], step: Option<f32>) -> Vec<bool> {
    let safe = |a: &f32| {
        let v = a / step.unwrap_or(1.0);
        let from_tie = ((v - v.floor()) - 0.5).abs();
        a.abs() > 1e-3 && (step.is_none() || (from_tie > 2e-3 && (v - HIGHEST).abs() > 2e-3))
    };
    let counted: Vec<bool> = a.iter().map(safe).collect();
    let left_out = counted.iter().filter(|counted| !**counted).count();
    assert!(left_out * 10 <= a.len() + 20, "{left_out} of {} values lie near jumps", a.len());
    counted
}

fn learned(step: &Tensor<1>, quantized: bool) -> Option<LearnedStep> {
    quantized.then(|| LearnedStep { scale: step.clone(), highest: HIGHEST })
}

fn linear_agrees<const D: usize>(dims: [usize; D], outputs: usize, bias: bool, form: Form) {
    let inputs = dims[D - 1];
    let values = [normal(dims.iter().product(), 0), normal(inputs * outputs, 1), normal(outputs, 2), vec![STEP]];
    compare(&values, None, 1e-5, |leaves| {
        let x = shaped(&leaves[0], dims, form, &leaves[3]);
        let weight = float(&leaves[1], [inputs, outputs], form);
        flat(ops::linear(x, weight, bias.then(|| leaves[2].clone())))
    });
}

fn batch_norm_agrees<const D: usize>(dims: [usize; D], form: Form) {
    let values = [normal(dims.iter().product(), 0), normal(dims[1], 1), normal(dims[1], 2)];
    let normalized = |leaves: &[Tensor<1>]| {
        ops::batch_norm(float(&leaves[0], dims, form) + 0.5, leaves[1].clone(), leaves[2].clone(), EPSILON)
    };
    compare(&values, None, 1e-4, |leaves| flat(normalized(leaves).0));
    let leaves = values.map(|values| Tensor::<1>::from_floats(values.as_slice(), &Device::flex()));
    let (found, expected) = (normalized(&leaves).1, composed::only(|| normalized(&leaves)).1);
    assert_near("mean", &floats(found.mean), &floats(expected.mean), 1e-6);
    assert_near("variance", &floats(found.variance), &floats(expected.variance), 1e-6);
    assert_eq!(found.count, expected.count);
}

fn relu_agrees<const D: usize>(dims: [usize; D], form: Form, shortcut: Option<Form>, quantized: bool) {
    let len = dims.iter().product();
    let values = [normal(len, 0), normal(len, 1), vec![STEP], vec![0.25]];
    // Both routes add the same two floats: there is no rounding that could differ, and no value to leave out.
    compare(&values, None, 1e-5, |leaves| {
        let shortcut = shortcut.map(|form| shaped(&leaves[1], dims, form, &leaves[2]));
        flat(ops::relu(float(&leaves[0], dims, form), shortcut, learned(&leaves[3], quantized)).values())
    });
}

fn batch_norm_relu_agrees<const D: usize>(dims: [usize; D], form: Form, shortcut: Option<Form>, quantized: bool) {
    let len = dims.iter().product();
    let values = [normal(len, 0), normal(dims[1], 1), normal(dims[1], 2), normal(len, 3), vec![STEP], vec![0.25]];
    let parts = |leaves: &[Tensor<1>]| {
        let x = float(&leaves[0], dims, form) + 0.5;
        (x, leaves[1].clone(), leaves[2].clone(), shortcut.map(|form| shaped(&leaves[3], dims, form, &leaves[4])))
    };
    let a = composed::only(|| {
        run(&values, None, |leaves| {
            let (x, gamma, beta, shortcut) = parts(leaves);
            let y = composed::batch_norm(x, gamma, beta, EPSILON).0;
            flat(shortcut.map_or(y.clone(), |shortcut| y + shortcut.values()))
        })
    });
    let counted = away_from_jumps(&a.y, quantized.then_some(0.25));
    compare(&values, Some(&counted), 1e-4, |leaves| {
        let (x, gamma, beta, shortcut) = parts(leaves);
        let step = learned(&leaves[5], quantized);
        flat(ops::batch_norm_relu(x, gamma, beta, EPSILON, shortcut, step).0.values())
    });
}

/// The evaluation form, after two training batches have moved the running statistics.
fn evaluation_agrees<const D: usize>(dims: [usize; D], form: Form, shortcut: Option<Form>, quantized: bool) {
    let (len, clock, device) = (dims.iter().product(), StepClock::default(), Device::flex());
    let config = QuantizerConfig::activations(3);
    let relu = match quantized {
        true => QuantRelu::new().quantize(&config, &clock, &device.clone().autodiff()).unwrap(),
        false => QuantRelu::new(),
    };
    let norm = BatchNormConfig::new(dims[1]).init(&device.clone().autodiff());
    let norm = parameters::update(norm, |name, _, values| match name {
        "gamma" => values.copy_from_slice(&normal(values.len(), 2)),
        "beta" => values.copy_from_slice(&normal(values.len(), 3)),
        _ => (),
    });
    for stream in [10, 11] {
        let batch = plain(normal(len, stream), dims) * 1.5 + 0.4;
        let _ = norm.forward(Tensor::<D>::from_inner(batch));
    }
    let (norm, relu) = (norm.valid(), relu.valid());
    let [x, added, step] =
        [normal(len, 0), normal(len, 1), vec![STEP]].map(|values| Tensor::from_floats(values.as_slice(), &device));
    let shortcut = || shortcut.map(|form| shaped(&added, dims, form, &step));
    let x = float(&x, dims, form);
    let found = floats(norm.forward(x.clone()));
    let expected = composed::only(|| norm.forward(x.clone()));
    assert_near("evaluation", &found, &floats(expected.clone()), 1e-6);
    let a = shortcut().map_or(expected.clone(), |shortcut| expected + shortcut.values());
    let counted = away_from_jumps(&floats(a), quantized.then_some(4.0 / HIGHEST));
    let found = floats(norm.forward_relu(x.clone(), shortcut(), &relu).values());
    let expected = composed::only(|| floats(norm.forward_relu(x, shortcut(), &relu).values()));
    for ((found, expected), counted) in found.iter().zip(&expected).zip(counted) {
        assert!(!counted || (found - expected).abs() <= 1e-5, "{found}, composed {expected}");
    }
}

fn layer_norm_agrees<const D: usize>(dims: [usize; D], form: Form) {
    let width = dims[D - 1];
    let values = [normal(dims.iter().product(), 0), normal(width, 1), normal(width, 2)];
    compare(&values, None, 1e-4, |leaves| {
        flat(ops::layer_norm(float(&leaves[0], dims, form), leaves[1].clone(), leaves[2].clone(), EPSILON))
    });
}

/// Value and gradients of a layer's parameters and input, fused and composed.
fn layer_agrees<M: Module, const D: usize>(
    layer: M,
    dims: [usize; D],
    forward: impl Fn(&M, Activation<D>) -> Tensor<1>,
) {
    let run = || {
        let x = Tensor::<D>::from_inner(plain(normal(dims.iter().product(), 0), dims)).require_grad();
        let y = forward(&layer, x.clone().into());
        let weights = plain(normal(y.dims()[0], 99), y.dims());
        let gradients = (y.clone() * weights).sum().backward();
        let dx = floats(x.grad(&gradients).unwrap());
        let mut found = parameters::gradients(&layer, &mut GradientsParams::from_grads(gradients, &layer));
        found.extend([("x".into(), dx), ("y".into(), floats(y.inner()))]);
        found
    };
    let (found, expected) = (run(), composed::only(run));
    assert_eq!(found.len(), expected.len());
    for ((name, found), (same, expected)) in found.iter().zip(&expected) {
        assert_eq!(name, same);
        assert_near(name, found, expected, 2e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn convolution_agrees_with_its_composition(
        batch in 1usize..4, groups in 1usize..4, inputs in 1usize..4, outputs in 1usize..4, size in [3usize..11, 3..11],
        kernel in [1usize..4, 1..4], stride in [1usize..4, 1..4], padding in [0usize..3, 0..3],
        dilation in [1usize..3, 1..3], bias: bool, depthwise: bool, form in forms(),
    ) {
        prop_assume!((0..2).all(|axis| dilation[axis] * (kernel[axis] - 1) < size[axis] + 2 * padding[axis]));
        let (groups, inputs) = if depthwise { (groups * inputs, 1) } else { (groups, inputs) };
        let dims = [batch, groups * inputs, size[0], size[1]];
        let weight = [groups * outputs, inputs, kernel[0], kernel[1]];
        let options = Conv2dOptions { stride, padding, dilation, groups };
        let len = |dims: [usize; 4]| dims.iter().product();
        let values = [normal(len(dims), 0), normal(len(weight), 1), normal(weight[0], 2), vec![STEP]];
        compare(&values, None, 1e-5, |leaves| {
            let x = shaped(&leaves[0], dims, form, &leaves[3]);
            let bias = bias.then(|| leaves[2].clone());
            flat(ops::conv2d(x, float(&leaves[1], weight, form), bias, options))
        });
    }

    #[test]
    fn linear_agrees_with_its_composition(
        batch in 1usize..4, tokens in 1usize..6, inputs in 1usize..40, outputs in 1usize..40, bias: bool, form in forms(),
    ) {
        linear_agrees([batch * tokens, inputs], outputs, bias, form);
        linear_agrees([batch, tokens, inputs], outputs, bias, form);
    }

    #[test]
    fn batch_norm_agrees_with_its_composition(
        batch in 2usize..6, channels in 1usize..11, size in [2usize..7, 1..7], form in float_forms(),
    ) {
        batch_norm_agrees([batch, channels, size[0], size[1]], form);
        batch_norm_agrees([batch * 5, channels], form);
    }

    #[test]
    fn relu_with_shortcut_and_quantiser_agrees_with_its_composition(
        batch in 1usize..6, channels in 1usize..11, size in [1usize..7, 1..7], form in float_forms(),
        shortcut in shortcuts(), quantized: bool,
    ) {
        relu_agrees([batch, channels, size[0], size[1]], form, shortcut, quantized);
        relu_agrees([batch, channels], form, shortcut, quantized);
    }

    #[test]
    fn batch_norm_relu_with_shortcut_and_quantiser_agrees_with_its_composition(
        batch in 2usize..6, channels in 1usize..11, size in [2usize..7, 1..7], form in float_forms(),
        shortcut in shortcuts(), quantized: bool,
    ) {
        batch_norm_relu_agrees([batch, channels, size[0], size[1]], form, shortcut, quantized);
        batch_norm_relu_agrees([batch * 5, channels], form, shortcut, quantized);
    }

    #[test]
    fn batch_norm_of_plain_inputs_agrees_with_its_composition(
        batch in 2usize..6, channels in 1usize..11, size in [2usize..7, 1..7], form in float_forms(),
        shortcut in shortcuts(), quantized: bool,
    ) {
        evaluation_agrees([batch, channels, size[0], size[1]], form, shortcut, quantized);
        evaluation_agrees([batch * 5, channels], form, shortcut, quantized);
    }

    #[test]
    fn layer_norm_agrees_with_its_composition(rows in 1usize..7, tokens in 1usize..4, width in 1usize..70, form in float_forms()) {
        layer_norm_agrees([rows, tokens, width], form);
        layer_norm_agrees([rows, width], form);
    }

    #[test]
    fn gelu_and_softmax_agree_with_their_compositions(
        rows in 1usize..7, tokens in 1usize..4, width in 1usize..70, form in float_forms(),
    ) {
        let dims = [rows, tokens, width];
        let values = [normal(rows * tokens * width, 0).iter().map(|x| 2.0 * x).collect()];
        compare(&values, None, 1e-5, |leaves| flat(ops::gelu(float(&leaves[0], dims, form))));
        compare(&values, None, 1e-5, |leaves| flat(ops::softmax(float(&leaves[0], dims, form))));
        compare(&values, None, 1e-5, |leaves| flat(ops::softmax(float(&leaves[0], [rows * tokens, width], form))));
    }

    #[test]
    fn attention_agrees_with_its_composition(
        batch in 1usize..4, tokens in prop_oneof![3 => 1usize..20, 1 => 125usize..140], heads in 1usize..4,
        width in 1usize..10, form in float_forms(),
    ) {
        let dims = [batch, tokens, 3 * heads * width];
        let values = [normal(dims.iter().product(), 0)];
        compare(&values, None, 1e-5, |leaves| flat(ops::attention(float(&leaves[0], dims, form), heads)));
    }

    #[test]
    fn pooling_agrees_with_its_composition(
        batch in 1usize..4, channels in 1usize..4, size in [3usize..11, 3..11], kernel in [1usize..4, 1..4],
        stride in [1usize..4, 1..4], form in forms(),
    ) {
        let dims = [batch, channels, size[0], size[1]];
        let values = [normal(dims.iter().product(), 0), vec![STEP]];
        compare(&values, None, 1e-6, |leaves| {
            flat(ops::max_pool2d(shaped(&leaves[0], dims, form, &leaves[1]), kernel, stride).values())
        });
        compare(&values, None, 1e-5, |leaves| {
            flat(ops::avg_pool2d(shaped(&leaves[0], dims, form, &leaves[1]), kernel, stride).values())
        });
    }

    #[test]
    fn codes_read_by_a_convolution_and_a_shortcut_get_both_gradients(
        batch in 2usize..5, channels in 1usize..6, size in [3usize..8, 3..8],
    ) {
        let dims = [batch, channels, size[0], size[1]];
        let weight = [channels, channels, 3, 3];
        let len = |dims: [usize; 4]| dims.iter().product();
        let values =
            [normal(len(dims), 0), normal(len(weight), 1), normal(channels, 2), normal(channels, 3), vec![STEP], vec![0.25]];
        let options = Conv2dOptions { padding: [1, 1], ..Conv2dOptions::default() };
        let sum = |leaves: &[Tensor<1>]| {
            let x = shaped(&leaves[0], dims, Form::Coded, &leaves[4]);
            (ops::conv2d(x.clone(), float(&leaves[1], weight, Form::Dense), None, options), x)
        };
        let a = composed::only(|| run(&values, None, |leaves| {
            let (y, x) = sum(leaves);
            flat(ops::batch_norm(y, leaves[2].clone(), leaves[3].clone(), EPSILON).0 + x.values())
        }));
        let counted = away_from_jumps(&a.y, Some(0.25));
        let found = compare(&values, Some(&counted), 2e-4, |leaves| {
            let (y, x) = sum(leaves);
            let (gamma, beta) = (leaves[2].clone(), leaves[3].clone());
            flat(ops::batch_norm_relu(y, gamma, beta, EPSILON, Some(x), learned(&leaves[5], true)).0.values())
        });
        prop_assert!(found.gradients.iter().all(Option::is_some));
    }

    #[test]
    fn quantised_layers_agree_with_their_compositions(
        batch in 1usize..4, groups in 1usize..3, inputs in 1usize..5, outputs in 1usize..5, size in [3usize..9, 3..9],
        stride in [1usize..3, 1..3], padding in [0usize..2, 0..2], learned_weights: bool, signed: bool,
    ) {
        let (clock, device) = (StepClock::default(), Device::flex().autodiff());
        let range = if learned_weights { RangeMethod::Lsq } else { RangeMethod::MinMax };
        let weights = QuantizerConfig { range, ..QuantizerConfig::weights(4) };
        let activations = QuantizerConfig { signed, ..QuantizerConfig::activations(4) };
        let random = Random::new(0, 0, 0);
        let channels = [groups * inputs, groups * outputs];
        let layer = QuantConv2dConfig::new(channels, [3, 3]).with_stride(stride).with_padding(padding).with_groups(groups);
        let layer = drawn(layer.with_bias(true).init(&random, &device)).quantize(Some(&weights), Some(&activations), &clock).unwrap();
        layer_agrees(layer, [batch, channels[0], size[0], size[1]], |layer, x| flat(layer.forward(x)));
        let layer = drawn(QuantLinearConfig::new(7 * inputs, 5 * outputs).init(&random, &device));
        let layer = layer.quantize(Some(&weights), Some(&activations), &clock).unwrap();
        layer_agrees(layer, [batch, size[0], 7 * inputs], |layer, x| flat(layer.forward(x)));
    }
}

#[test]
fn quantised_activations_flow_as_codes() {
    let step = Tensor::<1>::from_floats([STEP], &Device::flex());
    let leaf = Tensor::<1>::from_floats(normal(48, 0).as_slice(), &Device::flex());
    let dims = [2, 2, 4, 3];
    let coded = shaped(&leaf, dims, Form::Coded, &step);
    let (x, one) = (float(&leaf, dims, Form::Dense), Tensor::<1>::ones([2], &Device::flex()));
    let behind_relu = ops::relu(x.clone(), Some(coded.clone()), learned(&step, true));
    let behind_norm = ops::batch_norm_relu(x, one.clone(), one, EPSILON, None, learned(&step, true)).0;
    let pooled = ops::max_pool2d(behind_relu.clone(), [2, 2], [2, 2]);
    for activation in [coded, behind_relu, behind_norm, pooled.clone(), pooled.reshape([1, 1, 2, 4])] {
        assert!(matches!(activation, Activation::Coded(_)), "{activation:?}");
    }
}

#[test]
fn every_quantiser_gives_the_same_values_as_codes() {
    use RangeMethod::{Dorefa, Fixed, Lsq, MinMax, MovingAverage, Pact};
    let values = [normal(300, 0)];
    for range in [Fixed, MinMax, MovingAverage, Lsq, Pact, Dorefa] {
        for bits in [1, 4, 8] {
            let config = QuantizerConfig { range, fixed_scale: 0.21, ..QuantizerConfig::activations(bits) };
            let quantizer = config.init(&Device::flex().autodiff()).unwrap();
            let found = run(&values, None, |leaves| quantizer.encode(leaves[0].clone()).values());
            let expected = run(&values, None, |leaves| quantizer.forward(leaves[0].clone()));
            // DoReFa divides a code by the highest one; decoding multiplies with the rounded inverse.
            assert_near(range.name(), &found.y, &expected.y, if range == Dorefa { 1e-6 } else { 0.0 });
            assert_eq!(found.gradients, expected.gradients, "{config:?}");
        }
    }
}
