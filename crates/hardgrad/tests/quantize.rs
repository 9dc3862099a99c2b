//! Quantisers as users meet them: what they do to values and gradients, what they keep with the model, and what they refuse.

mod drawn;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use drawn::drawn;
use hardgrad::diagnose::vanishing;
use hardgrad::layers::{BatchNormConfig, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu};
use hardgrad::quantize::{
    Grid, QuantizeError, QuantizeWeights, Quantizer, QuantizerConfig, RangeMethod, Role, StepClock,
};
use hardgrad::random::Random;
use hardgrad::{ops, parameters};

const WEIGHTS: [f32; 6] = [1.0, -0.5, 0.0, -0.2, 0.5, -0.7];

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec().unwrap()
}

fn plain<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
}

/// Two inputs, three outputs, with these weights.
fn linear(weights: [f32; 6]) -> Linear {
    let layer = LinearConfig::new(2, 3).with_bias(false).init(&Device::flex().autodiff());
    parameters::update(layer, |_, _, values| values.copy_from_slice(&weights))
}

fn quantized(weights: [f32; 6], config: QuantizerConfig) -> Linear {
    QuantizeWeights::new(config).unwrap().apply(linear(weights)).unwrap()
}

fn grid(layer: &Linear) -> Grid {
    layer.weight.reparameterization::<Quantizer>().unwrap().grid(&layer.weight.base())
}

/// The gradients of sum(G quantised), by parameter.
fn gradients(layer: &Linear, gradient: [f32; 6]) -> Vec<(String, Vec<f32>)> {
    let loss = (layer.weight.val() * plain(&gradient, [2, 3])).sum();
    parameters::gradients(layer, &mut GradientsParams::from_grads(loss.backward(), layer))
}

#[test]
fn a_learned_step_has_the_gradient_of_the_operator_times_itself() {
    let layer = quantized(WEIGHTS, QuantizerConfig::weights(2));
    let gradient = [1.0, -2.0, 3.0, 0.5, 4.0, -5.0];
    let found = gradients(&layer, gradient);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["weight", "weight.quantizer.range.scale.log"]);

    let device = Device::flex().autodiff();
    let scale = grid(&layer).scale;
    let (x, step) = (
        Tensor::from_inner(plain(&WEIGHTS, [2, 3])).require_grad(),
        Tensor::<1>::from_floats(scale.as_slice(), &device).require_grad(),
    );
    let y = ops::lsq(x.clone(), step.clone(), ops::Bounds::signed(2), Some(1));
    assert_eq!(floats(y.clone()), floats(layer.weight.val()));
    let expected = (y * plain(&gradient, [2, 3])).sum().backward();
    assert_eq!(found[0].1, floats(x.grad(&expected).unwrap()));
    let by_step = floats(step.grad(&expected).unwrap());
    let by_log: Vec<f32> = by_step.iter().zip(&scale).map(|(gradient, scale)| gradient * scale).collect();
    assert_eq!(found[1].1, by_log);
}

#[test]
fn a_learned_step_never_reaches_0_and_comes_back() {
    let moved = |layer: Linear, by: f32| {
        parameters::update_some(
            layer,
            |name| name.ends_with(".log"),
            |_, _, logs| logs.iter_mut().for_each(|log| *log += by),
        )
    };
    let layer = quantized(WEIGHTS, QuantizerConfig::weights(2));
    let before = grid(&layer).scale;
    assert_eq!(vanishing("weight", &layer.weight), None);
    // What 400 steps of an optimizer at a rate of 0.05 can do at most.
    let layer = moved(layer, -20.0);
    let fallen = grid(&layer).scale;
    assert!(fallen.iter().zip(&before).all(|(fallen, before)| *fallen > 0.0 && *fallen < 1e-8 * before), "{fallen:?}");
    assert_eq!(vanishing("weight", &layer.weight).unwrap().channels, 3);
    let found = gradients(&layer, [1.0; 6]);
    assert!(found[1].1.iter().all(|gradient| gradient.is_finite() && *gradient != 0.0), "{found:?}");
    let layer = moved(layer, 20.0);
    for (after, before) in grid(&layer).scale.iter().zip(&before) {
        assert!((after / before - 1.0).abs() < 1e-5);
    }
    assert_eq!(vanishing("weight", &layer.weight), None);
    // Logarithms that no float can follow still make a step.
    for by in [-1e6, 2e6] {
        let scale = grid(&moved(quantized(WEIGHTS, QuantizerConfig::weights(2)), by)).scale;
        assert!(scale.iter().all(|scale| *scale > 0.0 && scale.is_finite()), "{scale:?}");
    }
}

