use burn::tensor::Tensor;
use hardgrad_kernels::batch_norm;
use hardgrad_kernels::batch_norm_relu::{self, Normalization};
use hardgrad_kernels::channels::Channels;

use super::relu::{activation, place, scale_place};
use super::{Input, LearnedStep, along};
use crate::coded::Activation;
use crate::custom_gradient::{AnyRank, node};
use crate::flex::{on_flex, tensor, values};
use crate::profile;

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
    let (dims, channels) = layout(&x, &gamma, &beta);
    if !on_flex(&x) {
        return composed(x, gamma, beta, epsilon);
    }
    let (input, factor) = (values(&x), values(&gamma));
    let found =
        profile::forward("batch_norm", || batch_norm::forward(&input, &factor, &values(&beta), epsilon, channels));
    let statistics = statistics(&found.mean, &found.variance, channels);
    let (mean, variance) = (found.mean, found.variance);
    let y = node([x.into(), gamma.into(), beta.into()], tensor(found.y, dims), move |gradient: Tensor<D>, _| {
        let found = profile::backward("batch_norm", || {
            batch_norm::backward(&input, &values(&gradient), &factor, &mean, &variance, epsilon, channels)
        });
        let vector = |values| AnyRank::from(tensor(values, [dims[1]]));
        [Some(tensor(found.input, dims).into()), Some(vector(found.gamma)), Some(vector(found.beta))]
    });
    (y, statistics)
}

/// [`batch_norm()`], then the addition of a shortcut, ReLU and a quantiser with a learned step, in one pass.
///
/// ```text
/// y = relu(batch_norm(x) (+ shortcut)), quantised to codes where there is a step
/// ```
/// The shortcut has the shape of x. Kept for the backward pass are x and the shortcut alone; what lies between is computed again.
/// Sources: those of [`batch_norm()`] and [`relu`](super::relu()).
///
/// # Panics
/// If gamma or beta does not have one value a channel, or the shortcut another shape; as [`relu`](super::relu()) for the step.
pub fn batch_norm_relu<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
    shortcut: Option<Activation<D>>,
    step: Option<LearnedStep>,
) -> (Activation<D>, BatchStatistics) {
    let (dims, channels) = layout(&x, &gamma, &beta);
    same_shape(&dims, &shortcut);
    if !on_flex(&x) {
        let (y, statistics) = composed(x, gamma, beta, epsilon);
        return (super::relu(y, shortcut, step), statistics);
    }
    let (input, factor, shift) = (values(&x), values(&gamma), values(&beta));
    let places = [x.into(), gamma.into(), beta.into(), place(&shortcut), scale_place(&step)];
    let shortcut = shortcut.map(Input::new);
    let scale_factor = step.as_ref().map_or(0.0, |step| step.factor(input.len()));
    let quantizer = step.as_ref().map(LearnedStep::quantizer);
    let found = profile::forward("batch_norm_relu", || {
        let shortcut = shortcut.as_ref().map(Input::as_shortcut);
        batch_norm_relu::forward(&input, &factor, &shift, epsilon, channels, shortcut, quantizer)
    });
    let statistics = statistics(&found.mean, &found.variance, channels);
    let (mean, variance) = (found.mean, found.variance);
    let vjp = move |gradient: Tensor<D>, wanted: [bool; 5]| {
        let normalization = Normalization { gamma: &factor, beta: &shift, mean: &mean, variance: &variance, epsilon };
        let found = profile::backward("batch_norm_relu", || {
            let shortcut = shortcut.as_ref().map(Input::as_shortcut);
            let wanted = wanted[3] && shortcut.is_some();
            let gradient = values(&gradient);
            batch_norm_relu::backward(
                &input,
                &gradient,
                normalization,
                channels,
                shortcut,
                quantizer,
                scale_factor,
                wanted,
            )
        });
        let vector = |values| Some(AnyRank::from(tensor(values, [dims[1]])));
        [
            Some(tensor(found.input, dims).into()),
            vector(found.gamma),
            vector(found.beta),
            found.shortcut.map(|shortcut| tensor(shortcut, dims).into()),
            (wanted[4] && quantizer.is_some()).then(|| tensor(vec![found.scale], [1]).into()),
        ]
    };
    (activation(found.y, places, dims, quantizer, vjp), statistics)
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
    if !on_flex(&x) {
        let spread = |values: &[f32]| along::<D>(Tensor::from_floats(values, &x.device()), Some(1));
        let (multiplier, offset) = (spread(multiplier), spread(offset));
        return x * multiplier + offset;
    }
    let mut y = vec![0.0; channels.len()];
    batch_norm::scale_and_shift(&values(&x), multiplier, offset, channels, &mut y);
    tensor(y, dims)
}

