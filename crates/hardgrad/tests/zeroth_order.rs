//! Guided gradients of modules: exact facts on quadratics, what is moved and what is not, and what is refused.

mod drawn;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use drawn::drawn;
use hardgrad::Surrogate;
use hardgrad::layers::{BatchNorm, BatchNormConfig, QuantLinear, QuantLinearConfig};
use hardgrad::parameters;
use hardgrad::quantize::{QuantizeWeights, QuantizerConfig, RangeMethod, StepClock};
use hardgrad::random::Random;
use hardgrad::zeroth_order::{
    Adaptive, Combination, Direction, Fogzo, GradientConfig, GradientMethod, Guidance, Measured, MethodName, Mix,
    Moment, Noise, Perturbed, Smoothing, ZerothOrderError, fogzo, quantized,
};
use proptest::prelude::*;

/// Two parameters, five values.
#[derive(Module, Debug)]
struct Pair {
    first: Param<Tensor<2>>,
    second: Param<Tensor<1>>,
}

const THETA: [f64; 5] = [0.4, -1.1, 0.7, 0.2, -0.6];
const GUIDE: [f64; 5] = [2.0, -1.0, 2.0, 0.5, -1.5];
const NAMES: [&str; 2] = ["first", "second"];

fn pair() -> Pair {
    let device = Device::flex().autodiff();
    let [a, b, c, d, e] = THETA.map(|theta| theta as f32);
    Pair {
        first: Param::from_tensor(Tensor::from_floats([[a, b, c]], &device)),
        second: Param::from_tensor(Tensor::from_floats([d, e], &device)),
    }
}

/// The parameters with these steps; width 1 at step 1 and epsilon 1.
fn perturbed(steps: [f32; 2]) -> Vec<Perturbed> {
    let smoothing = Smoothing { width: 1.0, noise: Noise::Uniform };
    NAMES.into_iter().zip(steps).map(|(name, step)| Perturbed { name: name.to_string(), step, smoothing }).collect()
}

fn guide() -> BTreeMap<String, Vec<f32>> {
    let all = GUIDE.map(|value| value as f32);
    BTreeMap::from([("first".to_string(), all[..3].to_vec()), ("second".to_string(), all[3..].to_vec())])
}

fn flat(gradients: &BTreeMap<String, Vec<f32>>) -> Vec<f64> {
    NAMES.into_iter().flat_map(|name| gradients[name].iter().map(|&value| f64::from(value))).collect()
}

fn theta(module: &Pair) -> Vec<f64> {
    parameters::read(module).into_iter().flat_map(|parameter| parameter.values).map(f64::from).collect()
}

/// Curvatures and couplings of the quadratic loss.
fn quadratic(t: &[f64]) -> f64 {
    let coupled: f64 = t.windows(2).map(|pair| 0.3 * pair[0] * pair[1]).sum();
    let own: f64 = t.iter().enumerate().map(|(i, t)| (0.5 + 0.2 * i as f64) * t * t - 0.4 * t).sum();
    own + coupled
}

fn derivative(t: &[f64]) -> Vec<f64> {
    let at = |i: isize| if i < 0 { 0.0 } else { t.get(i as usize).copied().unwrap_or(0.0) };
    let slope = |(i, t): (usize, &f64)| {
        2.0 * (0.5 + 0.2 * i as f64) * t - 0.4 + 0.3 * (at(i as isize - 1) + at(i as isize + 1))
    };
    t.iter().enumerate().map(slope).collect()
}

fn config(method: MethodName, directions: u32) -> GradientConfig {
    GradientConfig { method, directions, beta_min: 0.0, ..GradientConfig::default() }
}

fn moment(step: u32, progress: f64) -> Moment {
    Moment { seed: 3, step, progress }
}

