//! The networks that experiments train, a file each, and those of them that are known by name.
//!
//! What is a description is made of one (`described.rs`); the others have hard functions that a description does not know.

mod binary_mlp;
mod deep_mlp;
mod described;
mod first_values;
mod lenet5;
mod perceptron;
mod quantized_activation;

pub(super) use binary_mlp::BinaryMlp;
pub(super) use deep_mlp::DeepMlp;
pub(super) use described::{two_bit_lenet, two_bit_mlp, two_bit_transformer};
pub(super) use first_values::CLASSES;
pub(super) use lenet5::LeNet5;
pub(super) use perceptron::Perceptron;
pub(super) use quantized_activation::{ExchangeActivation, QuantizedActivation};

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
