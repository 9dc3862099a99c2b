//! Networks as modules: what they are made of, what readers see, ranges from samples, values of stock layers.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{self, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::coded::CodedTensor;
use hardgrad::network::{Network, NetworkError, NodeModule, Reader, Value};
use hardgrad::parameters;
use hardgrad::quantize::StepClock;
use hardgrad::random::Random;
use hardgrad::runtime::{Description, Pixels, Rule};
use serde_json::{Value as Json, json};

const PIXELS: Pixels = Pixels { scale: 0.02, zero_point: 100 };

fn description(shape: &[usize], nodes: Json) -> Description {
    serde_json::from_value(json!({"input": {"shape": shape}, "node": nodes})).unwrap()
}

/// Two convolutions with batch norm, a shortcut, a linear layer.
fn images() -> Description {
    description(
        &[2, 6, 6],
        json!([
            {"name": "conv1", "op": "conv2d", "channels": 4, "kernel": 3, "padding": 1, "bias": false},
            {"name": "norm1", "op": "batch_norm"},
            {"name": "relu1", "op": "relu"},
            {"name": "conv2", "op": "conv2d", "channels": 4, "kernel": 3, "padding": 1, "bias": false},
            {"name": "norm2", "op": "batch_norm"},
            {"name": "add", "op": "add", "input": ["norm2", "relu1"]},
            {"name": "relu2", "op": "relu"},
            {"name": "flatten", "op": "flatten"},
            {"name": "output", "op": "linear", "outputs": 3}
        ]),
    )
}

fn rule(range: &str) -> Rule {
    let range = Some(range.to_string());
    Rule {
        weight_bits: Some(4),
        activation_bits: Some(4),
        weight_range: range.clone(),
        activation_range: range,
        ..Rule::all()
    }
}

fn quantized(device: &Device, range: &str) -> Network {
    Network::new(&images(), 3, device).unwrap().quantize(&[rule(range)], &StepClock::default()).unwrap()
}

fn sample(items: usize) -> CodedTensor<4> {
    let bytes = (0..items as u64 * 72).map(|index| Random::new(5, 0, 0).below(index, 256) as u8).collect();
    CodedTensor::from_bytes(bytes, [items, 2, 6, 6], PIXELS)
}

/// Values by name.
fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    parameters::read(module).into_iter().map(|parameter| (parameter.name, parameter.values)).collect()
}

#[derive(Default)]
struct Seen(Vec<String>);

impl Reader for Seen {
    fn node(&mut self, name: &str, _: &NodeModule, inputs: &[&Value], output: &Value) {
        assert!(inputs.iter().all(|input| input.dims()[0] == output.dims()[0]));
        self.0.push(name.to_string());
    }
}

#[test]
fn readers_see_nodes_and_quantisers_in_their_order() {
    let mut seen = Seen::default();
    quantized(&Device::flex(), "lsq").run(sample(2), &mut seen);
    let expected = [
        "conv1",
        "norm1",
        "relu1",
        "relu1.quantizer",
        "conv2",
        "norm2",
        "add",
        "relu2",
        "relu2.quantizer",
        "flatten",
        "output",
    ];
    assert_eq!(seen.0, expected);
}

#[derive(Module, Debug)]
struct Pair {
    first: Network,
    second: Network,
}

#[test]
fn a_module_may_hold_networks() {
    let device = Device::flex();
    let pair = Pair { first: quantized(&device, "lsq"), second: Network::new(&images(), 4, &device).unwrap() };
    let names: Vec<String> = parameters::read(&pair).into_iter().map(|parameter| parameter.name).collect();
    assert!(
        ["first.conv1.weight", "first.relu1.quantizer.range.scale.log", "second.norm2.running_mean"]
            .iter()
            .all(|name| names.iter().any(|found| found == name))
    );
    assert!(pair.to_string().contains("conv1"));
    // Weights follow from the seed, and differ from node to node.
    let (first, second) = (values(&pair.first), values(&pair.second));
    assert_ne!(first["conv1.weight"], second["conv1.weight"]);
    assert_eq!(second, values(&Network::new(&images(), 4, &device).unwrap()));
    assert_ne!(second["conv2.weight"][..72], second["conv1.weight"][..]);
}

#[test]
fn descriptions_that_are_no_networks_are_named() {
    let refused =
        |nodes: Json| Network::new(&description(&[1, 4, 4], nodes), 0, &Device::flex()).unwrap_err().to_string();
    let image = refused(json!([{"name": "conv", "op": "conv2d", "channels": 2, "kernel": 3}]));
    assert!(image.contains("node conv") && image.contains("flatten"), "{image}");
    let levels = refused(json!([{"name": "levels", "op": "quantize", "bits": 4, "lowest": 0, "highest": 15}]));
    assert!(levels.contains("node levels") && levels.contains("rule"), "{levels}");
    assert!(refused(json!([])).contains("node"));
}

#[test]
fn ranges_are_the_same_on_and_off_the_gradient_tape() {
    for range in ["lsq", "dorefa", "min_max"] {
        let (plain, problems) = quantized(&Device::flex(), range).calibrate(sample(8));
        assert!(problems.is_empty(), "{range}: {problems:?}");
        let (training, _) = quantized(&Device::flex().autodiff(), range).calibrate(sample(8));
        assert_eq!(values(&plain), values(&training), "{range}");
        // DoReFa stretches weights, so that the statistics of before are wrong.
        let moved = values(&plain)["norm1.running_mean"].iter().any(|mean| *mean != 0.0);
        assert_eq!(moved, range == "dorefa");
        let learned = parameters::read(&training);
        assert!(
            learned.iter().filter(|parameter| parameter.name.ends_with("log")).all(|parameter| parameter.trainable)
        );
        let loss = training.forward(sample(2)).square().sum();
        let mut gradients = GradientsParams::from_grads(loss.backward(), &training);
        assert!(!parameters::gradients(&training, &mut gradients).is_empty());
    }
}