/// The gradient of the quadratic by a method.
fn guided(config: &GradientConfig, steps: [f32; 2], at: Moment) -> Vec<f64> {
    let mut gradients = guide();
    let guidance = Guidance::new(config).unwrap().unwrap();
    let report =
        guidance.guide(&pair(), &perturbed(steps), &mut gradients, at, |moved| quadratic(&theta(moved))).unwrap();
    assert_eq!((report.passes, report.skipped), (2 * u64::from(config.directions), 0));
    flat(&gradients)
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(found.len() == expected.len() && near, "{found:?}, expected {expected:?}");
}

#[test]
fn beta_1_gives_a_multiple_of_the_straight_through_direction_for_any_widths() {
    for steps in [[1.0, 1.0], [0.5, 2.0]] {
        // At the first guided step beta is 1.
        let found = guided(&config(MethodName::Fogzo, 3), steps, moment(0, 0.0));
        let factor = found[0] / GUIDE[0];
        close(&found, &GUIDE.map(|guide| factor * guide), 1e-5);
        // The factor: the slope along the guide in units of the widths, over the guide's square.
        let width = |place: usize| f64::from(steps[usize::from(place >= 3)]);
        let slope: f64 = derivative(&THETA).iter().enumerate().map(|(i, d)| width(i).powi(2) * GUIDE[i] * d).sum();
        let square: f64 = GUIDE.iter().enumerate().map(|(i, guide)| (width(i) * guide).powi(2)).sum();
        assert!((factor - slope / square).abs() < 1e-5, "{factor}, expected {}", slope / square);
    }
}

#[test]
fn a_method_of_ones_own_is_run_like_the_named_ones() {
    let at = moment(7, 1.0);
    let own = Guidance::with_method(Box::new(Fogzo { beta_min: 0.5 }), 4, 1.0).unwrap();
    let mut gradients = guide();
    own.guide(&pair(), &perturbed([0.5, 2.0]), &mut gradients, at, |moved| quadratic(&theta(moved))).unwrap();
    let named = GradientConfig { beta_min: 0.5, ..config(MethodName::Fogzo, 4) };
    assert_eq!((own.name(), flat(&gradients)), ("fogzo", guided(&named, [0.5, 2.0], at)));
    assert!(Guidance::with_method(Box::new(Fogzo { beta_min: 0.5 }), 0, 1.0).is_err());
}

#[test]
fn beta_0_is_spsa() {
    let at = moment(7, 1.0);
    let spsa = guided(&config(MethodName::Spsa, 4), [0.5, 2.0], at);
    close(&guided(&config(MethodName::Fogzo, 4), [0.5, 2.0], at), &spsa, 0.0);
    let averaged = GradientConfig { weight: 1.0, ..config(MethodName::WeightedAverage, 4) };
    close(&guided(&averaged, [0.5, 2.0], at), &spsa, 0.0);
}

/// Mean and standard error of guided gradients over steps.
fn mean(config: &GradientConfig, steps: [f32; 2], progress: f64) -> (Vec<f64>, Vec<f64>) {
    let count = 4_000;
    let all: Vec<Vec<f64>> = (0..count).map(|step| guided(config, steps, moment(step, progress))).collect();
    let mean: Vec<f64> = (0..5).map(|i| all.iter().map(|row| row[i]).sum::<f64>() / f64::from(count)).collect();
    let error = |i: usize| {
        let squares: f64 = all.iter().map(|row| (row[i] - mean[i]).powi(2)).sum();
        (squares / f64::from(count - 1) / f64::from(count)).sqrt()
    };
    let errors = (0..5).map(error).collect();
    (mean, errors)
}

fn within_4_standard_errors(config: &GradientConfig, steps: [f32; 2], progress: f64, expected: &[f64]) {
    let (mean, errors) = mean(config, steps, progress);
    for ((found, error), expected) in mean.iter().zip(errors).zip(expected) {
        assert!((found - expected).abs() <= 4.0 * error + 1e-6, "{config:?}: {found} +- {error}, expected {expected}");
    }
}

