//! Models and files for the tests.
#![allow(dead_code)] // Each test binary uses a part.

pub mod reference;

use std::collections::BTreeMap;

use hardgrad_kernels::random::Random;
use hardgrad_runtime::{Description, Op, PackedError, PackedModel, Pixels, Stored, Weight};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Draws one value after the other.
pub struct Draw {
    random: Random,
    next: u64,
}

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed, 0, 0), next: 0 }
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.next += 1;
        self.random.below(self.next, bound)
    }

    pub fn float(&mut self, low: f32, high: f32) -> f32 {
        self.next += 1;
        low + (high - low) * self.random.uniform(self.next)
    }

    pub fn floats(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.float(low, high)).collect()
    }

    pub fn pixels(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    /// Codes of `bits` bits with one scale or one a channel.
    fn weight(&mut self, bits: u32, count: usize, channels: usize) -> Weight {
        // Signed, or with a zero point a channel, or every second whole number.
        let (first, step) = match self.below(3) {
            0 => (vec![-(1 << (bits - 1))], 1),
            1 => ((0..channels).map(|_| -(self.below(1 << bits) as i32)).collect(), 1),
            _ => (vec![1 - (1 << bits)], 2),
        };
        let codes = (0..count).map(|_| self.below(1 << bits) as u8).collect();
        let scales = if self.below(2) == 0 { 1 } else { channels };
        let size = 1.0 / (1 << bits) as f32;
        Weight { bits, first, step, codes, scale: self.floats(scales, 0.2 * size, size) }
    }

    /// A quantiser.
    fn levels(&mut self, name: &str, input: &str, bits: u32) -> Value {
        let highest = (1 << bits) - 1;
        // Inputs that passed a relu would all become 0 if no level were above it.
        let lowest = -(self.below(highest as u32 / 2 + 1) as i32);
        let (highest, multiply) = (lowest + highest, self.below(2) == 0);
        json!({
            "name": name, "op": "quantize", "input": input, "bits": bits, "lowest": lowest, "highest": highest,
            "multiply": multiply
        })
    }

    /// The model of these nodes with three outputs; weights are codes of `bits` bits, except for the nodes `floats`.
    fn model(&mut self, shape: &[usize], nodes: Vec<Value>, bits: u32, floats: &[&str]) -> PackedModel {
        let network = json!({"input": {"shape": shape}, "node": nodes});
        let description: Description = serde_json::from_value(network).unwrap();
        let (mut tensors, mut scale) = (BTreeMap::new(), 1.0);
        for (node, report) in description.nodes.iter().zip(description.check().unwrap()) {
            for tensor in &report.tensors {
                let (count, outputs) = (tensor.len(), tensor.shape[0]);
                let stored = match (tensor.name, &node.op) {
                    ("weight", _) if floats.contains(&node.name.as_str()) => {
                        let bound = 1.5 / ((count / outputs) as f32).sqrt();
                        Stored::Float(self.floats(count, -bound, bound))
                    }
                    ("weight", _) => Stored::Codes(self.weight(bits, count, outputs)),
                    ("scale", Op::Quantize(levels)) => {
                        scale = self.float(1.0, 4.0) / (1 << levels.bits) as f32;
                        Stored::Float(vec![scale])
                    }
                    ("factor", _) => Stored::Float(vec![1.0 / scale]),
                    ("multiplier", _) => Stored::Float(self.floats(count, -0.5, 2.0)),
                    ("gamma", _) => Stored::Float(self.floats(count, 0.5, 1.5)),
                    ("bias" | "offset" | "beta" | "token" | "embedding", _) => {
                        Stored::Float(self.floats(count, -1.0, 1.0))
                    }
                    (other, op) => panic!("no values for {other} of {op:?}; give it a range here"),
                };
                tensors.insert(format!("{}.{}", node.name, tensor.name), stored);
            }
        }
        let pixels = Pixels { scale: self.float(0.005, 0.02), zero_point: 64 + self.below(128) as u8 };
        PackedModel::new(description, pixels, ["shirt", "shoe", "bag"].map(String::from).to_vec(), tensors).unwrap()
    }
}

