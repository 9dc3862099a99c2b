//! Networks made from descriptions: names, chains, rules, calibration, packing to the bit.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::coded::CodedTensor;
use hardgrad::network::{Network, NetworkError, Value};
use hardgrad::parameters::{self, Role};
use hardgrad::quantize::StepClock;
use hardgrad::random::Random;
use hardgrad::runtime::{Description, PackedModel, Pixels, Rule, first_difference};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const PIXELS: Pixels = Pixels { scale: 0.02, zero_point: 100 };

fn description(shape: &[usize], nodes: Json) -> Description {
    serde_json::from_value(json!({"input": {"shape": shape}, "node": nodes})).unwrap()
}

/// A residual network: chains with and without batch norm, a shortcut that changes its shape.
fn residual() -> Description {
    description(
        &[2, 8, 6],
        json!([
            {"name": "conv1", "op": "conv2d", "channels": 4, "kernel": 3, "padding": 1, "bias": false},
            {"name": "norm1", "op": "batch_norm"},
            {"name": "relu1", "op": "relu"},
            {"name": "conv2", "op": "conv2d", "channels": 6, "kernel": 3, "padding": 1, "stride": 2, "bias": false},
            {"name": "norm2", "op": "batch_norm"},
            {"name": "shortcut.conv", "op": "conv2d", "channels": 6, "kernel": 1, "stride": 2, "input": "relu1"},
            {"name": "shortcut.norm", "op": "batch_norm"},
            {"name": "add2", "op": "add", "input": ["norm2", "shortcut.norm"]},
            {"name": "relu2", "op": "relu"},
            {"name": "conv3", "op": "conv2d", "channels": 6, "kernel": 3, "padding": 1, "groups": 6},
            {"name": "add3", "op": "add", "input": ["conv3", "relu2"]},
            {"name": "relu3", "op": "relu"},
            {"name": "pool", "op": "max_pool2d", "kernel": 2},
            {"name": "mean", "op": "global_mean"},
            {"name": "hidden", "op": "linear", "outputs": 5},
            {"name": "relu4", "op": "relu"},
            {"name": "output", "op": "linear", "outputs": 3}
        ]),
    )
}

/// A vision transformer.
fn transformer() -> Description {
    description(
        &[1, 6, 4],
        json!([
            {"name": "patches", "op": "patches", "size": 2},
            {"name": "embedding", "op": "linear", "outputs": 8},
            {"name": "class", "op": "class_token"},
            {"name": "position", "op": "position_embedding"},
            {"name": "norm1", "op": "layer_norm"},
            {"name": "qkv", "op": "linear", "outputs": 24},
            {"name": "attention", "op": "attention", "heads": 2},
            {"name": "out", "op": "linear", "outputs": 8},
            {"name": "add1", "op": "add", "input": ["position", "out"]},
            {"name": "norm2", "op": "layer_norm"},
            {"name": "up", "op": "linear", "outputs": 16},
            {"name": "gelu", "op": "gelu"},
            {"name": "down", "op": "linear", "outputs": 8},
            {"name": "add2", "op": "add", "input": ["add1", "down"]},
            {"name": "norm3", "op": "layer_norm"},
            {"name": "take", "op": "take_token"},
            {"name": "output", "op": "linear", "outputs": 3}
        ]),
    )
}

fn bits(weight_bits: u32, activation_bits: u32) -> Rule {
    Rule { weight_bits: Some(weight_bits), activation_bits: Some(activation_bits), ..Rule::all() }
}

fn bytes(description: &Description, items: usize) -> Vec<u8> {
    let count: usize = items * description.input.shape.iter().product::<usize>();
    (0..count as u64).map(|index| Random::new(5, 0, 0).below(index, 256) as u8).collect()
}

