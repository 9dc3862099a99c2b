//! Times of single kernels: `cargo bench --bench kernels`, or `cargo bench --bench kernels -- conv` for some.
//!
//! Sizes are those of the training workloads of `hardgrad bench`. `limit` compares the gemm-bound ones with a plain product.

use divan::Bencher;
use hardgrad_kernels::attention::{self, AttentionShape};
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::coded::{Coded, decode, encode};
use hardgrad_kernels::convolution::{Images, Wanted, conv2d, conv2d_backward};
use hardgrad_kernels::fake_quant::codes;
use hardgrad_kernels::geometry::{Conv2dShape, Pool2dShape};
use hardgrad_kernels::linear::{linear, linear_input_gradient, linear_weight_gradient};
use hardgrad_kernels::lsq::lsq_backward;
use hardgrad_kernels::optimizer::{Adam, Sgd, WeightDecay};
use hardgrad_kernels::ordered::batch;
use hardgrad_kernels::random::Random;
use hardgrad_kernels::relu_quantize::ReluQuantizer;
use hardgrad_kernels::{batch_norm, batch_norm_relu, gelu, layer_norm, memory, pooling};

fn main() {
    memory::keep_freed_memory();
    divan::main();
}

const BATCH: usize = 128;

fn normal(len: usize, place: u32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Random::new(0, place, 0).fill_normal(&mut values);
    values
}

/// A layer with a square kernel that keeps the size of its images.
#[derive(Clone, Copy, Debug)]
struct Layer {
    channels: [usize; 2],
    side: usize,
    kernel: usize,
    groups: usize,
}

const LAYERS: [Layer; 5] = [
    Layer { channels: [16, 16], side: 32, kernel: 3, groups: 1 },
    Layer { channels: [64, 64], side: 8, kernel: 3, groups: 1 },
    Layer { channels: [32, 64], side: 14, kernel: 5, groups: 1 },
    Layer { channels: [3, 16], side: 32, kernel: 3, groups: 1 },
    Layer { channels: [64, 64], side: 16, kernel: 3, groups: 64 },
];

impl Layer {
    fn shape(self) -> Conv2dShape {
        Conv2dShape {
            channels_in: self.channels[0],
            channels_out: self.channels[1],
            height: self.side,
            width: self.side,
            kernel: [self.kernel; 2],
            stride: [1, 1],
            padding: [self.kernel / 2; 2],
            dilation: [1, 1],
            groups: self.groups,
        }
    }
}

#[divan::bench(args = LAYERS)]
fn conv2d_forward(bencher: Bencher<'_, '_>, layer: Layer) {
    let shape = layer.shape();
    let (x, weight) = (normal(BATCH * shape.input_len(), 0), normal(shape.weight_len(), 1));
    let (ones, zeros) = (vec![1.0; shape.channels_out], vec![0.0; shape.channels_out]);
    bencher.bench(|| conv2d(Images::Float(&x), &weight, &shape, &ones, &zeros));
}

#[divan::bench(args = LAYERS)]
fn conv2d_ordered(bencher: Bencher<'_, '_>, layer: Layer) {
    let shape = layer.shape();
    let (x, weight) = (normal(BATCH * shape.input_len(), 0), normal(shape.weight_len(), 1));
    bencher.bench(|| batch::conv2d(&x, &weight, None, &shape));
}

#[divan::bench(args = LAYERS)]
fn conv2d_gradients(bencher: Bencher<'_, '_>, layer: Layer) {
    let shape = layer.shape();
    let (x, weight) = (normal(BATCH * shape.input_len(), 0), normal(shape.weight_len(), 1));
    let gradient = normal(BATCH * shape.output_len(), 2);
    let wanted = Wanted { input: true, weight: true, bias: true };
    bencher.bench(|| conv2d_backward(Images::Float(&x), &weight, &gradient, &shape, wanted));
}

/// Rows, inputs, outputs.
const PRODUCTS: [[usize; 3]; 2] = [[128, 784, 512], [8192, 192, 768]];