/// Nodes with every operator of networks over images, weights of `bits` bits, and everything else drawn from `seed`.
pub fn every_kind(bits: u32, seed: u64) -> PackedModel {
    let mut draw = Draw::new(seed);
    let [input_bits, last_bits] = [draw.below(8) + 1, draw.below(8) + 1];
    // Pixels are codes already; they may be made coarser.
    let mut nodes = if draw.below(3) == 0 { vec![draw.levels("code0", "input", 8)] } else { Vec::new() };
    nodes.extend([
        json!({"name": "conv1", "op": "conv2d", "channels": 4, "kernel": [3, 2], "padding": [1, 2]}),
        json!({"name": "norm1", "op": "batch_norm"}),
        json!({"name": "relu1", "op": "relu"}),
        // Two nodes read the codes: one as they are, through the pooling, the other as floats.
        draw.levels("code1", "relu1", input_bits),
        json!({"name": "pool1", "op": "max_pool2d", "kernel": 2, "stride": [1, 2]}),
        json!({
            "name": "conv2", "op": "conv2d", "channels": 6, "kernel": 2, "stride": [2, 1], "padding": [0, 1],
            "dilation": [2, 1], "groups": 2, "bias": false
        }),
        json!({
            "name": "shortcut", "op": "conv2d", "input": "code1", "channels": 6, "kernel": [2, 6], "stride": [3, 1],
            "groups": 2
        }),
        json!({"name": "add1", "op": "add", "input": ["conv2", "shortcut"]}),
        json!({"name": "relu2", "op": "relu"}),
        draw.levels("code2", "relu2", input_bits),
        json!({"name": "mean", "op": "avg_pool2d", "kernel": [2, 3], "stride": [2, 1]}),
        json!({"name": "add2", "op": "add", "input": ["code2", "relu2"]}),
        json!({"name": "pool2", "op": "max_pool2d", "kernel": [2, 3], "stride": [2, 1]}),
        json!({"name": "add3", "op": "add", "input": ["pool2", "mean"]}),
        // Read by a second node, so that it cannot be done in place.
        json!({"name": "relu3", "op": "relu", "input": "add3"}),
        json!({"name": "norm2", "op": "batch_norm", "input": "add3"}),
        json!({"name": "add4", "op": "add", "input": ["relu3", "norm2"]}),
        json!({"name": "flatten", "op": "flatten"}),
        draw.levels("code3", "flatten", input_bits),
        json!({"name": "linear", "op": "linear", "outputs": 7}),
        json!({"name": "float", "op": "linear", "input": "code3", "outputs": 7, "bias": false}),
        json!({"name": "norm3", "op": "batch_norm"}),
        json!({"name": "add5", "op": "add", "input": ["norm3", "linear"]}),
        json!({"name": "relu4", "op": "relu"}),
        draw.levels("code4", "relu4", last_bits),
        json!({"name": "output", "op": "linear", "outputs": 3, "bias": false}),
    ]);
    draw.model(&[2, 11, 9], nodes, bits, &["shortcut", "float"])
}

/// Tokens without attention: all sums are in a stated order. Everything is drawn from `seed`.
pub fn tokens(seed: u64) -> PackedModel {
    let mut draw = Draw::new(seed);
    let nodes = vec![
        json!({"name": "patches", "op": "patches", "size": [3, 2]}),
        json!({"name": "embed", "op": "linear", "outputs": 5}),
        json!({"name": "token", "op": "class_token"}),
        json!({"name": "place", "op": "position_embedding"}),
        json!({"name": "wide", "op": "linear", "outputs": 9}),
        draw.levels("codes", "wide", 5),
        json!({"name": "again", "op": "class_token"}),
        json!({"name": "places", "op": "position_embedding", "input": "codes"}),
        json!({"name": "mean", "op": "global_mean", "input": "again"}),
        json!({"name": "third", "op": "take_token", "input": "codes", "index": 2}),
        json!({"name": "whole", "op": "linear", "outputs": 9}),
        json!({"name": "last", "op": "take_token", "input": "places", "index": 6}),
        json!({"name": "add1", "op": "add", "input": ["mean", "whole"]}),
        json!({"name": "add2", "op": "add", "input": ["add1", "last"]}),
        json!({"name": "output", "op": "linear", "outputs": 3}),
    ];
    draw.model(&[2, 9, 4], nodes, 3, &["wide", "output"])
}

