//! A slow implementation of all operators, value by value.
//!
//! What has an order is added in it; attention, gelu and layer_norm have that of their kernels, and are in `f64` here.

use std::collections::HashMap;

use hardgrad_runtime::ops::Conv2d;
use hardgrad_runtime::{Op, PackedModel, Pixels, Stored, Weight};

use super::item;

/// What a node gives for one item: floats, and the whole numbers that they are where they are codes.
#[derive(Clone)]
struct Values {
    floats: Vec<f32>,
    codes: Option<(Vec<i64>, f32)>,
    shape: Vec<usize>,
}

impl Values {
    fn floats(shape: &[usize], floats: Vec<f32>) -> Self {
        assert_eq!(floats.len(), shape.iter().product::<usize>());
        Self { floats, codes: None, shape: shape.to_vec() }
    }

    fn codes(shape: &[usize], codes: Vec<i64>, scale: f32) -> Self {
        let floats = codes.iter().map(|&code| code as f32 * scale).collect();
        Self { codes: Some((codes, scale)), ..Self::floats(shape, floats) }
    }

    /// The values at these places.
    fn pick(&self, shape: &[usize], places: &[usize]) -> Self {
        match &self.codes {
            Some((codes, scale)) => Self::codes(shape, places.iter().map(|&place| codes[place]).collect(), *scale),
            None => Self::floats(shape, places.iter().map(|&place| self.floats[place]).collect()),
        }
    }

    fn map(&self, value: impl Fn(f32) -> f32) -> Self {
        Self::floats(&self.shape, self.floats.iter().map(|&x| value(x)).collect())
    }
}

/// The tensors of a node.
struct Tensors<'a>(&'a PackedModel, &'a str);

impl Tensors<'_> {
    fn stored(&self, tensor: &str) -> Option<&Stored> {
        self.0.tensors.get(&format!("{}.{tensor}", self.1))
    }

    fn floats(&self, tensor: &str) -> &[f32] {
        match self.stored(tensor) {
            Some(Stored::Float(values)) => values,
            other => panic!("{}.{tensor} is {other:?}", self.1),
        }
    }

    /// The sum over pairs (place of an input, place of a weight) in their order, for an output channel.
    fn sum(&self, x: &Values, channel: usize, pairs: &[(usize, usize)]) -> f32 {
        let y = match (self.stored("weight").unwrap(), &x.codes) {
            (Stored::Codes(weight), Some((codes, scale))) => {
                let sum: i64 = pairs.iter().map(|&(place, tap)| codes[place] * whole(weight, tap)).sum();
                sum as f32 * (scale * weight.scale[channel % weight.scale.len()])
            }
            (Stored::Float(weight), _) => {
                let mut sum = 0.0f32;
                for &(place, tap) in pairs {
                    let product = x.floats[place] * weight[tap];
                    sum += product;
                }
                sum
            }
            (Stored::Codes(_), None) => panic!("{} reads floats", self.1),
        };
        if self.stored("bias").is_some() { y + self.floats("bias")[channel] } else { y }
    }
}

fn whole(weight: &Weight, index: usize) -> i64 {
    let first = weight.first[index / (weight.codes.len() / weight.first.len())];
    i64::from(first) + i64::from(weight.step) * i64::from(weight.codes[index])
}

/// The places of each window of a plane, in reading order.
fn windows(shape: &[usize], kernel: [usize; 2], stride: [usize; 2]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let [channels, height, width] = shape[..] else { panic!() };
    let out = [channels, (height - kernel[0]) / stride[0] + 1, (width - kernel[1]) / stride[1] + 1];
    let mut windows = Vec::new();
    for (channel, y, x) in each(out) {
        let mut window = Vec::new();
        for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
            window.push((channel * height + y * stride[0] + i) * width + x * stride[1] + j);
        }
        windows.push(window);
    }
    (out.to_vec(), windows)
}