#[test]
fn a_learned_bound_has_the_gradient_of_the_operator_times_itself() {
    let device = Device::flex().autodiff();
    let config = QuantizerConfig { range: RangeMethod::Pact, ..QuantizerConfig::activations(3) };
    let quantizer = config.init(&device).unwrap();
    let x = plain(&[-1.0, 0.2, 0.9, 7.0, 8.0], [5]);
    let alpha = 7.0 * quantizer.grid(&x).scale[0];
    assert!((alpha - 4.0).abs() < 1e-5, "the bound begins at 4");
    let loss = (quantizer.forward(x) * plain(&[1.0, 1.0, 1.0, 2.0, -5.0], [5])).sum();
    let found = parameters::gradients(&quantizer, &mut GradientsParams::from_grads(loss.backward(), &quantizer));
    assert_eq!(found[0].0, "range.alpha.log");
    // The gradients of the two values above the bound.
    assert!((found[0].1[0] - (2.0 - 5.0) * alpha).abs() < 1e-4, "{found:?}");
}

#[test]
fn one_bit_weights_are_plus_and_minus_the_scale_for_every_method() {
    let gradient = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let one_bit =
        |range, per_channel| QuantizerConfig { range, per_channel, fixed_scale: 0.5, ..QuantizerConfig::weights(1) };
    let cases = [
        // The clipped rule stops the gradients of 1 and -0.7.
        (RangeMethod::Fixed, true, [0.5, -0.5, 0.5, -0.5, 0.5, -0.5], [0.0, 2.0, 3.0, 4.0, 5.0, 0.0]),
        (RangeMethod::Fixed, false, [0.5, -0.5, 0.5, -0.5, 0.5, -0.5], [0.0, 2.0, 3.0, 4.0, 5.0, 0.0]),
        // The scale is the largest magnitude, of each output or of all.
        (RangeMethod::MinMax, true, [1.0, -0.5, 0.7, -1.0, 0.5, -0.7], gradient),
        (RangeMethod::MinMax, false, [1.0, -1.0, 1.0, -1.0, 1.0, -1.0], gradient),
    ];
    for (range, per_channel, values, passed) in cases {
        let layer = quantized(WEIGHTS, one_bit(range, per_channel));
        assert_eq!(floats(layer.weight.val()), values, "{range:?} {per_channel}");
        assert_eq!(gradients(&layer, gradient), [("weight".to_string(), passed.to_vec())], "{range:?} {per_channel}");
        let Grid { bits, lowest, span, spacing, .. } = grid(&layer);
        assert_eq!((bits, lowest, span, spacing), (1, vec![-1], 2, 2), "{range:?} {per_channel}");
    }
    let dorefa = quantized(WEIGHTS, one_bit(RangeMethod::Dorefa, false));
    let hard = floats(dorefa.weight.val());
    assert!(hard.iter().zip(WEIGHTS).all(|(hard, latent)| latent == 0.0 || *hard == latent.signum()), "{hard:?}");
}

#[test]
fn signs_of_nothing_are_next_to_nothing_and_what_is_not_a_number_stays_so() {
    let one_bit = QuantizerConfig { range: RangeMethod::MinMax, ..QuantizerConfig::weights(1) };
    let pruned = quantized([1.0, 0.0, 0.5, -0.2, 0.0, -0.7], one_bit.clone());
    let hard = floats(pruned.weight.val());
    for (place, value) in hard.iter().enumerate() {
        assert!(*value != 0.0 && (place % 3 != 1 || value.abs() < 1e-18), "{hard:?}");
    }
    let broken = parameters::update(quantized(WEIGHTS, one_bit), |name, _, values| {
        if name == "weight" {
            values[4] = f32::NAN;
        }
    });
    assert!(floats(broken.weight.val())[4].is_nan());
}

