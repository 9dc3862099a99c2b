use burn::tensor::Tensor;
use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::ordered::batch;
use hardgrad_kernels::pooling::avg_pool2d_backward;

use crate::coded::Activation;
use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// The mean of each channel over its pixels.
///
/// ```text
/// y[n, c] = (sum of x[n, c, i, j]) / (height width)        dx[n, c, i, j] = G[n, c] / (height width)
/// ```
/// x `[batch, channels, height, width]` as floats or codes, to `[batch, channels]`; the sum runs in reading order, as in the
/// packed model. Source: Lin, Chen, Yan, "Network in network", 2013.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<4>::from_floats([[[[1.0, 4.0], [3.0, 2.0]]]], &Device::flex());
/// let y = hardgrad::ops::global_mean(x);
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [2.5]);
/// ```
///
/// # Panics
/// If an image has no pixel.
pub fn global_mean(x: impl Into<Activation<4>>) -> Tensor<2> {
    let x = x.into().values();
    let dims @ [batch, channels, height, width] = x.dims();
    let pixels = height * width;
    assert!(pixels > 0, "global_mean: {height} x {width} pixels");
    if !on_flex(&x) {
        return composed(x);
    }
    let y = profile::forward("global_mean", || batch::mean_planes(&values(&x), pixels));
    // One window that is the whole plane.
    let shape = Pool2dShape { height, width, kernel: [height, width], stride: [1, 1] };
    custom_vjp(x, tensor(y, [batch, channels]), move |gradient| {
        tensor(profile::backward("global_mean", || avg_pool2d_backward(&values(&gradient), &shape)), dims)
    })
}

/// The mean token of each sequence.
///
/// ```text
/// y[n, c] = (sum over t of x[n, t, c]) / tokens        dx[n, t, c] = G[n, c] / tokens
/// ```
/// x `[batch, tokens, width]` as floats or codes, to `[batch, width]`; the sum runs from the first token to the last, as in the
/// packed model.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<3>::from_floats([[[1.0, 10.0], [3.0, 30.0]]], &Device::flex());
/// let y = hardgrad::ops::token_mean(x);
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [2.0, 20.0]);
/// ```
///
/// # Panics
/// If there is no token or no column.
pub fn token_mean(x: impl Into<Activation<3>>) -> Tensor<2> {
    let x = x.into().values();
    let [batch, tokens, width] = x.dims();
    assert!(tokens * width > 0, "token_mean: {tokens} tokens of {width} values");
    if !on_flex(&x) {
        return token_mean_composed(x);
    }
    let y = profile::forward("token_mean", || batch::mean_tokens(&values(&x), tokens, width));
    custom_vjp(x, tensor(y, [batch, width]), move |gradient| {
        let share: Tensor<3> = (gradient / tokens as f32).reshape([batch, 1, width]);
        share.expand([batch, tokens, width])
    })
}

/// [`global_mean()`] as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// [`token_mean()`] as a composition of Burn's operators, for any device.
pub fn token_mean_composed(x: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = x.dims();
    x.mean_dim(1).reshape([batch, width])
}