/// All places of three axes in reading order.
fn each([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// The sum in order, divided by the number.
fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = values.len() as f32;
    values.fold(0.0, |sum, x| sum + x) / count
}

/// The standard normal distribution up to x, by its Taylor series.
fn normal(x: f64) -> f64 {
    if x.abs() > 12.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn convolution(op: &Conv2d, x: &Values, tensors: &Tensors<'_>) -> Values {
    let [channels_in, height, width] = x.shape[..] else { panic!() };
    let (kernel, group_in, group_out) = (op.kernel, channels_in / op.groups, op.channels / op.groups);
    let out = |axis: usize| {
        (x.shape[axis + 1] + 2 * op.padding[axis] - op.dilation[axis] * (kernel[axis] - 1) - 1) / op.stride[axis] + 1
    };
    let shape = [op.channels, out(0), out(1)];
    let value = |(o, row, column): (usize, usize, usize)| {
        let mut pairs = Vec::new();
        for (c, i, j) in each([group_in, kernel[0], kernel[1]]) {
            let row = (row * op.stride[0] + i * op.dilation[0]).checked_sub(op.padding[0]);
            let column = (column * op.stride[1] + j * op.dilation[1]).checked_sub(op.padding[1]);
            if let (Some(row), Some(column)) =
                (row.filter(|row| *row < height), column.filter(|column| *column < width))
            {
                let plane = o / group_out * group_in + c;
                let tap = ((o * group_in + c) * kernel[0] + i) * kernel[1] + j;
                pairs.push(((plane * height + row) * width + column, tap));
            }
        }
        tensors.sum(x, o, &pairs)
    };
    Values::floats(&shape, each(shape).map(value).collect())
}

/// `softmax(q k^T / sqrt(width)) v` of each head, in `f64`.
fn attention(heads: usize, x: &Values) -> Values {
    let [count, row] = x.shape[..] else { panic!() };
    let (inner, width) = (row / 3, row / 3 / heads);
    let at = |token: usize, part: usize, column: usize| f64::from(x.floats[token * row + part * inner + column]);
    let mut out = vec![0.0; count * inner];
    for (head, query) in (0..heads).flat_map(|head| (0..count).map(move |query| (head, query))) {
        let columns = head * width..(head + 1) * width;
        let scores = (0..count).map(|key| {
            let products = columns.clone().map(|column| at(query, 0, column) * at(key, 1, column));
            (products.sum::<f64>() / (width as f64).sqrt()).exp()
        });
        let scores: Vec<f64> = scores.collect();
        for column in columns {
            let sum: f64 = (0..count).map(|key| scores[key] * at(key, 2, column)).sum();
            out[query * inner + column] = (sum / scores.iter().sum::<f64>()) as f32;
        }
    }
    Values::floats(&[count, inner], out)
}

/// What a node gives.
fn run(op: &Op, inputs: &[&Values], tensors: &Tensors<'_>) -> Values {
    let x = inputs[0];
    let width = x.shape[x.shape.len() - 1];
    match op {
        Op::Conv2d(op) => convolution(op, x, tensors),
        Op::Linear(op) => {
            let rows = x.floats.len() / width;
            let value = |place: usize| {
                let (row, o) = (place / op.outputs, place % op.outputs);
                let pairs: Vec<_> = (0..width).map(|k| (row * width + k, o * width + k)).collect();
                tensors.sum(x, o, &pairs)
            };
            let shape = [&x.shape[..x.shape.len() - 1], &[op.outputs]].concat();
            Values::floats(&shape, (0..rows * op.outputs).map(value).collect())
        }
        Op::BatchNorm(_) => {
            let plane = x.floats.len() / x.shape[0];
            let value = |(i, x): (usize, &f32)| {
                let product = x * tensors.floats("multiplier")[i / plane];
                product + tensors.floats("offset")[i / plane]
            };
            Values::floats(&x.shape, x.floats.iter().enumerate().map(value).collect())
        }
        Op::Relu(_) => x.map(|x| if x > 0.0 { x } else { 0.0 }),
        Op::Gelu(_) => x.map(|x| (f64::from(x) * normal(x.into())) as f32),
        Op::Add(_) => {
            let sums = x.floats.iter().zip(&inputs[1].floats).map(|(a, b)| a + b);
            Values::floats(&x.shape, sums.collect())
        }
        Op::MaxPool2d(op) => {
            let (shape, windows) = windows(&x.shape, op.kernel, op.stride);
            let largest =
                |window: &Vec<usize>| *window.iter().max_by(|a, b| x.floats[**a].total_cmp(&x.floats[**b])).unwrap();
            x.pick(&shape, &windows.iter().map(largest).collect::<Vec<_>>())
        }
        Op::AvgPool2d(op) => {
            let (shape, windows) = windows(&x.shape, op.kernel, op.stride);
            let means = windows.iter().map(|window| mean(window.iter().map(|&place| x.floats[place])));
            Values::floats(&shape, means.collect())
        }
        Op::GlobalMean(_) => match x.shape[..] {
            [tokens, width] => {
                let column = |column: usize| mean((0..tokens).map(|token| x.floats[token * width + column]));
                Values::floats(&[width], (0..width).map(column).collect())
            }
            _ => {
                let plane = x.floats.len() / x.shape[0];
                let means = x.floats.chunks(plane).map(|plane| mean(plane.iter().copied()));
                Values::floats(&x.shape[..1], means.collect())
            }
        },
        Op::Flatten(_) => Values { shape: vec![x.floats.len()], ..x.clone() },
        Op::Patches(op) => {
            let [channels, height, width] = x.shape[..] else { panic!() };
            let ([rows, columns], mut places) = (op.size, Vec::new());
            for (y, x) in (0..height / rows).flat_map(|y| (0..width / columns).map(move |x| (y, x))) {
                let place = |(c, i, j): (usize, usize, usize)| (c * height + y * rows + i) * width + x * columns + j;
                places.extend(each([channels, rows, columns]).map(place));
            }
            let patch = channels * rows * columns;
            x.pick(&[places.len() / patch, patch], &places)
        }
        Op::ClassToken(_) => {
            let all = [tensors.floats("token"), &x.floats].concat();
            Values::floats(&[x.shape[0] + 1, width], all)
        }
        Op::TakeToken(op) => x.pick(&[width], &(op.index * width..(op.index + 1) * width).collect::<Vec<_>>()),
        Op::PositionEmbedding(_) => {
            let sums = x.floats.iter().zip(tensors.floats("embedding")).map(|(a, b)| a + b);
            Values::floats(&x.shape, sums.collect())
        }
        Op::LayerNorm(op) => {
            let row = |x: &[f32]| {
                let mean = x.iter().copied().map(f64::from).sum::<f64>() / width as f64;
                let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
                let deviation = (variance + f64::from(op.epsilon)).sqrt();
                let parameters = tensors.floats("gamma").iter().zip(tensors.floats("beta"));
                let value = |(&x, (&gamma, &beta)): (&f32, (&f32, &f32))| {
                    ((f64::from(x) - mean) / deviation * f64::from(gamma) + f64::from(beta)) as f32
                };
                x.iter().zip(parameters).map(value).collect::<Vec<_>>()
            };
            Values::floats(&x.shape, x.floats.chunks(width).flat_map(row).collect())
        }
        Op::Attention(op) => attention(op.heads, x),
        Op::Quantize(op) => {
            let (scale, factor) = (tensors.floats("scale")[0], op.multiply.then(|| tensors.floats("factor")[0]));
            let quantize = |&x: &f32| {
                let ratio = factor.map_or_else(|| x / scale, |factor| x * factor);
                (ratio.round_ties_even() as i64).clamp(op.lowest.into(), op.highest.into())
            };
            Values::codes(&x.shape, x.floats.iter().map(quantize).collect(), scale)
        }
    }
}

/// The logits of one item.
pub fn reference(model: &PackedModel, pixels: &[u8]) -> Vec<f32> {
    let Pixels { scale, zero_point } = model.pixels;
    let whole = pixels.iter().map(|&pixel| i64::from(pixel) - i64::from(zero_point)).collect();
    let input = Values::codes(&model.description.input.shape, whole, scale);
    let mut values = HashMap::from([("input", input)]);
    for node in &model.description.nodes {
        let inputs: Vec<&Values> = node.inputs.iter().map(|input| &values[&input[..]]).collect();
        let output = run(&node.op, &inputs, &Tensors(model, &node.name));
        values.insert(&node.name, output);
    }
    values[&model.description.nodes.last().unwrap().name[..]].floats.clone()
}

/// The logits of all items.
pub fn references(model: &PackedModel, pixels: &[u8]) -> Vec<f32> {
    pixels.chunks(item(model)).flat_map(|pixels| reference(model, pixels)).collect()
}
