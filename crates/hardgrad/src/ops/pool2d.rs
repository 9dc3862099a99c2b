use burn::nn::pool::{AvgPool2dConfig, MaxPool2dConfig};
use burn::tensor::Tensor;
use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::pooling;

use crate::coded::Activation;
use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// Largest window whose winners fit a byte.
const LARGEST_WINDOW: usize = 256;

/// The largest value of each window; ties go to the first in reading order, forward and backward.
///
/// x `[batch, channels, height, width]` as floats or codes, and so is the result; no padding: what does not fill a window at
/// the right and bottom edges is left out. Kept for the backward pass: one byte an output.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<4>::from_floats([[[[1.0, 4.0], [3.0, 2.0]]]], &Device::flex());
/// let y = hardgrad::ops::max_pool2d(x, [2, 2], [2, 2]).values();
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [4.0]);
/// ```
///
/// # Panics
/// If the window is larger than the image or a size is 0.
pub fn max_pool2d(x: impl Into<Activation<4>>, kernel: [usize; 2], stride: [usize; 2]) -> Activation<4> {
    let x = x.into();
    let (shape, dims) = prepare(x.dims(), kernel, stride);
    let x_dims = x.dims();
    if !x.on_flex() || kernel[0] * kernel[1] > LARGEST_WINDOW {
        return max_pool2d_composed(x.values(), kernel, stride).into();
    }
    let vjp = move |gradient: Tensor<4>, winners: &[u8]| {
        let gradient = values(&gradient);
        tensor(profile::backward("max_pool2d", || pooling::max_pool2d_backward(&gradient, winners, &shape)), x_dims)
    };
    match x {
        Activation::Float(x) => {
            let (y, winners) = profile::forward("max_pool2d", || pooling::max_pool2d_winners(&values(&x), &shape));
            custom_vjp(x, tensor(y, dims), move |gradient| vjp(gradient, &winners)).into()
        }
        Activation::Coded(x) => {
            let (codes, winners) =
                profile::forward("max_pool2d", || pooling::max_pool2d_codes(x.coded().codes, &shape));
            x.map(codes, dims, move |gradient| vjp(gradient, &winners)).into()
        }
    }
}

/// The mean of each window: the sum in reading order, divided by the area.
///
/// x `[batch, channels, height, width]` as floats or codes; the result is floats. No padding, as [`max_pool2d`].
///
/// # Panics
/// If the window is larger than the image or a size is 0.
pub fn avg_pool2d(x: impl Into<Activation<4>>, kernel: [usize; 2], stride: [usize; 2]) -> Activation<4> {
    let x = x.into().values();
    let (shape, dims) = prepare(x.dims(), kernel, stride);
    if !on_flex(&x) {
        return avg_pool2d_composed(x, kernel, stride).into();
    }
    let x_dims = x.dims();
    let y = profile::forward("avg_pool2d", || pooling::avg_pool2d_new(&values(&x), &shape));
    custom_vjp(x, tensor(y, dims), move |gradient: Tensor<4>| {
        let gradient = values(&gradient);
        tensor(profile::backward("avg_pool2d", || pooling::avg_pool2d_backward(&gradient, &shape)), x_dims)
    })
    .into()
}

fn prepare(
    [batch, channels, height, width]: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
) -> (Pool2dShape, [usize; 4]) {
    let shape = Pool2dShape { height, width, kernel, stride };
    shape.check().unwrap_or_else(|error| panic!("pooling: {error}"));
    (shape, [batch, channels, shape.out_height(), shape.out_width()])
}

/// [`max_pool2d()`] as a composition of Burn's operators, for any device.
pub fn max_pool2d_composed(x: Tensor<4>, kernel: [usize; 2], stride: [usize; 2]) -> Tensor<4> {
    MaxPool2dConfig::new(kernel).with_strides(stride).init().forward(x)
}

/// [`avg_pool2d()`] as a composition of Burn's operators, for any device.
pub fn avg_pool2d_composed(x: Tensor<4>, kernel: [usize; 2], stride: [usize; 2]) -> Tensor<4> {
    AvgPool2dConfig::new(kernel).with_strides(stride).init().forward(x)
}
