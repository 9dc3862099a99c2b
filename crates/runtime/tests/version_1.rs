//! Files of version 1: read as a chain of nodes, with the logits that they always had.

mod common;

use std::collections::HashMap;

use common::{Draw, description, example, sealed};
use hardgrad_kernels::bit_packing;
use hardgrad_runtime::{DescriptionError, PackedError, PackedModel, Problem, TensorProblem, first_difference};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// The tensors of a file: name, type, bytes.
#[derive(Clone, Default)]
struct Tensors(Vec<(String, Dtype, Vec<u8>)>);

impl Tensors {
    fn floats(&mut self, name: &str, values: &[f32]) {
        self.0.push((name.into(), Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }

    fn codes(&mut self, name: &str, bits: u32, codes: &[u8]) {
        self.0.push((name.into(), Dtype::U8, bit_packing::pack(codes, bits)));
    }

    /// The file with this description.
    fn file(&self, description: &Value) -> Vec<u8> {
        let views = self.0.iter().map(|(name, dtype, data)| {
            let values = data.len() * 8 / dtype.bitsize();
            (name, TensorView::new(*dtype, vec![values], data).unwrap())
        });
        let metadata = HashMap::from([("hardgrad".to_string(), description.to_string())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

/// The example that was documented for version 1, with the checksum that stood there.
fn documented() -> (Value, Tensors) {
    let description = json!({
        "format": "hardgrad packed model",
        "version": 1,
        "sha256": "625df843650aff7491de93b1bad7a3b1854bda8221b667bf883134e7bede65ba",
        "input": {"channels": 1, "height": 3, "width": 3, "scale": "input.scale", "zero_point": 0},
        "class_names": ["cat", "dog"],
        "layers": [
            {
                "kind": "conv2d",
                "name": "conv",
                "weight": {
                    "bits": 1, "first": [-1], "step": 2, "codes": "conv.weight.codes", "scale": "conv.weight.scale"
                },
                "input": {"rule": "pixels"},
                "channels_in": 1,
                "channels_out": 2,
                "kernel": [2, 2],
                "stride": [1, 1],
                "padding": [0, 0],
                "dilation": [1, 1],
                "groups": 1,
            },
            {"kind": "batch_norm", "name": "norm", "multiplier": "norm.multiplier", "offset": "norm.offset"},
            {"kind": "relu", "name": "relu"},
            {"kind": "max_pool2d", "name": "pool", "kernel": [2, 2], "stride": [2, 2]},
            {"kind": "flatten", "name": "flatten"},
            {
                "kind": "linear",
                "name": "out",
                "weight": {
                    "bits": 4, "first": [-8], "step": 1, "codes": "out.weight.codes", "scale": "out.weight.scale"
                },
                "input": {"rule": "divide", "bits": 2, "lowest": 0, "highest": 3, "scale": "out.input.scale"},
                "bias": "out.bias",
                "inputs": 2,
                "outputs": 2,
            },
        ],
    });
    let mut tensors = Tensors::default();
    tensors.floats("input.scale", &[0.003_921_569]);
    tensors.codes("conv.weight.codes", 1, &[1, 0, 0, 1, 0, 0, 1, 1]);
    tensors.floats("conv.weight.scale", &[0.5, 0.25]);
    tensors.floats("norm.multiplier", &[2.0, 1.0]);
    tensors.floats("norm.offset", &[0.0, -1.0]);
    tensors.codes("out.weight.codes", 4, &[0, 15, 8, 9]);
    tensors.floats("out.weight.scale", &[0.125]);
    tensors.floats("out.input.scale", &[0.5]);
    tensors.floats("out.bias", &[0.5, -0.5]);
    (description, tensors)
}

#[test]
fn the_example_that_was_documented_is_read_and_gives_the_logits_of_today() {
    let (description, tensors) = documented();
    let model = PackedModel::from_bytes(&tensors.file(&description)).unwrap();
    let pixels = Draw::new(1).pixels(50 * 9);
    let logits = model.plan().unwrap().logits(&pixels).unwrap();
    let today = example().plan().unwrap().logits(&pixels).unwrap();
    assert!(first_difference(&logits, &today, 2).is_identical());
    assert!(logits.chunks(2).any(|row| row != &logits[..2]));
}

/// What a chain of all kinds that have sums is made of.
struct Numbers {
    conv1: Vec<u8>,
    scale1: Vec<f32>,
    bias1: Vec<f32>,
    multiplier: Vec<f32>,
    offset: Vec<f32>,
    conv2: Vec<u8>,
    linear: Vec<u8>,
    bias3: Vec<f32>,
}

const PIXELS: f32 = 0.01;
const INPUT2: f32 = 0.3;
const SCALE2: f32 = 0.125;
const INPUT3: f32 = 0.25;
const FACTOR3: f32 = 4.1;
const SCALE3: f32 = 0.0625;

impl Numbers {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let mut codes =
            |count: usize, bits: u32| -> Vec<u8> { (0..count).map(|_| draw.below(1 << bits) as u8).collect() };
        let (conv1, conv2, linear) = (codes(3 * 2 * 9, 2), codes(4 * 3 * 4, 1), codes(3 * 24, 4));
        Self {
            conv1,
            scale1: draw.floats(3, 0.02, 0.1),
            bias1: draw.floats(3, -0.5, 0.5),
            multiplier: draw.floats(3, -0.5, 2.0),
            offset: draw.floats(3, 0.0, 0.5),
            conv2,
            linear,
            bias3: draw.floats(3, -1.0, 1.0),
        }
    }

    fn file(&self) -> (Value, Tensors) {
        let weight = |layer: &str, bits: u32, first: &[i32], step: i32| {
            json!({
                "bits": bits, "first": first, "step": step, "codes": format!("{layer}.codes"),
                "scale": format!("{layer}.scale")
            })
        };
        let description = json!({
            "format": "hardgrad packed model",
            "version": 1,
            "sha256": "0".repeat(64),
            "input": {"channels": 2, "height": 8, "width": 6, "scale": "pixels", "zero_point": 100},
            "class_names": ["a", "b", "c"],
            "layers": [
                {
                    "kind": "conv2d", "name": "conv1", "weight": weight("one", 2, &[-2, -1, 0], 1),
                    "input": {"rule": "pixels"}, "bias": "bias1", "channels_in": 2, "channels_out": 3, "kernel": [3, 3],
                    "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1
                },
                {"kind": "batch_norm", "name": "norm1", "multiplier": "multiplier", "offset": "offset"},
                {"kind": "relu", "name": "relu1"},
                {"kind": "max_pool2d", "name": "pool1", "kernel": [2, 2], "stride": [2, 2]},
                {
                    "kind": "conv2d", "name": "conv2", "weight": weight("two", 1, &[-1], 2),
                    "input": {"rule": "divide", "bits": 3, "lowest": 0, "highest": 7, "scale": "input2"},
                    "channels_in": 3, "channels_out": 4, "kernel": [2, 2], "stride": [1, 1], "padding": [0, 1],
                    "dilation": [1, 1], "groups": 1
                },
                {"kind": "max_pool2d", "name": "pool2", "kernel": [1, 2], "stride": [2, 1]},
                {"kind": "flatten", "name": "flatten"},
                {
                    "kind": "linear", "name": "linear", "weight": weight("three", 4, &[-8], 1),
                    "input": {
                        "rule": "multiply", "bits": 4, "lowest": -8, "highest": 7, "scale": "input3",
                        "factor": "factor3"
                    },
                    "bias": "bias3", "inputs": 24, "outputs": 3
                },
            ],
        });
        let mut tensors = Tensors::default();
        tensors.floats("pixels", &[PIXELS]);
        tensors.codes("one.codes", 2, &self.conv1);
        tensors.floats("one.scale", &self.scale1);
        tensors.floats("bias1", &self.bias1);
        tensors.floats("multiplier", &self.multiplier);
        tensors.floats("offset", &self.offset);
        tensors.floats("input2", &[INPUT2]);
        tensors.codes("two.codes", 1, &self.conv2);
        tensors.floats("two.scale", &[SCALE2]);
        tensors.floats("input3", &[INPUT3]);
        tensors.floats("factor3", &[FACTOR3]);
        tensors.codes("three.codes", 4, &self.linear);
        tensors.floats("three.scale", &[SCALE3]);
        tensors.floats("bias3", &self.bias3);
        (description, tensors)
    }
}

/// Whole-number convolution of `[channels, height, width]` with stride 1.
fn convolution(
    x: &[i64],
    [channels, height, width]: [usize; 3],
    weight: &[i64],
    [rows, columns]: [usize; 2],
    [above, left]: [usize; 2],
) -> Vec<i64> {
    let mut sums = Vec::new();
    for weight in weight.chunks(channels * rows * columns) {
        for y in 0..height + 2 * above + 1 - rows {
            for x_out in 0..width + 2 * left + 1 - columns {
                let mut sum = 0;
                for (tap, w) in weight.iter().enumerate() {
                    let (channel, i, j) = (tap / (rows * columns), tap / columns % rows, tap % columns);
                    let (row, column) = ((y + i).checked_sub(above), (x_out + j).checked_sub(left));
                    if let (Some(row), Some(column)) = (row, column)
                        && row < height
                        && column < width
                    {
                        sum += w * x[(channel * height + row) * width + column];
                    }
                }
                sums.push(sum);
            }
        }
    }
    sums
}

/// The largest value of each window.
fn pooling(
    x: &[f32],
    [channels, height, width]: [usize; 3],
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
) -> Vec<f32> {
    let mut out = Vec::new();
    for channel in 0..channels {
        for y in (0..=height - rows).step_by(down) {
            for column in (0..=width - columns).step_by(right) {
                let window = (0..rows * columns).map(|place| (y + place / columns, column + place % columns));
                let values = window.map(|(row, column)| x[(channel * height + row) * width + column]);
                out.push(values.reduce(f32::max).unwrap());
            }
        }
    }
    out
}

impl Numbers {
    /// The logits of one image.
    fn logits(&self, pixels: &[u8]) -> Vec<f32> {
        let x: Vec<i64> = pixels.iter().map(|&pixel| i64::from(pixel) - 100).collect();
        let numbers = self.conv1.iter().enumerate();
        let weight: Vec<i64> = numbers.map(|(place, &code)| [-2, -1, 0][place / 18] + i64::from(code)).collect();
        let sums = convolution(&x, [2, 8, 6], &weight, [3, 3], [1, 1]);
        let real = sums.iter().enumerate().map(|(place, &sum)| {
            let channel = place / 48;
            let y = sum as f32 * (PIXELS * self.scale1[channel]);
            let y = y + self.bias1[channel];
            let y = y * self.multiplier[channel];
            (y + self.offset[channel]).max(0.0)
        });
        let pooled = pooling(&real.collect::<Vec<_>>(), [3, 8, 6], [2, 2], [2, 2]);
        let x: Vec<i64> = pooled.iter().map(|y| ((y / INPUT2).round_ties_even() as i64).clamp(0, 7)).collect();
        let weight: Vec<i64> = self.conv2.iter().map(|&code| 2 * i64::from(code) - 1).collect();
        let sums = convolution(&x, [3, 4, 3], &weight, [2, 2], [0, 1]);
        let real: Vec<f32> = sums.iter().map(|&sum| sum as f32 * (INPUT2 * SCALE2)).collect();
        let pooled = pooling(&real, [4, 3, 4], [1, 2], [2, 1]);
        let x: Vec<i64> = pooled.iter().map(|y| ((y * FACTOR3).round_ties_even() as i64).clamp(-8, 7)).collect();
        let outputs = self.linear.chunks(24).zip(&self.bias3).map(|(codes, bias)| {
            let sum: i64 = codes.iter().zip(&x).map(|(&code, x)| (i64::from(code) - 8) * x).sum();
            let y = sum as f32 * (INPUT3 * SCALE3);
            y + bias
        });
        outputs.collect()
    }
}

#[test]
fn a_chain_is_read_as_nodes_and_gives_the_logits_of_whole_numbers() {
    for seed in 0..8 {
        let numbers = Numbers::new(seed);
        let (description, tensors) = numbers.file();
        let model = PackedModel::from_bytes(&sealed(tensors.file(&description))).unwrap();
        let nodes: Vec<_> = model.description.nodes.iter().map(|node| (&node.name[..], node.op.kind())).collect();
        assert_eq!(
            nodes,
            [
                ("conv1", "conv2d"),
                ("norm1", "batch_norm"),
                ("relu1", "relu"),
                ("pool1", "max_pool2d"),
                ("conv2.input", "quantize"),
                ("conv2", "conv2d"),
                ("pool2", "max_pool2d"),
                ("flatten", "flatten"),
                ("linear.input", "quantize"),
                ("linear", "linear"),
            ]
        );
        let mut before = "input";
        for node in &model.description.nodes {
            assert_eq!(node.inputs, [before]);
            before = &node.name;
        }
        assert_eq!((&model.description.input.shape[..], model.pixels.zero_point), (&[2, 8, 6][..], 100));
        let pixels = Draw::new(!seed).pixels(19 * 96);
        let expected: Vec<f32> = pixels.chunks(96).flat_map(|pixels| numbers.logits(pixels)).collect();
        let logits = model.plan().unwrap().logits(&pixels).unwrap();
        let comparison = first_difference(&logits, &expected, 3);
        assert!(comparison.is_identical(), "seed {seed}: {comparison:?}");
        assert!(logits.chunks(3).any(|row| row != &logits[..3]), "seed {seed}");
    }
}

#[test]
fn it_is_written_as_version_2() {
    let (old, tensors) = Numbers::new(9).file();
    let model = PackedModel::from_bytes(&sealed(tensors.file(&old))).unwrap();
    let file = model.to_bytes().unwrap();
    assert_eq!(description(&file)["version"], 2);
    assert_eq!(PackedModel::from_bytes(&file).unwrap(), model);
}

/// The error after `change` was made to the description.
fn error_after(change: impl FnOnce(&mut Value)) -> PackedError {
    let (mut description, tensors) = documented();
    change(&mut description);
    PackedModel::from_bytes(&sealed(tensors.file(&description))).unwrap_err()
}

#[test]
fn names_that_nodes_cannot_have_are_changed() {
    let (mut description, tensors) = documented();
    for (layer, name) in [(0usize, "input"), (2, "re lu"), (5, "o/ut")] {
        description["layers"][layer]["name"] = name.into();
    }
    let model = PackedModel::from_bytes(&sealed(tensors.file(&description))).unwrap();
    let pixels = Draw::new(1).pixels(50 * 9);
    let logits = model.plan().unwrap().logits(&pixels).unwrap();
    let today = example().plan().unwrap().logits(&pixels).unwrap();
    assert!(first_difference(&logits, &today, 2).is_identical());
    assert!(model.description.place("re_lu").is_some() && model.description.place("o_ut").is_some());
    assert_eq!(PackedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
    description["layers"][1]["name"] = "re lu".into();
    let error = PackedModel::from_bytes(&sealed(tensors.file(&description))).unwrap_err();
    assert!(matches!(error, PackedError::Network(DescriptionError::DuplicateName(_))), "{error}");
}

#[test]
fn broken_files_name_the_place() {
    let (description, mut changed) = documented();
    *changed.0[1].2.last_mut().unwrap() ^= 1;
    assert!(matches!(PackedModel::from_bytes(&changed.file(&description)), Err(PackedError::Checksum)));
    let unknown: [fn(&mut Value); 4] = [
        |d| d["more"] = 1.into(),
        |d| d["input"]["more"] = 1.into(),
        |d| d["layers"][0]["more"] = 1.into(),
        |d| d["layers"][0]["input"]["more"] = 1.into(),
    ];
    for change in unknown {
        let error = error_after(change);
        assert!(matches!(error, PackedError::Description(_)) && error.to_string().contains("more"), "{error}");
    }
    let tensor = |change: fn(&mut Value)| match error_after(change) {
        PackedError::Tensor { tensor, problem } => (tensor, problem),
        other => panic!("{other}"),
    };
    assert_eq!(tensor(|d| d["input"]["scale"] = "gone".into()), ("gone".into(), TensorProblem::Missing));
    let unused = tensor(|d| drop(d["layers"][5].as_object_mut().unwrap().remove("bias")));
    assert_eq!(unused, ("out.bias".into(), TensorProblem::Unused));
    let shared = tensor(|d| d["layers"][5]["bias"] = "norm.offset".into());
    assert_eq!(shared, ("norm.offset".into(), TensorProblem::Shared));
    let (name, _) = tensor(|d| d["layers"][5]["inputs"] = (1u64 << 50).into());
    assert_eq!(name, "out.weight.codes");
    let node = |change: fn(&mut Value)| match error_after(change) {
        PackedError::Network(DescriptionError::Node { node, problem }) => (node, problem),
        other => panic!("{other}"),
    };
    let (name, problem) = node(|d| d["layers"][0]["weight"]["bits"] = 9.into());
    assert!(name == "conv" && problem == Problem::Bits { field: "weight", bits: 9 }, "{problem}");
    assert_eq!(node(|d| d["layers"][5]["inputs"] = u64::MAX.into()).0, "out");
    assert_eq!(node(|d| d["layers"][0]["stride"][1] = 0.into()).0, "conv");
    assert_eq!(node(|d| d["layers"][5]["input"]["highest"] = 4.into()).0, "out.input");
    // As many weights as before, but for images of two channels.
    let (name, problem) = node(|d| {
        d["layers"][0]["channels_in"] = 2.into();
        d["layers"][0]["kernel"] = vec![2, 1].into();
    });
    assert!(name == "conv" && problem == Problem::Channels { expected: 2, found: 1 }, "{name}: {problem}");
    // Pixels are whole numbers at the beginning only.
    let mut pixels = documented();
    pixels.0["layers"][5]["input"] = json!({"rule": "pixels"});
    pixels.1.0.retain(|(name, _, _)| name != "out.input.scale");
    let error = PackedModel::from_bytes(&sealed(pixels.1.file(&pixels.0))).unwrap_err();
    let PackedError::Network(DescriptionError::Node { node, problem }) = error else { panic!("{error}") };
    assert!(node == "out" && problem == Problem::FloatInput, "{node}: {problem}");
}
