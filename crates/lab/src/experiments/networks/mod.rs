//! The networks that experiments train, a file each, and those of them that are known by name.
//!
//! What is a description is made of one (`described.rs`); the others have hard functions that a description does not know.

mod binary_mlp;
mod deep_mlp;
mod described;
mod lenet5;
mod perceptron;
mod quantized_activation;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::random::Random;

use crate::streams;

pub(super) use binary_mlp::BinaryMlp;
pub(super) use deep_mlp::DeepMlp;
pub(super) use described::{two_bit_lenet, two_bit_mlp, two_bit_transformer};
pub(super) use lenet5::LeNet5;
pub(super) use perceptron::Perceptron;
pub(super) use quantized_activation::{ExchangeActivation, QuantizedActivation};

/// Classes of all networks here.
pub(super) const CLASSES: usize = 10;

/// Runs `$body` with `$make` standing for the function that makes the network of this name from a seed.
macro_rules! with_subject {
    ($name:expr, $make:ident => $body:expr) => {
        with_subject!(
            $name, $make => $body,
            "perceptron" = $crate::experiments::networks::Perceptron::new,
            "two_bit_mlp" = $crate::experiments::networks::two_bit_mlp,
            "two_bit_lenet" = $crate::experiments::networks::two_bit_lenet,
            "binary_mlp" = $crate::experiments::networks::BinaryMlp::new,
            "two_bit_transformer" = $crate::experiments::networks::two_bit_transformer
        )
    };
    ($name:expr, $make:ident => $body:expr, $($word:literal = $new:path),+) => {
        match $name {
            $($word => {
                let $make: fn(u64) -> _ = $new;
                $body
            })+
            other => Err(LabError::Usage(format!("network must be one of {}, got {other}", [$($word),+].join(", ")))),
        }
    };
}
pub(super) use with_subject;

/// What the parameter at this place of a network begins with.
fn first_values(seed: u64, place: usize) -> Random {
    Random::new(seed, place as u32, streams::EXPERIMENT_WEIGHTS)
}

/// A trainable parameter, uniform within `bound` of 0.
fn uniform<const D: usize>(shape: [usize; D], bound: f32, random: &Random) -> Param<Tensor<D>> {
    let mut values = vec![0.0; shape.iter().product()];
    random.fill_uniform(&mut values);
    values.iter_mut().for_each(|value| *value = (2.0 * *value - 1.0) * bound);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()))
}
