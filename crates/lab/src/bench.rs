//! Timing of operators, forward and backward, with inputs and loss as other libraries are timed.
//!
//! A workload computes y = operator(x), loss = sum(y c) with a fixed c, and the gradients of its inputs; random numbers that
//! the operator needs are drawn anew in every call.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::codebook::{VectorQuantizerConfig, fsq};
use hardgrad::ops::{self, Bounds, Conv2dOptions, Rule};
use hardgrad::random::Random;
use hardgrad::{Surrogate, categorical, select};
use rayon::prelude::*;
use serde::Serialize;

use crate::LabError;

/// One thing to time.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Makes the inputs; each call of what it returns is one step.
    build: fn() -> Box<dyn FnMut()>,
}

/// All workloads.
pub static WORKLOADS: [Workload; 12] = [
    Workload { name: "copy/fake_quant_1m", build: copy },
    Workload { name: "op/fake_quant_1m", build: fake_quant },
    Workload { name: "op/lsq_channel_1m", build: lsq_channel },
    Workload { name: "op/sign_clipped_1m", build: sign_clipped },
    Workload { name: "op/gumbel_hard_512x1024", build: gumbel_hard },
    Workload { name: "op/reinmax_512x1024", build: reinmax },
    Workload { name: "op/token_select_64x196x192_k98", build: token_select },
    Workload { name: "op/vq_6272x64_k512", build: vector_quantize },
    Workload { name: "op/fsq_6272x4_8555", build: finite_scalar },
    Workload { name: "op/conv2d_b128_16x32x32_3x3", build: || convolution([128, 16, 32, 32], [16, 16, 3, 3], 1) },
    Workload { name: "op/conv2d_b128_32x14x14_to64_5x5", build: || convolution([128, 32, 14, 14], [64, 32, 5, 5], 2) },
    Workload { name: "op/conv2d_b128_64x8x8_3x3", build: || convolution([128, 64, 8, 8], [64, 64, 3, 3], 1) },
];

/// Times of one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// The workload.
    pub name: &'static str,
    /// Median of the calls, in milliseconds.
    pub median_ms: f64,
    /// The fastest call, in milliseconds.
    pub min_ms: f64,
    /// Calls that were timed.
    pub iterations: usize,
}

/// Times of some workloads.
#[derive(Clone, Debug, Serialize)]
pub struct Timings {
    /// One for each workload.
    pub results: Vec<Timing>,
    /// Threads that did the work.
    pub threads: usize,
    /// The processor.
    pub cpu: String,
}

/// Calls before anything is timed.
const WARM_UP: usize = 3;

/// Calls that are timed at least.
const CALLS: usize = 10;

/// Time that the calls take together at least.
const DURATION: Duration = Duration::from_secs(1);

/// Times all workloads whose name contains `only`; `tell` hears each name before its turn.
pub fn time(only: &str, mut tell: impl FnMut(&str)) -> Timings {
    let chosen = WORKLOADS.iter().filter(|workload| workload.name.contains(only));
    let results = chosen.map(|workload| {
        tell(workload.name);
        let mut step = (workload.build)();
        (0..WARM_UP).for_each(|_| step());
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < CALLS || begin.elapsed() < DURATION {
            let begin = Instant::now();
            step();
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median_ms = (times[middle] + times[(times.len() - 1) / 2]) / 2.0;
        Timing { name: workload.name, median_ms, min_ms: times[0], iterations: times.len() }
    });
    Timings { results: results.collect(), threads: rayon::current_num_threads(), cpu: cpu() }
}

/// Runs exactly `steps` steps of each workload whose name contains `only`, without timing.
///
/// # Errors
/// If there is no such workload.
pub fn run_steps(only: &str, steps: usize) -> Result<(), LabError> {
    let chosen: Vec<&Workload> = WORKLOADS.iter().filter(|workload| workload.name.contains(only)).collect();
    if chosen.is_empty() {
        return Err(LabError::Usage(format!("no workload is called {only}; `hardgrad bench --list` lists them")));
    }
    for workload in chosen {
        let mut step = (workload.build)();
        (0..steps).for_each(|_| step());
    }
    Ok(())
}

/// The processor's name, where the system tells.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}

/// Standard normal values; `place` tells the inputs of a workload apart.
fn normal<const D: usize>(shape: [usize; D], place: u32) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    Random::new(0, place, 0).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// An input with a gradient.
fn leaf<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(values.into_data(), &Device::flex().autodiff()).require_grad()
}

/// The gradients of the loss sum(y c) must be there for all inputs.
fn backward<const D: usize, const E: usize>(y: Tensor<D>, weights: &Tensor<D>, inputs: &[&Tensor<E>]) {
    let gradients = ops::inner_product(y, weights).backward();
    for input in inputs {
        std::hint::black_box(input.grad(&gradients).expect("every input has a gradient"));
    }
}

/// Fresh uniform values for each call.
fn uniform(shape: [usize; 2], call: &mut u32) -> Tensor<2> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    Random::new(1, *call, 0).fill_uniform(&mut values);
    *call += 1;
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

const MATRIX: [usize; 2] = [1024, 1024];

