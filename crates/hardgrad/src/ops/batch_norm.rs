use burn::tensor::Tensor;
use hardgrad_kernels::batch_norm;
use hardgrad_kernels::fake_quant::Channels;

use crate::custom_gradient::{AnyRank, node};
use crate::flex::{tensor, values};

/// Mean and biased variance a channel of one batch, `[channels]` each.
pub struct BatchStatistics {
    /// Mean.
    pub mean: Tensor<1>,
    /// Biased variance.
    pub variance: Tensor<1>,
    /// Number of values behind each.
    pub count: usize,
}

/// Batch normalisation in its training form; also returns the statistics of the batch.
///
/// ```text
/// multiplier = gamma / sqrt(variance + epsilon)        y = x multiplier + (beta - mean multiplier)
/// ```
/// x `[batch, channels, ...]` of rank 2 or more, gamma and beta `[channels]`; mean and variance are those of the batch, and the
/// gradients go through them. Source: Ioffe and Szegedy, ICML 2015.
///
/// # Panics
/// If gamma or beta does not have one value a channel.
pub fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
) -> (Tensor<D>, BatchStatistics) {
    let (dims, channels) = (x.dims(), Channels::along(&x.dims(), 1));
    assert_eq!([gamma.dims(), beta.dims()], [[dims[1]]; 2], "batch_norm: gamma and beta for input {dims:?}");
    let (input, factor, shift) = (values(&x), values(&gamma), values(&beta));
    let (mean, variance) = batch_norm::statistics(&input, channels);
    let (multiplier, offset) = batch_norm::fold(&factor, &shift, &mean, &variance, epsilon);
    let mut y = vec![0.0; input.len()];
    batch_norm::scale_and_shift(&input, &multiplier, &offset, channels, &mut y);
    let statistics = BatchStatistics {
        mean: tensor(mean.clone(), [dims[1]]),
        variance: tensor(variance.clone(), [dims[1]]),
        count: channels.outer * channels.inner,
    };
    let y = node([x.into(), gamma.into(), beta.into()], tensor(y, dims), move |gradient: Tensor<D>, _| {
        let found = batch_norm::backward(&input, &values(&gradient), &factor, &mean, &variance, epsilon, channels);
        let vector = |values| AnyRank::from(tensor(values, [dims[1]]));
        [Some(tensor(found.input, dims).into()), Some(vector(found.gamma)), Some(vector(found.beta))]
    });
    (y, statistics)
}

/// Batch normalisation in the form that ships: y = x multiplier + offset, a multiplier and an offset a channel.
///
/// x `[batch, channels, ...]`, multiplier and offset `[channels]`; not differentiable. See [`BatchNorm::folded`](crate::layers::BatchNorm::folded).
///
/// # Panics
/// If multiplier or offset does not have one value a channel.
pub fn batch_norm_folded<const D: usize>(x: Tensor<D>, multiplier: &[f32], offset: &[f32]) -> Tensor<D> {
    let (dims, channels) = (x.dims(), Channels::along(&x.dims(), 1));
    assert_eq!([multiplier.len(), offset.len()], [dims[1]; 2], "batch_norm: multiplier and offset for input {dims:?}");
    let mut y = vec![0.0; channels.len()];
    batch_norm::scale_and_shift(&values(&x), multiplier, offset, channels, &mut y);
    tensor(y, dims)
}
