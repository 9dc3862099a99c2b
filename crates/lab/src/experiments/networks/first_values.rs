//! What the networks here begin with.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::random::Random;

use crate::streams;

/// Classes of all networks here.
pub(in crate::experiments) const CLASSES: usize = 10;

/// What the parameter at this place of a network begins with.
pub(super) fn first_values(seed: u64, place: usize) -> Random {
    Random::new(seed, place as u32, streams::EXPERIMENT_WEIGHTS)
}

/// A trainable parameter, uniform within `bound` of 0.
pub(super) fn uniform<const D: usize>(shape: [usize; D], bound: f32, random: &Random) -> Param<Tensor<D>> {
    let mut values = vec![0.0; shape.iter().product()];
    random.fill_uniform(&mut values);
    values.iter_mut().for_each(|value| *value = (2.0 * *value - 1.0) * bound);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()))
}