#[test]
fn settings_that_lose_values_are_refused_with_the_mend() {
    use RangeMethod::{Dorefa, Fixed, Lsq, MinMax, MovingAverage, Pact};
    let weights = |bits, range| QuantizerConfig { range, ..QuantizerConfig::weights(bits) };
    let activations = |bits, range| QuantizerConfig { range, ..QuantizerConfig::activations(bits) };
    let refused = [
        (weights(1, Lsq), Role::Weight, "min_max"),
        (QuantizerConfig { zero_point: true, ..weights(1, MinMax) }, Role::Weight, "zero_point = false"),
        (QuantizerConfig { fixed_zero_point: -1, ..weights(1, Fixed) }, Role::Weight, "fixed_zero_point = 0"),
        (QuantizerConfig { signed: false, zero_point: true, ..weights(1, MinMax) }, Role::Weight, "signed = true"),
        (QuantizerConfig { signed: false, fixed_zero_point: 1, ..weights(1, Fixed) }, Role::Weight, "signed = true"),
        (QuantizerConfig { narrow: true, ..weights(1, MinMax) }, Role::Weight, "at least 2 bits"),
        (activations(4, Lsq), Role::Weight, "signed = true"),
        (QuantizerConfig { signed: false, ..weights(4, MinMax) }, Role::Weight, "zero point"),
        // A fixed range has a zero point of its own.
        (QuantizerConfig { signed: false, zero_point: true, ..weights(4, Fixed) }, Role::Weight, "signed = true"),
    ];
    let signed = [Fixed, MinMax, MovingAverage, Lsq, Pact, Dorefa]
        .map(|range| (QuantizerConfig { signed: true, ..activations(1, range) }, Role::Activation, "signed = false"));
    for (config, role, mend) in refused.into_iter().chain(signed) {
        let error = config.check(role).unwrap_err().to_string();
        assert!(error.starts_with(config.range.name()) && error.contains(mend), "{config:?}: {error}");
    }
    for bits in [0, 9, 40] {
        assert_eq!(activations(bits, Lsq).init(&Device::flex()).unwrap_err(), QuantizeError::Bits { bits });
    }
    for config in [
        QuantizerConfig { signed: false, zero_point: true, ..weights(2, MinMax) },
        QuantizerConfig { signed: false, fixed_zero_point: 2, ..weights(2, Fixed) },
    ] {
        assert_eq!(config.check(Role::Weight), Ok(()), "{config:?}");
    }
}

#[derive(Module, Debug)]
struct Pair {
    hidden: Linear,
    output: Linear,
}

fn pair() -> Pair {
    Pair { hidden: linear(WEIGHTS), output: linear(WEIGHTS) }
}

/// What every variant holds a layer in.
#[derive(Module, Debug)]
enum Node {
    Linear(Linear),
}

#[derive(Module, Debug)]
struct Graph {
    nodes: Vec<Node>,
}

#[test]
fn settings_for_layers_that_are_not_there_are_refused() {
    let weights = || QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap();
    let eight = || Some(QuantizerConfig::weights(8));
    let error = weights().with_layer("outptu", eight()).unwrap().apply(pair()).unwrap_err();
    let expected = QuantizeError::UnknownLayer {
        prefix: "outptu".into(),
        nearest: "output".into(),
        known: "hidden.weight, output.weight".into(),
    };
    assert_eq!(error, expected);
    let error = weights().with_layer("out", None).unwrap().apply(pair()).unwrap_err();
    assert!(matches!(error, QuantizeError::UnknownLayer { .. }), "half a name: {error}");
    let model = weights().with_layer("output", eight()).unwrap().apply(pair()).unwrap();
    let bits = |layer: &Linear| layer.weight.reparameterization::<Quantizer>().map(Quantizer::bits);
    assert_eq!([bits(&model.hidden), bits(&model.output)], [Some(2), Some(8)]);
    // The variant of an enum is not part of a name.
    let graph = || Graph { nodes: vec![Node::Linear(linear(WEIGHTS)), Node::Linear(linear(WEIGHTS))] };
    let graph = weights().with_layer("nodes.1", None).unwrap().apply(graph()).unwrap();
    let [Node::Linear(first), Node::Linear(second)] = graph.nodes.as_slice() else { panic!("two nodes") };
    assert_eq!([bits(first), bits(second)], [Some(2), None]);
}