#[test]
fn the_mean_on_a_quadratic_is_what_the_formula_says() {
    let gradient = derivative(&THETA);
    let (beta, square) = (0.6, GUIDE.iter().map(|guide| guide * guide).sum::<f64>());
    let along: f64 = GUIDE.iter().zip(&gradient).map(|(guide, d)| guide * d).sum::<f64>() / square;
    let expected: Vec<f64> =
        GUIDE.iter().zip(&gradient).map(|(guide, d)| beta * along * guide + (1.0 - beta) * d).collect();
    let fogzo = GradientConfig { beta_min: beta, ..config(MethodName::Fogzo, 2) };
    within_4_standard_errors(&fogzo, [1.0, 1.0], 1.0, &expected);

    let steps = [0.5, 2.0];
    // With widths W the guide is W g, and the mean beta (W g . W D) g/norm(W g)^2 + (1 - beta) D.
    let width = |place: usize| if place < 3 { 0.5f64 } else { 2.0 };
    let square: f64 = GUIDE.iter().enumerate().map(|(i, guide)| (width(i) * guide).powi(2)).sum();
    let along: f64 = (0..5).map(|i| width(i).powi(2) * GUIDE[i] * gradient[i]).sum::<f64>() / square;
    let expected: Vec<f64> =
        GUIDE.iter().zip(&gradient).map(|(guide, d)| beta * along * guide + (1.0 - beta) * d).collect();
    within_4_standard_errors(&fogzo, steps, 1.0, &expected);
    within_4_standard_errors(&config(MethodName::Spsa, 2), steps, 0.0, &gradient);
    let corrected = GradientConfig { weight: 1.0, ..config(MethodName::BiasCorrection, 2) };
    within_4_standard_errors(&corrected, steps, 0.0, &gradient);
    let averaged = GradientConfig { weight: 0.3, ..config(MethodName::WeightedAverage, 2) };
    let blend: Vec<f64> = GUIDE.iter().zip(&gradient).map(|(guide, d)| 0.7 * guide + 0.3 * d).collect();
    within_4_standard_errors(&averaged, steps, 0.0, &blend);
}

#[test]
fn bias_correction_is_quiet_where_the_straight_through_gradient_is_right() {
    let exact = derivative(&THETA).iter().map(|&d| d as f32).collect::<Vec<_>>();
    let mut gradients =
        BTreeMap::from([("first".to_string(), exact[..3].to_vec()), ("second".to_string(), exact[3..].to_vec())]);
    for (method, weight) in [(MethodName::BiasCorrection, 1.0), (MethodName::Adaptive, 0.5)] {
        let guidance = Guidance::new(&GradientConfig { weight, ..config(method, 3) }).unwrap().unwrap();
        let loss = |moved: &Pair| quadratic(&theta(moved));
        guidance.guide(&pair(), &perturbed([0.5, 2.0]), &mut gradients, moment(0, 0.0), loss).unwrap();
        close(&flat(&gradients), &derivative(&THETA), 1e-4);
    }
}

#[test]
fn the_adaptive_weight_is_bias_over_bias_and_variance() {
    let mix = Mix { guide: 0.0, noise: 1.0 };
    let direction = |slope, along| Direction { sign: 1.0, slope, along };
    // bias^2 = (1 + 9)/2, variance = (3 + 1)/2 (4 + 1)/2 = 5: the weight is one half.
    let directions = vec![direction(2.0, 1.0), direction(1.0, -2.0)];
    let measured = Measured { directions, mix, norm: 7.0, values: 3 };
    let Combination { straight_through, noise } = Adaptive.combine(&measured);
    assert!((straight_through - 0.5).abs() < 1e-12);
    close(&noise, &[0.5 * 2.0 / 2.0, 0.5 * 1.0 / 2.0], 1e-12);
    // A loss without slope: the straight-through gradient is all bias.
    let mut gradients = guide();
    let guidance = Guidance::new(&config(MethodName::Adaptive, 3)).unwrap().unwrap();
    guidance.guide(&pair(), &perturbed([1.0, 1.0]), &mut gradients, moment(0, 0.0), |_| 1.0).unwrap();
    assert_eq!(flat(&gradients), [0.0; 5]);
}

