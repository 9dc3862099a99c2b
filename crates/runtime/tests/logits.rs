//! Logits against a slow implementation that shares no code with the executor.

mod common;

use common::reference::{reference, references};
use common::{Draw, codes, every_kind, example, floats, item, model, tokens, transformer};
use hardgrad_runtime::{PackedError, PackedModel, Pixels, Stored, first_difference};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn the_executor_equals_the_slow_implementation_in_every_bit() {
    let (mut varied, mut asymmetric) = (0, 0);
    for bits in 1..=8 {
        for seed in 0..12 {
            let model = every_kind(bits, seed * 8 + u64::from(bits));
            let pixels = Draw::new(!seed).pixels(19 * item(&model));
            let logits = model.plan().unwrap().logits(&pixels).unwrap();
            let comparison = first_difference(&logits, &references(&model, &pixels), 3);
            assert!(comparison.is_identical(), "bits {bits}, seed {seed}: {comparison:?}");
            varied += usize::from(logits.chunks(3).any(|row| row != &logits[..3]));
            asymmetric += usize::from(model.tensors.values().any(|stored| match stored {
                Stored::Codes(weight) => weight.first.len() > 1,
                Stored::Float(_) => false,
            }));
        }
    }
    // Models whose logits do not depend on the image prove little.
    assert!(varied > 60, "only {varied} of 96 models give logits that depend on the image");
    assert!(asymmetric > 48, "only {asymmetric} of 96 models have a weight with a first number a channel");
}

#[test]
fn tokens_equal_the_slow_implementation_in_every_bit() {
    for seed in 0..24 {
        let model = tokens(seed);
        let pixels = Draw::new(!seed).pixels(19 * item(&model));
        let logits = model.plan().unwrap().logits(&pixels).unwrap();
        let comparison = first_difference(&logits, &references(&model, &pixels), 3);
        assert!(comparison.is_identical(), "seed {seed}: {comparison:?}");
        assert!(logits.chunks(3).any(|row| row != &logits[..3]), "seed {seed}");
    }
}

#[test]
fn attention_gelu_and_layer_norm_are_near_the_formulas_in_double_precision() {
    for seed in 0..24 {
        let model = transformer(seed, false);
        let pixels = Draw::new(!seed).pixels(7 * item(&model));
        let logits = model.plan().unwrap().logits(&pixels).unwrap();
        for (place, (logit, expected)) in logits.iter().zip(references(&model, &pixels)).enumerate() {
            assert!((logit - expected).abs() < 1e-4, "seed {seed}, logit {place}: {logit}, not {expected}");
        }
        assert!(logits.chunks(3).any(|row| row != &logits[..3]), "seed {seed}");
    }
}

#[test]
fn one_thread_and_two_and_one_image_at_a_time_give_the_same_bytes() {
    for model in [every_kind(3, 7), tokens(1), transformer(2, false), transformer(3, true)] {
        let executor = model.plan().unwrap();
        let pixels = Draw::new(9).pixels(50 * item(&model));
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| executor.logits(&pixels).unwrap())
        };
        let one = with_threads(1);
        assert!(first_difference(&one, &with_threads(2), 3).is_identical());
        let alone: Vec<f32> = pixels.chunks(item(&model)).flat_map(|pixels| executor.logits(pixels).unwrap()).collect();
        assert!(first_difference(&one, &alone, 3).is_identical());
    }
}

/// A network over images of `shape`, whose pixels count as they are.
fn small(shape: [usize; 3], nodes: Value, classes: u8, tensors: &[(&str, Stored)]) -> Result<PackedModel, PackedError> {
    let network = json!({"input": {"shape": shape}, "node": nodes});
    model(network, Pixels { scale: 1.0, zero_point: 0 }, classes, tensors)
}

