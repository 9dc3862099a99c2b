//! Models and files for the tests.
#![allow(dead_code)] // Each test binary uses a part.

use hardgrad_kernels::random::Random;
use hardgrad_runtime::{Input, InputQuantizer, Layer, LayerKind, PackedModel, QuantizeRule, Weight};
use serde_json::Value;

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
        Weight {
            bits,
            first,
            step,
            codes,
            scale: self.floats(scales, 0.2 / (1 << bits) as f32, 1.0 / (1 << bits) as f32),
        }
    }

    fn levels(&mut self, bits: u32) -> InputQuantizer {
        let highest = (1 << bits) - 1;
        // Inputs that passed a relu would all become 0 if no level were above it.
        let lowest = -(self.below(highest as u32 / 2 + 1) as i32);
        let scale = self.float(1.0, 4.0) / (1 << bits) as f32;
        let rule =
            if self.below(2) == 0 { QuantizeRule::Divide } else { QuantizeRule::Multiply { factor: 1.0 / scale } };
        InputQuantizer::Levels { bits, lowest, highest: lowest + highest, scale, rule }
    }
}

/// A model with every kind of layer, weights of `bits` bits, and everything else drawn from `seed`.
pub fn every_kind(bits: u32, seed: u64) -> PackedModel {
    let mut draw = Draw::new(seed);
    let zero_point = 64 + draw.below(128) as u8;
    let input = Input { channels: 2, height: 11, width: 9, scale: draw.float(0.005, 0.02), zero_point };
    let first = if draw.below(3) == 0 { draw.levels(8) } else { InputQuantizer::Pixels };
    let [input_bits, last_bits] = [draw.below(8) + 1, draw.below(8) + 1];
    let kinds = vec![
        LayerKind::Conv2d {
            weight: draw.weight(bits, 4 * 2 * 3 * 2, 4),
            input: first,
            bias: Some(draw.floats(4, -1.0, 1.0)),
            channels_in: 2,
            channels_out: 4,
            kernel: [3, 2],
            stride: [1, 1],
            padding: [1, 2],
            dilation: [1, 1],
            groups: 1,
        },
        LayerKind::BatchNorm { multiplier: draw.floats(4, -0.5, 2.0), offset: draw.floats(4, -1.0, 1.0) },
        LayerKind::Relu,
        LayerKind::MaxPool2d { kernel: [2, 2], stride: [1, 2] },
        LayerKind::Conv2d {
            weight: draw.weight(bits, 6 * 2 * 2 * 2, 6),
            input: draw.levels(input_bits),
            bias: None,
            channels_in: 4,
            channels_out: 6,
            kernel: [2, 2],
            stride: [2, 1],
            padding: [0, 1],
            dilation: [2, 1],
            groups: 2,
        },
        LayerKind::AvgPool2d { kernel: [2, 3], stride: [2, 1] },
        LayerKind::Flatten,
        LayerKind::Linear {
            weight: draw.weight(bits, 7 * 60, 7),
            input: draw.levels(input_bits),
            bias: Some(draw.floats(7, -1.0, 1.0)),
            inputs: 60,
            outputs: 7,
        },
        LayerKind::BatchNorm { multiplier: draw.floats(7, -0.5, 2.0), offset: draw.floats(7, 0.0, 1.0) },
        LayerKind::Relu,
        LayerKind::Linear {
            weight: draw.weight(bits, 3 * 7, 3),
            input: draw.levels(last_bits),
            bias: None,
            inputs: 7,
            outputs: 3,
        },
    ];
    let named = |(index, kind)| Layer { name: format!("layer{index}"), kind };
    let layers = kinds.into_iter().enumerate().map(named).collect();
    PackedModel::new(input, ["shirt", "shoe", "bag"].map(String::from).to_vec(), layers).unwrap()
}

/// The model of the example in `docs/packed-format.md`.
pub fn example() -> PackedModel {
    let conv = LayerKind::Conv2d {
        weight: Weight {
            bits: 1,
            first: vec![-1],
            step: 2,
            codes: vec![1, 0, 0, 1, 0, 0, 1, 1],
            scale: vec![0.5, 0.25],
        },
        input: InputQuantizer::Pixels,
        bias: None,
        channels_in: 1,
        channels_out: 2,
        kernel: [2, 2],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    let linear = LayerKind::Linear {
        weight: Weight { bits: 4, first: vec![-8], step: 1, codes: vec![0, 15, 8, 9], scale: vec![0.125] },
        input: InputQuantizer::Levels { bits: 2, lowest: 0, highest: 3, scale: 0.5, rule: QuantizeRule::Divide },
        bias: Some(vec![0.5, -0.5]),
        inputs: 2,
        outputs: 2,
    };
    let batch_norm = LayerKind::BatchNorm { multiplier: vec![2.0, 1.0], offset: vec![0.0, -1.0] };
    let layer = |name: &str, kind| Layer { name: name.into(), kind };
    let layers = vec![
        layer("conv", conv),
        layer("norm", batch_norm),
        layer("relu", LayerKind::Relu),
        layer("pool", LayerKind::MaxPool2d { kernel: [2, 2], stride: [2, 2] }),
        layer("flatten", LayerKind::Flatten),
        layer("out", linear),
    ];
    let input = Input { channels: 1, height: 3, width: 3, scale: 0.003_921_569, zero_point: 0 };
    PackedModel::new(input, vec!["cat".into(), "dog".into()], layers).unwrap()
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