/// [`batch_norm_folded`], then the addition of a shortcut, ReLU and a quantiser, as [`batch_norm_relu()`]; not differentiable.
///
/// # Panics
/// If multiplier or offset does not have one value a channel, or the shortcut another shape.
pub fn batch_norm_relu_folded<const D: usize>(
    x: Tensor<D>,
    multiplier: &[f32],
    offset: &[f32],
    shortcut: Option<Activation<D>>,
    step: Option<LearnedStep>,
) -> Activation<D> {
    let dims = x.dims();
    same_shape(&dims, &shortcut);
    if !on_flex(&x) {
        return super::relu(batch_norm_folded(x, multiplier, offset), shortcut, step);
    }
    assert_eq!([multiplier.len(), offset.len()], [dims[1]; 2], "batch_norm: multiplier and offset for input {dims:?}");
    let quantizer = step.as_ref().map(LearnedStep::quantizer);
    let shortcut = shortcut.map(Input::new);
    let y = profile::forward("batch_norm_relu", || {
        let shortcut = shortcut.as_ref().map(Input::as_shortcut);
        let channels = Channels::along(&dims, 1);
        batch_norm_relu::forward_folded(&values(&x), multiplier, offset, channels, shortcut, quantizer)
    });
    activation(y, [], dims, quantizer, |_, _| [])
}

fn same_shape<const D: usize>(dims: &[usize; D], shortcut: &Option<Activation<D>>) {
    if let Some(shortcut) = shortcut {
        assert_eq!(shortcut.dims(), *dims, "batch_norm_relu: the shortcut must have the shape of x");
    }
}

fn layout<const D: usize>(x: &Tensor<D>, gamma: &Tensor<1>, beta: &Tensor<1>) -> ([usize; D], Channels) {
    let dims = x.dims();
    assert_eq!([gamma.dims(), beta.dims()], [[dims[1]]; 2], "batch_norm: gamma and beta for input {dims:?}");
    (dims, Channels::along(&dims, 1))
}

fn statistics(mean: &[f32], variance: &[f32], channels: Channels) -> BatchStatistics {
    BatchStatistics {
        mean: tensor(mean.to_vec(), [mean.len()]),
        variance: tensor(variance.to_vec(), [variance.len()]),
        count: channels.outer * channels.inner,
    }
}

/// [`batch_norm()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
) -> (Tensor<D>, BatchStatistics) {
    let dims = x.dims();
    let count = dims.iter().product::<usize>() / dims[1].max(1);
    let mean_of = |x: Tensor<D>| (0..D).filter(|axis| *axis != 1).fold(x, |x, axis| x.mean_dim(axis));
    let mean = mean_of(x.clone());
    let centred = x - mean.clone();
    let variance = mean_of(centred.clone().square());
    let statistics = BatchStatistics {
        mean: mean.inner().reshape([dims[1]]),
        variance: variance.clone().inner().reshape([dims[1]]),
        count,
    };
    let gamma = along::<D>(gamma, Some(1));
    (centred / (variance + epsilon).sqrt() * gamma + along(beta, Some(1)), statistics)
}