#[test]
fn weights_that_cannot_be_quantised_are_named() {
    let weights = |bits| QuantizeWeights::new(QuantizerConfig::weights(bits)).unwrap();
    let half = weights(8).with_layer("output", None).unwrap().apply(pair()).unwrap();
    let error = weights(2).apply(half.clone()).unwrap_err();
    assert_eq!(error, QuantizeError::WeightTaken { name: "hidden.weight".into() });
    assert!(error.to_string().contains("materialize()"), "{error}");
    let whole = weights(2).with_layer("hidden", None).unwrap().apply(half).unwrap();
    let bits = |layer: &Linear| layer.weight.reparameterization::<Quantizer>().map(Quantizer::bits);
    assert_eq!([bits(&whole.hidden), bits(&whole.output)], [Some(8), Some(2)]);
    assert!(weights(4).apply(whole.materialize()).is_ok());

    for range in [RangeMethod::Lsq, RangeMethod::MinMax] {
        let broken = Pair { output: linear([0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]), ..pair() };
        let config = QuantizerConfig { range, ..QuantizerConfig::weights(2) };
        let error = QuantizeWeights::new(config).unwrap().apply(broken).unwrap_err();
        assert_eq!(error, QuantizeError::WeightNotFinite { name: "output.weight".into() });
    }
    let norm = BatchNormConfig::new(3).init(&Device::flex());
    assert_eq!(weights(2).apply(norm).unwrap_err(), QuantizeError::NoWeight);
}

#[test]
fn layers_keep_the_quantisers_they_have() {
    let (device, clock) = (Device::flex(), StepClock::default());
    let (weights, activations) = (QuantizerConfig::weights(4), QuantizerConfig::activations(4));
    let layer = QuantLinearConfig::new(3, 2)
        .init(&Random::new(0, 0, 0), &device)
        .quantize(None, Some(&activations), &clock)
        .unwrap();
    let layer = layer.quantize(Some(&weights), None, &clock).unwrap();
    assert!(layer.input_quantizer.is_some() && layer.weight.reparameterization::<Quantizer>().is_some());
    let again = layer.clone().quantize(None, Some(&activations), &clock).unwrap_err();
    assert_eq!(again, QuantizeError::ActivationTaken);
    let again = layer.quantize(Some(&weights), None, &clock).unwrap_err();
    assert_eq!(again, QuantizeError::WeightTaken { name: "weight".into() });
    let convolution = QuantConv2dConfig::new([1, 2], [3, 3]).init(&Random::new(0, 0, 0), &device);
    let convolution = convolution.quantize(Some(&weights), Some(&activations), &clock).unwrap();
    assert!(convolution.quantize(None, Some(&activations), &clock).is_err());
    let relu = QuantRelu::new().quantize(&activations, &clock, &device).unwrap();
    assert!(relu.quantize(&activations, &clock, &device).is_err());
}

#[test]
fn zeros_get_a_scale_that_other_weights_have() {
    let one_scale = QuantizerConfig { per_channel: false, ..QuantizerConfig::weights(4) };
    let scale = grid(&quantized([1.0, 0.0, 0.25, -0.5, 0.0, -0.25], QuantizerConfig::weights(4))).scale;
    assert!(scale[0] > scale[2]);
    assert_eq!(scale[1], scale[0]);
    // 1/sqrt(inputs)/qmax, as a weight drawn at random would have.
    let expected = 1.0 / 2f32.sqrt() / 7.0;
    for config in [QuantizerConfig::weights(4), one_scale] {
        let layer = quantized([0.0; 6], config);
        assert!(grid(&layer).scale.iter().all(|scale| (scale / expected - 1.0).abs() < 1e-6));
        assert_eq!(vanishing("weight", &layer.weight), None);
    }
}