fn input(description: &Description, bytes: Vec<u8>) -> Value {
    match description.input.shape[..] {
        [channels, height, width] => {
            let items = bytes.len() / (channels * height * width);
            CodedTensor::from_bytes(bytes, [items, channels, height, width], PIXELS).into()
        }
        [features] => CodedTensor::from_bytes(bytes.clone(), [bytes.len() / features, features], PIXELS).into(),
        ref other => panic!("{other:?} is no input"),
    }
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The network with batch norms that have seen something, quantised by these rules; calibrated, with what that left
/// unset.
fn prepared(description: &Description, rules: &[Rule]) -> (Network, usize) {
    let network = Network::new(description, 3, &Device::flex()).unwrap();
    let network = parameters::update(network, |name, _, values| {
        let random = Random::new(9, name.len() as u32, 0);
        for (index, value) in values.iter_mut().enumerate() {
            let drawn = random.uniform(index as u64);
            if name.ends_with("gamma") || name.ends_with("running_variance") {
                *value = 0.5 + drawn;
            } else if name.ends_with("beta") || name.ends_with("running_mean") {
                *value = drawn - 0.5;
            } else if name.ends_with("bias") {
                *value = 0.3 * drawn;
            }
        }
    });
    let network = if rules.is_empty() { network } else { network.quantize(rules, &StepClock::default()).unwrap() };
    let (network, problems) = network.calibrate(input(description, bytes(description, 6)));
    (network, problems.len())
}

/// The same where every range is set.
fn calibrated(description: &Description, rules: &[Rule]) -> Network {
    let (network, problems) = prepared(description, rules);
    assert_eq!(problems, 0);
    network
}

fn classes(network: &Network) -> Vec<String> {
    let outputs = network.description().check().unwrap().pop().unwrap().output[0];
    (0..outputs).map(|class| class.to_string()).collect()
}

/// Fused, node by node and packed: the same bits, of outputs that depend on the inputs.
fn assert_one_function(network: &Network) -> PackedModel {
    let (packed, logits) = packed_with_its_logits(network);
    assert!(logits.iter().any(|logit| *logit != logits[0]), "the inputs matter");
    packed
}

/// The packed model of a network, whose bits are those of the fused forward pass and of that node by node; and its
/// logits.
fn packed_with_its_logits(network: &Network) -> (PackedModel, Vec<f32>) {
    let description = network.description();
    let pixels = bytes(description, 5);
    let fused = floats(network.forward(input(description, pixels.clone())));
    let Value::Features(plain) = network.run(input(description, pixels.clone()), &mut ()) else { panic!("features") };
    let names = classes(network);
    assert!(first_difference(&fused, &floats(plain.values()), names.len()).is_identical(), "fused and node by node");
    let packed = network.pack(PIXELS, names.clone()).unwrap();
    let file = PackedModel::from_bytes(&packed.to_bytes().unwrap()).unwrap();
    let found = file.plan().unwrap().logits(&pixels).unwrap();
    let comparison = first_difference(&fused, &found, names.len());
    assert!(comparison.is_identical(), "trained and packed: {:?}", comparison.first);
    (packed, fused)
}

#[test]
fn parameters_are_called_after_their_nodes_and_know_their_roles() {
    let network = calibrated(&residual(), &[bits(3, 4)]);
    let roles: BTreeMap<String, Role> = parameters::roles(&network.train());
    assert_eq!(roles["conv1.weight"], Role::Weight { output_axis: 0 });
    assert_eq!(roles["output.weight"], Role::Weight { output_axis: 1 });
    assert_eq!((roles["output.bias"], roles["norm1.gamma"]), (Role::Bias, Role::Norm));
    assert_eq!(roles["norm1.running_mean"], Role::Statistic);
    let ranges: Vec<&String> = roles.iter().filter(|(_, role)| **role == Role::Range).map(|(name, _)| name).collect();
    assert!(ranges.iter().any(|name| name.starts_with("relu1.quantizer.")), "{ranges:?}");
    assert!(ranges.iter().any(|name| name.starts_with("conv1.weight.quantizer.")), "{ranges:?}");
}

#[test]
fn a_network_is_one_function_fused_node_by_node_and_packed() {
    for description in [residual(), transformer()] {
        for (weights, activations) in [(2, 2), (4, 4), (8, 8), (3, 6)] {
            assert_one_function(&calibrated(&description, &[bits(weights, activations)]));
        }
    }
}

#[test]
fn range_methods_are_one_function_too() {
    let words = |weights: &str, activations: &str| Rule {
        weight_range: Some(weights.to_string()),
        activation_range: Some(activations.to_string()),
        ..bits(4, 4)
    };
    for (weights, activations) in
        [("lsq", "pact"), ("min_max", "min_max"), ("dorefa", "dorefa"), ("lsq", "moving_average"), ("fixed", "fixed")]
    {
        let rule = Rule { fixed_scale: Some(0.1), ..words(weights, activations) };
        // The mean behind the pooling is never negative, as these methods need.
        assert_one_function(&calibrated(&residual(), &[rule]));
    }
}

#[test]
fn layers_that_rules_leave_in_float_are_packed_as_floats() {
    for description in [residual(), transformer()] {
        assert_one_function(&calibrated(&description, &[]));
        let first = description.nodes.iter().find(|node| node.op.has_weights()).unwrap();
        let in_float = |name: &str| Rule { nodes: name.to_string(), ..bits(32, 32) };
        let packed =
            assert_one_function(&calibrated(&description, &[bits(4, 4), in_float(&first.name), in_float("output")]));
        let bits: Vec<Option<u32>> =
            packed.summary().iter().filter(|node| node.weight_bits.is_some()).map(|node| node.weight_bits).collect();
        assert_eq!((bits[0], bits[1], bits[bits.len() - 1]), (Some(32), Some(4), Some(32)));
    }
}

#[test]
fn codes_are_made_once_and_read_by_many() {
    let packed = assert_one_function(&calibrated(&residual(), &[bits(4, 4)]));
    let readers = |name: &str| {
        packed.description.nodes.iter().filter(|node| node.inputs.iter().any(|input| input == name)).count()
    };
    assert_eq!((readers("relu1.quantizer"), readers("relu1")), (2, 1));
    assert_eq!((readers("relu2.quantizer"), readers("relu2")), (2, 1));
    // A residual sum stays real: only the linear layers read codes.
    let packed = assert_one_function(&calibrated(&transformer(), &[bits(4, 4)]));
    let add = packed.description.nodes.iter().find(|node| node.name == "add1").unwrap();
    assert_eq!(add.inputs, ["position", "out"]);
}

#[test]
fn gradients_reach_everything_that_learns() {
    for description in [residual(), transformer()] {
        let network = calibrated(&description, &[bits(4, 4)]).train();
        let loss = network.forward(input(&description, bytes(&description, 4))).powi_scalar(2).sum();
        let mut found = GradientsParams::from_grads(loss.backward(), &network);
        let found: BTreeMap<String, Vec<f32>> = parameters::gradients(&network, &mut found).into_iter().collect();
        for parameter in parameters::read(&network).into_iter().filter(|parameter| parameter.trainable) {
            assert!(found.contains_key(&parameter.name), "{} has no gradient", parameter.name);
        }
    }
}

#[test]
fn values_pass_unchanged_until_the_delay_is_over() {
    let (description, clock) = (residual(), StepClock::default());
    let network = || Network::new(&description, 3, &Device::flex()).unwrap();
    let quantized = network().quantize_after(&[bits(2, 2)], 5, &clock).unwrap();
    let logits = |network: &Network| floats(network.forward(input(&description, bytes(&description, 2))));
    assert_eq!(logits(&quantized), logits(&network()));
    assert!(quantized.pack(PIXELS, classes(&quantized)).unwrap_err().to_string().contains("delay"));
    clock.set(5);
    assert_ne!(logits(&quantized), logits(&network()));
}

#[test]
fn rules_that_cannot_be_are_named() {
    let quantize = |rules: &[Rule]| {
        Network::new(&residual(), 0, &Device::flex()).unwrap().quantize(rules, &StepClock::default()).unwrap_err()
    };
    let rule = |nodes: &str| Rule { nodes: nodes.to_string(), ..bits(4, 4) };
    let NetworkError::NoNode { nodes, names } = quantize(&[rule("relu1")]) else { panic!("relu1 has no weight") };
    assert_eq!((nodes.as_str(), names.len()), ("relu1", 6));
    let word = Rule { weight_range: Some("lsp".to_string()), ..rule("*") };
    assert!(quantize(&[word]).to_string().contains("lsp"));
    assert!(quantize(&[Rule { weight_bits: Some(9), ..rule("*") }]).to_string().starts_with("node conv1"));
    let other = Rule { activation_bits: Some(2), ..rule("shortcut.*") };
    let float = Rule { activation_bits: Some(32), ..rule("shortcut.*") };
    for other in [other, float] {
        let error = quantize(&[rule("*"), other]).to_string();
        assert!(error.contains("conv2") && error.contains("shortcut.conv") && error.contains("relu1"), "{error}");
    }
}

#[test]
fn rules_of_the_description_win() {
    let mut description = residual();
    description.rules = vec![Rule { nodes: "output".to_string(), weight_bits: Some(8), ..Rule::all() }];
    description.rules[0].activation_bits = None;
    let packed = assert_one_function(&calibrated(&description, &[bits(2, 2)]));
    let weight_bits = |name: &str| packed.summary().into_iter().find(|node| node.name == name).unwrap().weight_bits;
    assert_eq!((weight_bits("output"), weight_bits("hidden")), (Some(8), Some(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any chain of blocks, some with shortcuts, at any bits.
    #[test]
    fn any_network_is_one_function(
        blocks in prop::collection::vec((1usize..5, any::<bool>(), any::<bool>()), 1..4), weights in 1u32..=8,
        activations in 2u32..=8,
    ) {
        let mut nodes = Vec::new();
        let mut before = "input".to_string();
        let mut channels = 2;
        for (index, (outputs, norm, shortcut)) in blocks.into_iter().enumerate() {
            let outputs = if shortcut { channels } else { outputs };
            let name = |part: &str| format!("{part}{index}");
            nodes.push(json!({
                "name": name("conv"), "op": "conv2d", "channels": outputs, "kernel": 3, "padding": 1, "input": before
            }));
            let mut last = name("conv");
            if norm {
                nodes.push(json!({"name": name("norm"), "op": "batch_norm"}));
                last = name("norm");
            }
            if shortcut {
                nodes.push(json!({"name": name("add"), "op": "add", "input": [last, before]}));
            }
            nodes.push(json!({"name": name("relu"), "op": "relu"}));
            (before, channels) = (name("relu"), outputs);
        }
        nodes.push(json!({"name": "mean", "op": "global_mean"}));
        nodes.push(json!({"name": "output", "op": "linear", "outputs": 2}));
        let description = description(&[2, 5, 7], Json::Array(nodes));
        let range = (weights == 1).then(|| "min_max".to_string());
        // So few levels may leave nothing above 0 behind a ReLU; the bits are the same nevertheless.
        let (network, _) = prepared(&description, &[Rule { weight_range: range, ..bits(weights, activations) }]);
        packed_with_its_logits(&network);
    }
}

#[test]
fn a_float_input_is_taken_as_it_is() {
    let description = residual();
    let network = calibrated(&description, &[bits(4, 4)]);
    let pixels = bytes(&description, 2);
    let values: Vec<f32> = pixels.iter().map(|&byte| (f32::from(byte) - 100.0) * PIXELS.scale).collect();
    let x = Tensor::<4>::from_data(TensorData::new(values, [2, 2, 8, 6]), &Device::flex());
    let (a, b) = (floats(network.forward(x)), floats(network.forward(input(&description, pixels))));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
}