#[test]
fn a_straight_through_gradient_of_almost_nothing_counts_as_none() {
    let mut gradients = guide();
    gradients.values_mut().flatten().for_each(|value| *value *= 1e-38);
    let guidance = Guidance::new(&config(MethodName::Fogzo, 3)).unwrap().unwrap();
    let loss = |moved: &Pair| quadratic(&theta(moved));
    guidance.guide(&pair(), &perturbed([1.0, 1.0]), &mut gradients, moment(0, 0.5), loss).unwrap();
    assert!(flat(&gradients).iter().all(|value| value.is_finite()));
    assert!(flat(&gradients).iter().any(|value| *value != 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// The method for modules is the formula on slices: same points, same gradient.
    #[test]
    fn fogzo_of_a_module_is_fogzo_of_a_slice(step in 0u32..1000, beta in 0.0f64..1.0, epsilon in 0.1f64..2.0, n in 1u32..5) {
        let seen = RefCell::new(Vec::new());
        let config = GradientConfig { beta_min: beta, epsilon, ..config(MethodName::Fogzo, n) };
        let mut gradients = guide();
        let guidance = Guidance::new(&config).unwrap().unwrap();
        let loss = |moved: &Pair| {
            seen.borrow_mut().push(theta(moved));
            quadratic(&theta(moved))
        };
        guidance.guide(&pair(), &perturbed([1.0, 1.0]), &mut gradients, moment(step, 1.0), loss).unwrap();
        // Noise and signs from the points: w v = (plus - minus)/2; a guide of norm 1 leads with sqrt(beta).
        let norm = GUIDE.iter().map(|guide| guide * guide).sum::<f64>().sqrt();
        let seen = seen.into_inner();
        prop_assert_eq!(seen.len(), 2 * n as usize);
        let directions: Vec<Vec<f64>> = seen.chunks(2).map(|pair| {
            pair[0].iter().zip(&pair[1]).map(|(plus, minus)| (plus - minus) / 2.0 / epsilon).collect()
        }).collect();
        // The sign is not to be seen from outside; any sign with its noise makes the same direction.
        let noise: Vec<f64> = directions.iter().flat_map(|v| {
            v.iter().zip(GUIDE).map(|(v, guide)| (v - beta.sqrt() * guide / norm) / (1.0 - beta).sqrt()).collect::<Vec<_>>()
        }).collect();
        let signs = vec![1.0; n as usize];
        let expected = fogzo(&THETA, &GUIDE, &noise, &signs, beta, epsilon, quadratic);
        for (found, expected) in flat(&gradients).iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 2e-4 * (1.0 + expected.abs()), "{} {}", found, expected);
        }
    }
}

/// A quantised layer, batch norm, a quantised layer with another bit width, a float layer.
#[derive(Module, Debug)]
struct Net {
    first: QuantLinear,
    norm: BatchNorm,
    second: QuantLinear,
    output: Linear,
}

impl Net {
    fn new(clock: &StepClock, delay: u64) -> Self {
        let device = Device::flex().autodiff();
        let weights = |bits, range| QuantizerConfig { delay, range, ..QuantizerConfig::weights(bits) };
        let layer = |bits, range| {
            let layer = drawn(QuantLinearConfig::new(6, 6).init(&Random::new(0, 0, 0), &device));
            layer.quantize(Some(&weights(bits, range)), Some(&QuantizerConfig::activations(4)), clock).unwrap()
        };
        Self {
            first: layer(2, RangeMethod::Lsq),
            norm: BatchNormConfig::new(6).init(&device),
            second: layer(4, RangeMethod::MinMax),
            output: drawn(LinearConfig::new(6, 2).init(&device)),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.second.forward(self.norm.forward(self.first.forward(x))))
    }
}

fn input() -> Tensor<2> {
    Tensor::from_data([[0.5f32, 1.0, 0.2, 0.9, 0.1, 0.4], [1.5, 0.3, 0.8, 0.6, 0.2, 0.7]], &Device::flex())
}