#[test]
fn a_sample_that_says_nothing_is_refused_and_leaves_the_range() {
    use QuantizeError::{EmptySample, SampleNotFinite, SampleWithoutRange};
    let device = Device::flex();
    let empty = Tensor::<1>::from_data(TensorData::new(Vec::<f32>::new(), [0]), &device);
    let sample = plain(&[0.0, 0.5, 1.5], [3]);
    let [nan, infinite, zeros, negative] =
        [[1.0, f32::NAN], [1.0, f32::INFINITY], [0.0, 0.0], [-1.0, -2.0]].map(|values| plain(&values, [2]));
    for range in [RangeMethod::Lsq, RangeMethod::Pact, RangeMethod::MinMax, RangeMethod::MovingAverage] {
        let mut quantizer = QuantizerConfig { range, ..QuantizerConfig::activations(4) }.init(&device).unwrap();
        quantizer.calibrate(&sample).unwrap();
        let before = quantizer.grid(&sample);
        assert!((0.05..=0.1001).contains(&before.scale[0]), "{range:?}: {before:?}");
        let bad = [
            (&empty, EmptySample),
            (&nan, SampleNotFinite),
            (&infinite, SampleNotFinite),
            (&zeros, SampleWithoutRange),
            (&negative, SampleWithoutRange),
        ];
        for (sample, problem) in bad {
            assert_eq!(quantizer.calibrate(sample).unwrap_err(), problem, "{range:?}");
        }
        assert_eq!(quantizer.grid(&sample), before, "{range:?}");
    }
    let shifted = QuantizerConfig { range: RangeMethod::MinMax, zero_point: true, ..QuantizerConfig::activations(4) };
    assert_eq!(shifted.init(&device).unwrap().calibrate(&negative), Ok(()));

    let norm = BatchNormConfig::new(1).init(&device);
    let before = norm.folded();
    let broken: Tensor<2> = nan.reshape([2, 1]);
    assert_eq!(norm.calibrate(&broken).unwrap_err(), SampleNotFinite);
    assert_eq!(norm.folded(), before);
    let mut layer = QuantLinearConfig::new(2, 2).init(&Random::new(0, 0, 0), &device);
    assert_eq!(layer.calibrate(&zeros), Ok(()), "there is nothing to calibrate");
    layer = layer.quantize(None, Some(&QuantizerConfig::activations(4)), &StepClock::default()).unwrap();
    assert_eq!(layer.calibrate(&zeros), Err(SampleWithoutRange));
}

#[derive(Module, Debug)]
struct Delayed {
    hidden: QuantLinear,
    relu: QuantRelu,
}

impl Delayed {
    fn new(clock: &StepClock) -> Self {
        let device = Device::flex().autodiff();
        let weights = QuantizerConfig { delay: 3, ..QuantizerConfig::weights(2) };
        let activations = QuantizerConfig { delay: 3, ..QuantizerConfig::activations(2) };
        let hidden = drawn(QuantLinearConfig::new(3, 2).init(&Random::new(0, 0, 0), &device));
        Self {
            hidden: hidden.quantize(Some(&weights), None, clock).unwrap(),
            relu: QuantRelu::new().quantize(&activations, clock, &device).unwrap(),
        }
    }

    fn forward(&self) -> Vec<f32> {
        let x = plain(&[0.3, -1.1, 0.7, 2.0, 0.9, -0.4], [2, 3]);
        let hidden: Tensor<2> = self.hidden.forward(x);
        floats(self.relu.forward(hidden, None).values())
    }
}

#[test]
fn a_saved_model_remembers_that_its_delay_is_over() {
    // It lives to the end, because loaded values are read from the file when they are first used.
    let folder = tempfile::tempdir().unwrap();
    let reloaded = |model: &Delayed, name: &str| {
        let path = folder.path().join(name).with_extension("bpk");
        model.clone().save_file(&path).unwrap();
        Delayed::new(&StepClock::default()).load_file(&path)
    };
    let clock = StepClock::default();
    let model = Delayed::new(&clock);
    clock.set(2);
    let float = model.forward();
    assert_eq!(reloaded(&model, "waiting").forward(), float);
    clock.set(3);
    let hard = model.forward();
    assert_ne!(hard, float);
    let loaded = reloaded(&model, "begun");
    assert_eq!(loaded.forward(), hard);
    assert_eq!(loaded.valid().forward(), hard);
    // It is no parameter that learns.
    let noted: Vec<_> = parameters::read(&model).into_iter().filter(|parameter| !parameter.trainable).collect();
    let names: Vec<&str> = noted.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["hidden.weight.quantizer.begun", "relu.quantizer.begun"]);
    assert!(noted.iter().all(|parameter| parameter.values == [1.0]));
}