#[test]
fn each_output_channel_has_its_own_first_number() {
    let run = |nodes: Value, first: &[i32]| {
        let weight = codes(2, first, 1, &[0, 1, 2, 3, 3, 0, 0, 0], &[1.0]);
        let model = small([1, 2, 2], nodes, 2, &[("a.weight", weight)]).unwrap();
        assert_eq!(PackedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
        let logits = model.plan().unwrap().logits(&[1, 10, 0, 100]).unwrap();
        assert!(first_difference(&logits, &reference(&model, &[1, 10, 0, 100]), 2).is_identical());
        logits
    };
    let conv = json!({"name": "a", "op": "conv2d", "channels": 2, "kernel": 2, "bias": false});
    let linear = json!({"name": "a", "op": "linear", "outputs": 2, "bias": false});
    // The codes give 310 and 3; each step down of the first number takes away 111.
    for (first, expected) in
        [(&[0][..], [310.0, 3.0]), (&[-1], [199.0, -108.0]), (&[0, -2], [310.0, -219.0]), (&[-3, 1], [-23.0, 114.0])]
    {
        assert_eq!(run(json!([{"name": "flatten", "op": "flatten"}, linear]), first), expected, "{first:?}");
        assert_eq!(run(json!([conv, {"name": "flatten", "op": "flatten"}]), first), expected, "{first:?}");
    }
}

#[test]
fn values_are_kept_until_their_last_reader() {
    // Each node reads values that stand long before it; relu and flatten would change them in place.
    let nodes = json!([
        {"name": "flat", "op": "flatten"},
        {"name": "one", "op": "relu", "input": "flat"},
        {"name": "two", "op": "batch_norm", "input": "one"},
        {"name": "three", "op": "relu", "input": "two"},
        {"name": "unread", "op": "gelu", "input": "two"},
        {"name": "four", "op": "add", "input": ["two", "three"]},
        {"name": "five", "op": "add", "input": ["four", "four"]},
        {"name": "six", "op": "add", "input": ["one", "five"]},
        {"name": "again", "op": "flatten", "input": "input"},
        {"name": "seven", "op": "add", "input": ["again", "six"]},
        {"name": "eight", "op": "add", "input": ["seven", "two"]},
    ]);
    let norm = [("two.multiplier", floats(&[-1.0, 2.0])), ("two.offset", floats(&[0.5, -3.0]))];
    let model = small([1, 1, 2], nodes, 2, &norm).unwrap();
    let pixels = [3, 1, 0, 9, 200, 255];
    let logits = model.plan().unwrap().logits(&pixels).unwrap();
    // 2 x + 3 two + 2 max(two, 0) with two = x multiplier + offset.
    assert_eq!(logits, [-1.5, -1.0, 2.5, 93.0, -198.5, 3045.0]);
    assert!(first_difference(&logits, &references(&model, &pixels), 2).is_identical());
}

#[test]
fn models_that_need_too_much_memory_are_refused_before_it_is_allocated() {
    let side = 1 << 14;
    let network = |branches: usize| {
        let mut nodes: Vec<Value> = (0..branches)
            .map(|place| json!({"name": format!("gelu{place}"), "op": "gelu", "input": "input"}))
            .collect();
        let mut before = "gelu0".to_string();
        for place in 1..branches {
            let name = format!("add{place}");
            nodes.push(json!({"name": name, "op": "add", "input": [before, format!("gelu{place}")]}));
            before = name;
        }
        nodes.push(json!({"name": "mean", "op": "global_mean"}));
        small([1, side, side], json!(nodes), 1, &[]).unwrap()
    };
    // The input and the branches are kept at the same time.
    assert!(network(2).plan().is_ok());
    let error = network(5).plan().unwrap_err();
    assert!(matches!(error, PackedError::Memory { values } if values >= 6 << 28), "{error}");
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

/// Two classes of images of 1 x 2 pixels, their difference as the first logit, then nodes of one factor a class.
fn amplified(multipliers: &[[f32; 2]]) -> PackedModel {
    let mut nodes = vec![
        json!({"name": "flatten", "op": "flatten"}),
        json!({"name": "linear", "op": "linear", "outputs": 2, "bias": false}),
    ];
    let names: Vec<String> = (0..multipliers.len()).map(|place| format!("norm{place}")).collect();
    nodes.extend(names.iter().map(|name| json!({"name": name, "op": "batch_norm"})));
    let network = json!({"input": {"shape": [1, 1, 2]}, "node": nodes});
    let mut tensors = vec![("linear.weight".to_string(), codes(1, &[-1], 2, &[1, 0, 0, 1], &[0.5]))];
    for (name, multiplier) in names.iter().zip(multipliers) {
        tensors.push((format!("{name}.multiplier"), floats(multiplier)));
        tensors.push((format!("{name}.offset"), floats(&[0.0; 2])));
    }
    let tensors: Vec<(&str, Stored)> = tensors.iter().map(|(name, stored)| (&name[..], stored.clone())).collect();
    model(network, Pixels { scale: 0.25, zero_point: 0 }, 2, &tensors).unwrap()
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
        numbers in prop::collection::vec(0u8..4, 8),
        bias in prop::array::uniform2(-1e38f32..1e38),
        zero_point: u8,
        random in prop::array::uniform4(any::<u8>()),
    ) {
        let weight = codes(2, &[-2], 1, &numbers, &[10f32.powf(exponent)]);
        let network = json!({"input": {"shape": [1, 2, 2]}, "node": [
            {"name": "flatten", "op": "flatten"}, {"name": "linear", "op": "linear", "outputs": 2},
        ]});
        let tensors = [("linear.weight", weight), ("linear.bias", floats(&bias))];
        if let Ok(model) = model(network, Pixels { scale: 1.0, zero_point }, 2, &tensors) {
            // The images with the largest and the smallest sum of each class, and any other.
            let mut pixels = random.to_vec();
            for numbers in numbers.chunks(4) {
                pixels.extend(numbers.iter().map(|&code| if code > 2 { 255 } else { 0 }));
                pixels.extend(numbers.iter().map(|&code| if code > 2 { 0 } else { 255 }));
            }
            let logits = model.plan().unwrap().logits(&pixels);
            prop_assert!(logits.is_ok(), "{:?}", logits);
        }
    }
}