#[test]
fn only_quantised_weights_move_and_nothing_else_is_touched() {
    let net = Net::new(&StepClock::default(), 0);
    let before = parameters::read(&net);
    let found = quantized(&net);
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["first.weight", "second.weight"]);
    assert!(found.iter().all(|found| found.step > 0.0 && found.smoothing == Smoothing::round()));
    let step = &net.first.weight.base().inner().abs().max().into_scalar::<f32>();
    assert!(found[0].step < *step, "{} of weights up to {step}", found[0].step);

    let guidance = Guidance::new(&config(MethodName::Spsa, 3)).unwrap().unwrap();
    let mut gradients = BTreeMap::from([("output.bias".to_string(), vec![7.0, 8.0])]);
    let calls = Cell::new(0);
    let loss = |probe: &Net| {
        calls.set(calls.get() + 1);
        let moved: Vec<String> = parameters::read(probe)
            .into_iter()
            .zip(&before)
            .filter(|(probe, before)| probe.values != before.values)
            .map(|(probe, _)| probe.name)
            .collect();
        assert_eq!(moved, ["first.weight", "second.weight"]);
        let y = probe.forward(input());
        assert!(!y.is_autodiff(), "a probe builds no graph");
        f64::from(y.sum().into_scalar::<f32>())
    };
    guidance.guide(&net, &found, &mut gradients, moment(0, 0.0), loss).unwrap();
    assert_eq!(calls.get(), 6);
    assert_eq!(parameters::read(&net), before);
    // The other gradients stay; those of the weights are new.
    assert_eq!(gradients["output.bias"], [7.0, 8.0]);
    assert!(gradients["first.weight"].iter().any(|value| *value != 0.0));
    assert_eq!(gradients.len(), 3);
}

#[test]
fn weights_whose_delay_is_not_over_are_not_probed() {
    let clock = StepClock::default();
    let net = Net::new(&clock, 5);
    assert_eq!(quantized(&net), []);
    clock.set(5);
    assert_eq!(quantized(&net).len(), 2);
}

#[test]
fn steps_are_those_of_each_range_method() {
    let layer = || drawn(LinearConfig::new(4, 3).init(&Device::flex()));
    let config =
        |range| QuantizerConfig { per_channel: false, range, fixed_scale: 0.25, ..QuantizerConfig::weights(2) };
    let step = |range| {
        let layer = layer();
        let largest = layer.weight.val().abs().max().into_scalar::<f32>();
        let layer = QuantizeWeights::new(config(range)).unwrap().apply(layer).unwrap();
        // Quantisers work again after the recording. Plus 0: no negative zero.
        let hard = layer.weight.val().into_data();
        let codes: BTreeSet<u32> = hard.iter::<f32>().map(|value| (value + 0.0).to_bits()).collect();
        assert!(codes.len() <= 4);
        (quantized(&layer)[0].step, largest)
    };
    assert_eq!(step(RangeMethod::Fixed).0, 0.25);
    let (found, largest) = step(RangeMethod::MinMax);
    assert!(found <= largest && found >= largest / 2.0);
    // y = 2 round(3 r)/3 - 1 of r = tanh(x)/(2 max abs(tanh(x))) + 1/2: two thirds of the largest tanh.
    let (found, largest) = step(RangeMethod::Dorefa);
    assert!((found - largest.tanh() * 2.0 / 3.0).abs() < 1e-6);
}