/// A transformer with one block; with `codes`, values within it are codes too. Everything is drawn from `seed`.
pub fn transformer(seed: u64, codes: bool) -> PackedModel {
    let mut draw = Draw::new(seed);
    let mut nodes = vec![
        json!({"name": "patches", "op": "patches", "size": [3, 2]}),
        json!({"name": "embed", "op": "linear", "outputs": 12}),
        json!({"name": "token", "op": "class_token"}),
        json!({"name": "place", "op": "position_embedding"}),
        json!({"name": "norm1", "op": "layer_norm"}),
        json!({"name": "qkv", "op": "linear", "outputs": 36, "bias": false}),
        json!({"name": "attend", "op": "attention", "heads": 3}),
        json!({"name": "mix", "op": "linear", "outputs": 12}),
        json!({"name": "add1", "op": "add", "input": ["place", "mix"]}),
        json!({"name": "norm2", "op": "layer_norm", "epsilon": 0.001}),
        json!({"name": "wide", "op": "linear", "outputs": 20}),
        json!({"name": "gelu", "op": "gelu"}),
        json!({"name": "narrow", "op": "linear", "outputs": 12}),
        json!({"name": "add2", "op": "add", "input": ["add1", "narrow"]}),
        json!({"name": "norm3", "op": "layer_norm"}),
        json!({"name": "first", "op": "take_token"}),
        json!({"name": "mean", "op": "global_mean", "input": "norm3"}),
        json!({"name": "add3", "op": "add", "input": ["first", "mean"]}),
        json!({"name": "output", "op": "linear", "outputs": 3}),
    ];
    let mut floats = vec!["qkv", "mix", "wide", "narrow", "output"];
    if codes {
        // What follows each of these reads codes, as whole numbers or as floats.
        for (name, source) in
            [("c1", "norm1"), ("c2", "qkv"), ("c3", "attend"), ("c4", "wide"), ("c5", "gelu"), ("c6", "norm3")]
        {
            let levels = draw.levels(name, source, 6);
            let place = nodes.iter().position(|node| node["name"] == source).unwrap();
            nodes.insert(place + 1, levels);
        }
        floats = vec!["mix", "wide", "output"];
    }
    draw.model(&[2, 6, 4], nodes, 4, &floats)
}

/// Bytes of an item.
pub fn item(model: &PackedModel) -> usize {
    model.description.input.shape.iter().product()
}

/// A tensor of codes.
pub fn codes(bits: u32, first: &[i32], step: i32, codes: &[u8], scale: &[f32]) -> Stored {
    Stored::Codes(Weight { bits, first: first.to_vec(), step, codes: codes.to_vec(), scale: scale.to_vec() })
}

/// A tensor of floats.
pub fn floats(values: &[f32]) -> Stored {
    Stored::Float(values.to_vec())
}

/// The model of a network as JSON with these tensors; its classes are a, b, ...
pub fn model(
    network: Value,
    pixels: Pixels,
    classes: u8,
    tensors: &[(&str, Stored)],
) -> Result<PackedModel, PackedError> {
    let description: Description = serde_json::from_value(network).unwrap();
    let tensors = tensors.iter().map(|(name, stored)| (name.to_string(), stored.clone())).collect();
    let class_names = (0..classes).map(|class| char::from(b'a' + class).to_string()).collect();
    PackedModel::new(description, pixels, class_names, tensors)
}

/// The model of the example in `docs/packed-format.md`.
pub fn example() -> PackedModel {
    let network = json!({"input": {"shape": [1, 3, 3]}, "node": [
        {"name": "conv", "op": "conv2d", "channels": 2, "kernel": 2, "bias": false},
        {"name": "norm", "op": "batch_norm"},
        {"name": "relu", "op": "relu"},
        {"name": "relu.quantizer", "op": "quantize", "bits": 2, "lowest": 0, "highest": 3},
        {"name": "pool", "op": "max_pool2d", "kernel": 2},
        {"name": "flatten", "op": "flatten"},
        {"name": "out", "op": "linear", "outputs": 2},
    ]});
    let tensors = [
        ("conv.weight", codes(1, &[-1], 2, &[1, 0, 0, 1, 0, 0, 1, 1], &[0.5, 0.25])),
        ("norm.multiplier", floats(&[2.0, 1.0])),
        ("norm.offset", floats(&[0.0, -1.0])),
        ("relu.quantizer.scale", floats(&[0.5])),
        ("out.weight", codes(4, &[-8], 1, &[0, 15, 8, 9], &[0.125])),
        ("out.bias", floats(&[0.5, -0.5])),
    ];
    let mut model = model(network, Pixels { scale: 0.003_921_569, zero_point: 0 }, 2, &tensors).unwrap();
    model.class_names = vec!["cat".into(), "dog".into()];
    model
}

/// The description in a file.
pub fn description(file: &[u8]) -> Value {
    serde_json::from_str(header(file)["__metadata__"]["hardgrad"].as_str().unwrap()).unwrap()
}

/// The header of a file.
pub fn header(file: &[u8]) -> Value {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[8..8 + length]).unwrap()
}

/// The file with another header.
pub fn with_header(file: &[u8], header: &Value) -> Vec<u8> {
    with_header_text(file, &header.to_string())
}

/// The file with another header, which need not be JSON.
pub fn with_header_text(file: &[u8], header: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
}

/// The file with the checksum that it should have, where it has one at all.
pub fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    // As it stands in the header, where the description is a string.
    let before = br#"\"sha256\":\""#;
    let place = file.windows(before.len()).position(|window| window == before).map(|place| place + before.len());
    let Some(place) = place.filter(|place| place + 64 <= file.len()) else { return file };
    file[place..place + 64].fill(b'0');
    let checksum: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    file[place..place + 64].copy_from_slice(checksum.as_bytes());
    file
}