#[divan::bench(args = PRODUCTS)]
fn linear_forward(bencher: Bencher<'_, '_>, sizes: [usize; 3]) {
    let [rows, inputs, outputs] = sizes;
    let (x, weight, bias) = (normal(rows * inputs, 0), normal(inputs * outputs, 1), normal(outputs, 2));
    bencher.bench(|| linear(&x, &weight, None, Some(&bias), sizes));
}

#[divan::bench(args = PRODUCTS)]
fn linear_ordered(bencher: Bencher<'_, '_>, sizes: [usize; 3]) {
    let [rows, inputs, outputs] = sizes;
    let (x, weight, bias) = (normal(rows * inputs, 0), normal(inputs * outputs, 1), normal(outputs, 2));
    bencher.bench(|| batch::linear(&x, &weight, Some(&bias), sizes));
}

#[divan::bench(args = PRODUCTS)]
fn linear_gradients(bencher: Bencher<'_, '_>, sizes: [usize; 3]) {
    let [rows, inputs, outputs] = sizes;
    let (x, weight, gradient) = (normal(rows * inputs, 0), normal(inputs * outputs, 1), normal(rows * outputs, 2));
    bencher.bench(|| (linear_input_gradient(&weight, &gradient, sizes), linear_weight_gradient(&x, &gradient, sizes)));
}

const CHANNELS: Channels = Channels { outer: BATCH, channels: 16, inner: 1024 };
const QUANTIZER: ReluQuantizer = ReluQuantizer { scale: 0.2, highest: 15.0 };

#[divan::bench]
fn batch_norm_forward(bencher: Bencher<'_, '_>) {
    let (x, gamma, beta) = (normal(CHANNELS.len(), 0), [1.0; 16], [0.0; 16]);
    bencher.bench(|| batch_norm::forward(&x, &gamma, &beta, 1e-5, CHANNELS));
}

#[divan::bench]
fn batch_norm_relu_quantize_forward(bencher: Bencher<'_, '_>) {
    let (x, gamma, beta) = (normal(CHANNELS.len(), 0), [1.0; 16], [0.0; 16]);
    bencher.bench(|| batch_norm_relu::forward(&x, &gamma, &beta, 1e-5, CHANNELS, None, Some(QUANTIZER)));
}

#[divan::bench]
fn batch_norm_relu_quantize_backward(bencher: Bencher<'_, '_>) {
    let (x, gradient) = (normal(CHANNELS.len(), 0), normal(CHANNELS.len(), 1));
    let (mean, variance) = batch_norm::statistics(&x, CHANNELS);
    let (gamma, beta) = ([1.0; 16], [0.0; 16]);
    let normalization =
        batch_norm_relu::Normalization { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, epsilon: 1e-5 };
    bencher
        .bench(|| batch_norm_relu::backward(&x, &gradient, normalization, CHANNELS, None, Some(QUANTIZER), 1.0, false));
}

#[divan::bench]
fn layer_norm_forward(bencher: Bencher<'_, '_>) {
    let (x, gamma, beta) = (normal(8192 * 192, 0), [1.0; 192], [0.0; 192]);
    bencher.bench(|| layer_norm::forward(&x, &gamma, &beta, 1e-5));
}

#[divan::bench]
fn layer_norm_backward(bencher: Bencher<'_, '_>) {
    let (x, gradient, gamma, beta) = (normal(8192 * 192, 0), normal(8192 * 192, 1), [1.0; 192], [0.0; 192]);
    let (_, statistics) = layer_norm::forward(&x, &gamma, &beta, 1e-5);
    bencher.bench(|| layer_norm::backward(&x, &gradient, &gamma, &statistics.mean, &statistics.inverse));
}

#[divan::bench]
fn gelu_forward(bencher: Bencher<'_, '_>) {
    let x = normal(8192 * 768, 0);
    bencher.bench(|| gelu::forward(&x));
}