#[test]
fn every_range_is_that_of_what_the_quantised_nodes_before_give() {
    let (network, problems) = quantized(&Device::flex(), "lsq").calibrate(sample(8));
    assert!(problems.is_empty(), "{problems:?}");
    let mut seen = Vec::new();
    network.visit_inputs(sample(8), &mut |name, quantizer, x| {
        let mut again = quantizer.clone();
        again.calibrate(&x).unwrap();
        assert_eq!(values(&again), values(quantizer), "{name}");
        seen.push(name.to_string());
    });
    assert_eq!(seen, ["relu1.quantizer", "relu2.quantizer"]);
}

#[test]
fn nodes_that_a_sample_tells_nothing_are_named_and_stay_as_they_were() {
    // No output of the first norm is above 0.
    let network = parameters::update(quantized(&Device::flex(), "lsq"), |name, _, values| match name {
        "norm1.gamma" => values.fill(0.0),
        "norm1.beta" => values.fill(-1.0),
        _ => {}
    });
    let before = values(&network);
    let (network, problems) = network.calibrate(sample(8));
    assert_eq!(problems.iter().map(|(name, _)| name.as_str()).next(), Some("relu1.quantizer"));
    let scale = "relu1.quantizer.range.scale.log";
    assert_eq!(values(&network)[scale], before[scale]);
}

#[test]
fn a_batch_norm_of_the_network_s_input_trains() {
    let table = description(
        &[4],
        json!([{"name": "norm", "op": "batch_norm"}, {"name": "output", "op": "linear", "outputs": 2}]),
    );
    let network = Network::new(&table, 0, &Device::flex().autodiff()).unwrap();
    let rows = || CodedTensor::from_bytes((0..32).map(|byte| byte * 7).collect(), [8, 4], PIXELS);
    let _ = network.valid().forward(rows());
    assert!(values(&network)["norm.running_mean"].iter().all(|mean| *mean == 0.0));
    let loss = network.forward(rows()).square().sum();
    assert!(values(&network)["norm.running_mean"].iter().all(|mean| *mean != 0.0));
    let mut gradients = GradientsParams::from_grads(loss.backward(), &network);
    let found: Vec<String> =
        parameters::gradients(&network, &mut gradients).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, ["norm.gamma", "norm.beta", "output.weight", "output.bias"]);
}

#[derive(Module, Debug)]
struct Stock {
    conv1: Conv2d,
    norm1: nn::BatchNorm,
    output: Linear,
}

impl Stock {
    /// With values as after some training.
    fn new(device: &Device) -> Self {
        let stock = Self {
            conv1: Conv2dConfig::new([2, 4], [3, 3]).init(device),
            norm1: nn::BatchNormConfig::new(4).init(device),
            output: LinearConfig::new(4 * 4 * 4, 3).init(device),
        };
        parameters::update(stock, |name, _, values| {
            let random = Random::new(1, name.len() as u32, 0);
            values.iter_mut().enumerate().for_each(|(index, value)| *value = random.uniform(index as u64) - 0.3);
            if name.ends_with("running_var") {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.output.forward(relu(self.norm1.forward(self.conv1.forward(x))).flatten(1, 3))
    }
}

fn stock_description(channels: usize, outputs: usize) -> Vec<Json> {
    vec![
        json!({"name": "conv1", "op": "conv2d", "channels": channels, "kernel": 3}),
        json!({"name": "norm1", "op": "batch_norm"}),
        json!({"name": "relu1", "op": "relu"}),
        json!({"name": "flatten", "op": "flatten"}),
        json!({"name": "output", "op": "linear", "outputs": outputs}),
    ]
}

#[test]
fn stock_layers_become_the_nodes_of_their_names() {
    let stock = Stock::new(&Device::flex().autodiff());
    let shape = [2, 6, 6];
    let network = Network::from_module(&description(&shape, stock_description(4, 3).into()), &stock).unwrap();
    let (own, theirs) = (values(&network), values(&stock));
    assert_eq!(own.len(), theirs.len());
    assert_eq!((&own["conv1.bias"], &own["output.weight"]), (&theirs["conv1.bias"], &theirs["output.weight"]));
    assert_eq!(own["norm1.running_variance"], theirs["norm1.running_var"]);
    assert!(parameters::read(&network).iter().any(|parameter| parameter.trainable), "it goes on to train");
    let pixels: Vec<f32> = (0..3 * 72).map(|index| (index % 17) as f32 * 0.1 - 0.5).collect();
    let x = Tensor::<4>::from_data(TensorData::new(pixels, [3, 2, 6, 6]), &Device::flex());
    let floats = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let (found, expected) = (floats(network.valid().forward(x.clone())), floats(stock.valid().forward(x)));
    assert!(
        found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())),
        "{found:?}, stock {expected:?}"
    );

    let refused = |nodes: Vec<Json>| match Network::from_module(&description(&shape, nodes.into()), &stock) {
        Err(NetworkError::Parameter { parameter, .. }) => parameter,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(stock_description(4, 5)), "output.weight");
    let mut more = stock_description(4, 3);
    more.insert(4, json!({"name": "hidden", "op": "linear", "outputs": 64}));
    assert_eq!(refused(more), "hidden.weight");
    let mut fewer = stock_description(4, 3);
    fewer.remove(1);
    assert_eq!(refused(fewer), "norm1.beta");
}
