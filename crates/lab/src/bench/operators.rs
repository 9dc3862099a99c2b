//! Operators forward and backward: y = operator(x), loss = sum(y c) with a fixed c, and the gradients of the inputs.
//!
//! Random numbers that an operator needs are drawn anew in every call.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::codebook::{VectorQuantizerConfig, fsq};
use hardgrad::ops::{self, Bounds, Conv2dOptions, Rule};
use hardgrad::random::Random;
use hardgrad::{Surrogate, categorical, select};
use rayon::prelude::*;

use super::step::{Step, normal};
use crate::streams;
use crate::train::step::tensor_gradients;

/// An input with a gradient.
fn leaf<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(values.into_data(), &Device::flex().autodiff()).require_grad()
}

/// The gradients of the loss sum(y c) must be there for all inputs.
fn backward<const D: usize, const E: usize>(y: Tensor<D>, weights: &Tensor<D>, inputs: &[&Tensor<E>]) {
    let gradients = tensor_gradients(ops::inner_product(y, weights));
    for input in inputs {
        std::hint::black_box(input.grad(&gradients).expect("every input has a gradient"));
    }
}

/// Fresh uniform values for each call.
fn uniform(shape: [usize; 2], call: &mut u32) -> Tensor<2> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    Random::new(1, *call, streams::BENCH_NOISE).fill_uniform(&mut values);
    *call += 1;
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

const MATRIX: [usize; 2] = [1024, 1024];

pub(super) fn fake_quant() -> Step {
    let (x, c) = (leaf(normal(MATRIX, 0)), normal(MATRIX, 1));
    Box::new(move || {
        let y = ops::fake_quant(x.clone(), &[0.25], &[Bounds::signed(4)], None, Rule::Clipped);
        backward(y, &c, &[&x]);
    })
}

/// What `op/fake_quant_1m` cannot go below: reading x and writing y, reading G and writing dx, with the same threads.
pub(super) fn copy() -> Step {
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

pub(super) fn lsq_channel() -> Step {
    let values = normal(MATRIX, 0);
    let scale = values.clone().abs().mean_dim(1).reshape([MATRIX[0]]) * (2.0 / 7f32.sqrt());
    let (x, c): (Tensor<2>, Tensor<2>) = (leaf(values), normal(MATRIX, 1));
    let scale: Tensor<1> = leaf(scale);
    Box::new(move || {
        let y = ops::lsq(x.clone(), scale.clone(), Bounds::signed(4), Some(0));
        let gradients = tensor_gradients(ops::inner_product(y, &c));
        std::hint::black_box((x.grad(&gradients).expect("of x"), scale.grad(&gradients).expect("of scale")));
    })
}

pub(super) fn sign_clipped() -> Step {
    let (x, c) = (leaf(normal(MATRIX, 0)), normal(MATRIX, 1));
    Box::new(move || backward(ops::sign(x.clone(), Surrogate::Clipped), &c, &[&x]))
}

const LOGITS: [usize; 2] = [512, 1024];

pub(super) fn gumbel_hard() -> Step {
    let (logits, c) = (leaf(normal(LOGITS, 0)), normal(LOGITS, 1));
    let mut call = 0;
    Box::new(move || {
        let y = categorical::gumbel_softmax(logits.clone(), uniform(LOGITS, &mut call), 1.0, true);
        backward(y, &c, &[&logits]);
    })
}

pub(super) fn reinmax() -> Step {
    let (logits, c) = (leaf(normal(LOGITS, 0)), normal(LOGITS, 1));
    let mut call = 0;
    Box::new(move || {
        let sample = categorical::sample(&logits, &Random::new(1, call, streams::BENCH_NOISE));
        call += 1;
        backward(categorical::reinmax(logits.clone(), sample, 1.0), &c, &[&logits]);
    })
}

pub(super) fn token_select() -> Step {
    let [batch, count, width] = [64, 196, 192];
    let kept = 98;
    let (tokens, scores) = (leaf(normal([batch, count, width], 0)), leaf(normal([batch, count], 1)));
    let c = normal([batch, kept + 1, width], 2);
    let mut call = 0;
    Box::new(move || {
        let noise = uniform([batch, count], &mut call);
        let selection = select::token_select(tokens.clone(), scores.clone(), Some(noise), kept, 1.0);
        let gradients = tensor_gradients(ops::inner_product(selection.tokens, &c));
        std::hint::black_box((
            tokens.grad(&gradients).expect("of tokens"),
            scores.grad(&gradients).expect("of scores"),
        ));
    })
}

pub(super) fn vector_quantize() -> Step {
    let shape = [6272, 64];
    let (x, c): (Tensor<2>, Tensor<2>) = (leaf(normal(shape, 0)), normal(shape, 1));
    let layer =
        VectorQuantizerConfig::new(512, 64).init(&Random::new(0, 2, streams::BENCH_INPUTS), &Device::flex().autodiff());
    Box::new(move || {
        let (codes, commitment) = layer.forward(x.clone());
        let gradients = tensor_gradients(ops::inner_product(codes.quantized, &c) + commitment);
        std::hint::black_box(x.grad(&gradients).expect("of x"));
    })
}

pub(super) fn finite_scalar() -> Step {
    let shape = [6272, 4];
    let (x, c) = (leaf(normal(shape, 0)), normal(shape, 1));
    Box::new(move || backward(fsq(x.clone(), &[8, 5, 5, 5]).quantized, &c, &[&x]))
}

pub(super) fn convolution(input: [usize; 4], weight: [usize; 4], padding: usize) -> Step {
    let (x, weight) = (leaf(normal(input, 0)), leaf(normal(weight, 1)));
    let options = Conv2dOptions { padding: [padding; 2], ..Conv2dOptions::default() };
    let c = normal(ops::conv2d(x.clone().inner(), weight.clone().inner(), None, options).dims(), 2);
    Box::new(move || backward(ops::conv2d(x.clone(), weight.clone(), None, options), &c, &[&x, &weight]))
}
