use burn::tensor::Tensor;
use hardgrad_kernels::reduce::all_finite;
use thiserror::Error;

use super::{NotPositive, RangeMethod};
use crate::flex::{Values, values};

/// A quantiser that cannot work: settings, weights or samples that it cannot be made of.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum QuantizeError {
    /// The number of bits is not supported.
    #[error("bits must be 1 to 8, got {bits}")]
    Bits {
        /// What was asked for.
        bits: u32,
    },
    /// A range method that cannot do what is asked of it.
    #[error("{}: {reason}", range.name())]
    Settings {
        /// The method.
        range: RangeMethod,
        /// What is wrong and how to mend it.
        reason: &'static str,
    },
    /// A learned scale that cannot begin where it is told to.
    #[error(transparent)]
    Learned(#[from] NotPositive),
    /// Nothing to set a range from.
    #[error("the sample to calibrate from is empty; give it at least one value")]
    EmptySample,
    /// A sample with infinities or values that are not numbers.
    #[error(
        "the sample to calibrate from has values that are infinite or not numbers; give it what a working network computes"
    )]
    SampleNotFinite,
    /// A sample whose values all have the code of 0.
    #[error(
        "no value of the sample to calibrate from can set a range: all are 0, or below 0 where codes are unsigned; give it values \
         like those to come, or set signed = true"
    )]
    SampleWithoutRange,
    /// A weight with infinities or values that are not numbers.
    #[error("{name} has values that are infinite or not numbers; quantise a model whose weights are finite")]
    WeightNotFinite {
        /// Its name.
        name: String,
    },
    /// A weight that has a quantiser, or another reparameterization.
    #[error(
        "{name} is quantised or reparameterized already, and the first settings would stay; call materialize() on the model first, \
         or leave this weight out with with_layer(\"{name}\", None)"
    )]
    WeightTaken {
        /// Its name.
        name: String,
    },
    /// A weight that Burn shows to visitors, but not to what attaches quantisers.
    #[error(
        "{name} was not reached; derive Module for the layer that holds it, or leave it out with with_layer(\"{name}\", None)"
    )]
    WeightMissed {
        /// Its name.
        name: String,
    },
    /// A layer that has a quantiser of activations.
    #[error("the layer has a quantiser of activations already; set it to None to begin anew")]
    ActivationTaken,
    /// A model without weights.
    #[error(
        "the model has no weight: weights are those of Burn's and hardgrad's layers, and in other types fields called \"weight\" of rank \
         2 or more"
    )]
    NoWeight,
    /// Settings for layers that are not there.
    #[error("no weight's name begins with {prefix:?}; did you mean {nearest:?}? The weights are {known}")]
    UnknownLayer {
        /// What was asked for.
        prefix: String,
        /// The layer with the most similar name.
        nearest: String,
        /// The names of the weights, of the first ones if there are many.
        known: String,
    },
}

/// The values of a sample, if there are some and all are finite.
pub(crate) fn sample_values<const D: usize>(sample: &Tensor<D>) -> Result<Values, QuantizeError> {
    if sample.dims().contains(&0) {
        return Err(QuantizeError::EmptySample);
    }
    let sample = values(sample);
    if all_finite(&sample) { Ok(sample) } else { Err(QuantizeError::SampleNotFinite) }
}