fn fake_quant() -> Box<dyn FnMut()> {
    let (x, c) = (leaf(normal(MATRIX, 0)), normal(MATRIX, 1));
    Box::new(move || {
        let y = ops::fake_quant(x.clone(), &[0.25], &[Bounds::signed(4)], None, Rule::Clipped);
        backward(y, &c, &[&x]);
    })
}

/// What `op/fake_quant_1m` cannot go below: reading x and writing y, reading G and writing dx, with the same threads.
fn copy() -> Box<dyn FnMut()> {
    let values = |place| -> Vec<f32> { normal(MATRIX, place).into_data().iter().collect() };
    let inputs = [values(0), values(1)];
    Box::new(move || {
        for input in &inputs {
            let mut output = vec![0.0; input.len()];
            let pieces = output.par_chunks_mut(hardgrad_kernels::CHUNK).zip(input.par_chunks(hardgrad_kernels::CHUNK));
            pieces.for_each(|(output, input)| output.copy_from_slice(input));
            std::hint::black_box(output);
        }
    })
}

fn lsq_channel() -> Box<dyn FnMut()> {
    let values = normal(MATRIX, 0);
    let scale = values.clone().abs().mean_dim(1).reshape([MATRIX[0]]) * (2.0 / 7f32.sqrt());
    let (x, c): (Tensor<2>, Tensor<2>) = (leaf(values), normal(MATRIX, 1));
    let scale: Tensor<1> = leaf(scale);
    Box::new(move || {
        let y = ops::lsq(x.clone(), scale.clone(), Bounds::signed(4), Some(0));
        let gradients = ops::inner_product(y, &c).backward();
        std::hint::black_box((x.grad(&gradients).expect("of x"), scale.grad(&gradients).expect("of scale")));
    })
}

fn sign_clipped() -> Box<dyn FnMut()> {
    let (x, c) = (leaf(normal(MATRIX, 0)), normal(MATRIX, 1));
    Box::new(move || backward(ops::sign(x.clone(), Surrogate::Clipped), &c, &[&x]))
}

const LOGITS: [usize; 2] = [512, 1024];

fn gumbel_hard() -> Box<dyn FnMut()> {
    let (logits, c) = (leaf(normal(LOGITS, 0)), normal(LOGITS, 1));
    let mut call = 0;
    Box::new(move || {
        let y = categorical::gumbel_softmax(logits.clone(), uniform(LOGITS, &mut call), 1.0, true);
        backward(y, &c, &[&logits]);
    })
}

fn reinmax() -> Box<dyn FnMut()> {
    let (logits, c) = (leaf(normal(LOGITS, 0)), normal(LOGITS, 1));
    let mut call = 0;
    Box::new(move || {
        let sample = categorical::sample(&logits, &Random::new(1, call, 0));
        call += 1;
        backward(categorical::reinmax(logits.clone(), sample, 1.0), &c, &[&logits]);
    })
}

fn token_select() -> Box<dyn FnMut()> {
    let [batch, count, width] = [64, 196, 192];
    let kept = 98;
    let (tokens, scores) = (leaf(normal([batch, count, width], 0)), leaf(normal([batch, count], 1)));
    let c = normal([batch, kept + 1, width], 2);
    let mut call = 0;
    Box::new(move || {
        let noise = uniform([batch, count], &mut call);
        let selection = select::token_select(tokens.clone(), scores.clone(), Some(noise), kept, 1.0);
        let gradients = ops::inner_product(selection.tokens, &c).backward();
        std::hint::black_box((
            tokens.grad(&gradients).expect("of tokens"),
            scores.grad(&gradients).expect("of scores"),
        ));
    })
}

fn vector_quantize() -> Box<dyn FnMut()> {
    let shape = [6272, 64];
    let (x, c): (Tensor<2>, Tensor<2>) = (leaf(normal(shape, 0)), normal(shape, 1));
    let layer = VectorQuantizerConfig::new(512, 64).init(&Random::new(0, 2, 0), &Device::flex().autodiff());
    Box::new(move || {
        let (codes, commitment) = layer.forward(x.clone());
        let gradients = (ops::inner_product(codes.quantized, &c) + commitment).backward();
        std::hint::black_box(x.grad(&gradients).expect("of x"));
    })
}

fn finite_scalar() -> Box<dyn FnMut()> {
    let shape = [6272, 4];
    let (x, c) = (leaf(normal(shape, 0)), normal(shape, 1));
    Box::new(move || backward(fsq(x.clone(), &[8, 5, 5, 5]).quantized, &c, &[&x]))
}

fn convolution(input: [usize; 4], weight: [usize; 4], padding: usize) -> Box<dyn FnMut()> {
    let (x, weight) = (leaf(normal(input, 0)), leaf(normal(weight, 1)));
    let options = Conv2dOptions { padding: [padding; 2], ..Conv2dOptions::default() };
    let c = normal(ops::conv2d(x.clone().inner(), weight.clone().inner(), options).dims(), 2);
    Box::new(move || backward(ops::conv2d(x.clone(), weight.clone(), options), &c, &[&x, &weight]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_runs_a_step() {
        for workload in &WORKLOADS {
            run_steps(workload.name, 1).unwrap();
        }
        assert!(run_steps("op/none", 1).is_err());
    }
}
