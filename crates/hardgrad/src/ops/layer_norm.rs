use burn::tensor::Tensor;
use hardgrad_kernels::layer_norm;

use crate::custom_gradient::{AnyRank, node};
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// Layer normalisation over the last axis.
///
/// ```text
/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta        mean and biased variance of each row
/// ```
/// x `[..., width]`, gamma and beta `[width]`; kept for the backward pass: x, and two numbers a row.
/// Source: Ba, Kiros, Hinton, "Layer normalization", 2016.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::ops::layer_norm;
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 3.0]], &device);
/// let y = layer_norm(x, Tensor::ones([2], &device), Tensor::zeros([2], &device), 0.0);
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [-1.0, 1.0]);
/// ```
///
/// # Panics
/// If gamma or beta does not have one value a column.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let dims = x.dims();
    let width = dims[D - 1];
    assert_eq!([gamma.dims(), beta.dims()], [[width]; 2], "layer_norm: gamma and beta for input {dims:?}");
    if !on_flex(&x) {
        return composed(x, gamma, beta, epsilon);
    }
    let (input, factor) = (values(&x), values(&gamma));
    let (y, statistics) =
        profile::forward("layer_norm", || layer_norm::forward(&input, &factor, &values(&beta), epsilon));
    node([x.into(), gamma.into(), beta.into()], tensor(y, dims), move |gradient: Tensor<D>, _| {
        let found = profile::backward("layer_norm", || {
            layer_norm::backward(&input, &values(&gradient), &factor, &statistics.mean, &statistics.inverse)
        });
        let vector = |values| AnyRank::from(tensor(values, [width]));
        [Some(tensor(found.input, dims).into()), Some(vector(found.gamma)), Some(vector(found.beta))]
    })
}

/// [`layer_norm()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    centred / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}