#[test]
fn losses_that_are_not_finite_are_left_out_and_counted() {
    let guidance = Guidance::new(&config(MethodName::Spsa, 4)).unwrap().unwrap();
    let calls = Cell::new(0);
    let mut gradients = guide();
    let loss = |moved: &Pair| {
        calls.set(calls.get() + 1);
        if calls.get() == 3 { f64::NAN } else { quadratic(&theta(moved)) }
    };
    let report = guidance.guide(&pair(), &perturbed([1.0, 1.0]), &mut gradients, moment(0, 0.0), loss).unwrap();
    assert_eq!((report.passes, report.skipped), (8, 1));
    assert!(flat(&gradients).iter().all(|value| value.is_finite()));

    let mut gradients = guide();
    let report =
        guidance.guide(&pair(), &perturbed([1.0, 1.0]), &mut gradients, moment(0, 0.0), |_| f64::INFINITY).unwrap();
    assert_eq!((report.skipped, flat(&gradients)), (4, GUIDE.to_vec()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let guidance = Guidance::new(&config(MethodName::Fogzo, 1)).unwrap().unwrap();
    let guide_with = |perturbed: &[Perturbed], gradients: &mut BTreeMap<String, Vec<f32>>| {
        guidance.guide(&pair(), perturbed, gradients, moment(0, 0.0), |_| 0.0).unwrap_err()
    };
    assert_eq!(guide_with(&[], &mut guide()), ZerothOrderError::NothingQuantized);
    let mut stranger = perturbed([1.0, 1.0]);
    stranger[1].name = "third".into();
    assert_eq!(guide_with(&stranger, &mut guide()), ZerothOrderError::Unknown { name: "third".into() });
    let error = guide_with(&perturbed([1.0, 0.0]), &mut guide());
    assert_eq!(error, ZerothOrderError::Step { name: "second".into(), step: 0.0 });
    let mut short = guide();
    short.insert("first".into(), vec![0.0; 2]);
    let error = guide_with(&perturbed([1.0, 1.0]), &mut short);
    assert_eq!(error, ZerothOrderError::Gradient { name: "first".into(), expected: 3, found: 2 });
    let mut wild = guide();
    wild.insert("first".into(), vec![f32::NAN; 3]);
    assert_eq!(guide_with(&perturbed([1.0, 1.0]), &mut wild), ZerothOrderError::NotFinite);
}

#[test]
fn the_same_bytes_with_any_number_of_threads() {
    let layer = drawn(LinearConfig::new(300, 200).init(&Device::flex().autodiff()));
    let layer = QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap().apply(layer).unwrap();
    let x = Tensor::<2>::ones([4, 300], &Device::flex());
    for method in [MethodName::Spsa, MethodName::Fogzo, MethodName::BiasCorrection] {
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let guidance = Guidance::new(&config(method, 2)).unwrap().unwrap();
                let mut gradients = BTreeMap::from([("weight".to_string(), vec![0.1; 60_000])]);
                let loss =
                    |layer: &Linear| f64::from(layer.forward(x.clone()).powi_scalar(2).mean().into_scalar::<f32>());
                guidance.guide(&layer, &quantized(&layer), &mut gradients, moment(1, 0.5), loss).unwrap();
                gradients["weight"].iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            })
        });
        assert!(one == two && one == three, "{method:?}");
    }
}

#[test]
fn own_hard_functions_are_probed_with_the_width_of_their_surrogate() {
    let net = pair();
    let smoothing = Smoothing::sign(Surrogate::Tanh).unwrap();
    let perturbed: Vec<Perturbed> = NAMES.map(|name| Perturbed { name: name.to_string(), step: 1.0, smoothing }).into();
    let guidance = Guidance::new(&config(MethodName::Spsa, 20_000)).unwrap().unwrap();
    let mut gradients = BTreeMap::new();
    let loss = |moved: &Pair| theta(moved).iter().map(|x| if *x >= 0.0 { 1.0 } else { -1.0 }).sum::<f64>();
    guidance.guide(&net, &perturbed, &mut gradients, moment(0, 0.0), loss).unwrap();
    for (found, x) in flat(&gradients).iter().zip(THETA) {
        // The mean of sign(x + w u) u/w: 2/w times the integral of t density(t) from abs(x)/w on.
        let (from, width) = (x.abs() / smoothing.width, 1e-4);
        let parts = (0..300_000).map(|i| from + (f64::from(i) + 0.5) * width);
        let expected = 2.0 / smoothing.width * parts.map(|t| t * smoothing.noise.density(t) * width).sum::<f64>();
        // Five values share each direction, whose slope is up to 5: a standard deviation of about sqrt(6/20000).
        assert!((found - expected).abs() < 0.08, "{found}, expected {expected}");
    }
}