#[divan::bench]
fn gelu_backward(bencher: Bencher<'_, '_>) {
    let (x, gradient) = (normal(8192 * 768, 0), normal(8192 * 768, 1));
    bencher.bench(|| gelu::backward(&x, &gradient));
}

const ATTENTION: AttentionShape = AttentionShape { batch: BATCH, tokens: 64, heads: 3, width: 64 };

#[divan::bench]
fn attention_forward(bencher: Bencher<'_, '_>) {
    let qkv = normal(8192 * 576, 0);
    bencher.bench(|| attention::forward(&qkv, ATTENTION));
}

#[divan::bench]
fn attention_ordered(bencher: Bencher<'_, '_>) {
    let qkv = normal(8192 * 576, 0);
    bencher.bench(|| batch::attention(&qkv, ATTENTION));
}

#[divan::bench]
fn attention_backward(bencher: Bencher<'_, '_>) {
    let (qkv, gradient) = (normal(8192 * 576, 0), normal(8192 * 192, 1));
    let (_, log_sums) = attention::forward(&qkv, ATTENTION);
    bencher.bench(|| attention::backward(&qkv, &log_sums, &gradient, ATTENTION));
}

const POOL: Pool2dShape = Pool2dShape { height: 28, width: 28, kernel: [2, 2], stride: [2, 2] };

#[divan::bench]
fn max_pool2d_forward(bencher: Bencher<'_, '_>) {
    let x = normal(BATCH * 32 * 28 * 28, 0);
    bencher.bench(|| pooling::max_pool2d_winners(&x, &POOL));
}

#[divan::bench]
fn max_pool2d_of_codes(bencher: Bencher<'_, '_>) {
    let x: Vec<u8> = (0..BATCH * 32 * 28 * 28).map(|i| (i % 16) as u8).collect();
    bencher.bench(|| pooling::max_pool2d_codes(&x, &POOL));
}

const VALUES: usize = 1 << 21;

#[divan::bench]
fn lsq_codes_forward(bencher: Bencher<'_, '_>) {
    let x = normal(VALUES, 0);
    bencher.bench(|| codes(&x, 0.3, Bounds::signed(4)));
}

#[divan::bench]
fn lsq_gradients(bencher: Bencher<'_, '_>) {
    let (x, gradient) = (normal(VALUES, 0), normal(VALUES, 1));
    bencher.bench(|| lsq_backward(&x, &gradient, &[0.3], Bounds::signed(4), Channels::one(VALUES), 1.0));
}

#[divan::bench]
fn encode_codes(bencher: Bencher<'_, '_>) {
    let values: Vec<f32> = (0..VALUES).map(|i| (i % 16) as f32 * 0.3).collect();
    bencher.bench(|| encode(&values, 0.0, 0.3));
}

#[divan::bench]
fn decode_codes(bencher: Bencher<'_, '_>) {
    let values: Vec<u8> = (0..VALUES).map(|i| (i % 16) as u8).collect();
    bencher.bench(|| decode(Coded { codes: &values, lowest: 0.0, scale: 0.3 }));
}

#[divan::bench]
fn adam_step(bencher: Bencher<'_, '_>) {
    let (mut weight, gradient) = (normal(VALUES, 0), normal(VALUES, 1));
    let (mut first, mut second) = (vec![0.0; VALUES], vec![0.0; VALUES]);
    let adam = Adam {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: WeightDecay::NONE,
        step: 1,
        gradient_factor: 1.0,
    };
    bencher.bench_local(|| adam.update(&mut weight, &gradient, &mut first, &mut second));
}

#[divan::bench]
fn sgd_step(bencher: Bencher<'_, '_>) {
    let (mut weight, gradient, mut velocity) = (normal(VALUES, 0), normal(VALUES, 1), vec![0.0; VALUES]);
    let sgd = Sgd { rate: 1e-3, momentum: 0.9, nesterov: false, weight_decay: 0.0, gradient_factor: 1.0 };
    bencher.bench_local(|| sgd.update(&mut weight, &gradient, &mut velocity));
}
