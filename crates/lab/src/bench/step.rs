//! What all workloads are made of.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::random::Random;

use crate::streams;

/// One step of a workload; its result is used up inside.
pub(super) type Step = Box<dyn FnMut() + Send>;

/// Standard normal values; `place` tells the inputs of a workload apart.
pub(super) fn normal<const D: usize>(shape: [usize; D], place: u32) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    Random::new(0, place, streams::BENCH_INPUTS).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}
