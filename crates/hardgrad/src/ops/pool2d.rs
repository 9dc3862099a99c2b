use burn::tensor::Tensor;
use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::pooling;

use crate::custom_gradient::custom_vjp;
use crate::flex::{tensor, values};

/// The largest value of each window; ties go to the first in reading order, forward and backward.
///
/// x `[batch, channels, height, width]`; no padding: what does not fill a window at the right and bottom edges is left out.
///
/// # Panics
/// If the window is larger than the image or a size is 0.
pub fn max_pool2d(x: Tensor<4>, kernel: [usize; 2], stride: [usize; 2]) -> Tensor<4> {
    let (input, dims, shape, out_dims) = prepare(&x, kernel, stride);
    let mut y = vec![0.0; out_dims.iter().product()];
    pooling::max_pool2d(&input, &shape, &mut y);
    custom_vjp(x, tensor(y, out_dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        pooling::max_pool2d_backward(&input, &values(&gradient), &shape, &mut out);
        tensor(out, dims)
    })
}

/// The mean of each window: the sum in reading order, divided by the area.
///
/// x `[batch, channels, height, width]`; no padding, as [`max_pool2d`].
///
/// # Panics
/// If the window is larger than the image or a size is 0.
pub fn avg_pool2d(x: Tensor<4>, kernel: [usize; 2], stride: [usize; 2]) -> Tensor<4> {
    let (input, dims, shape, out_dims) = prepare(&x, kernel, stride);
    let mut y = vec![0.0; out_dims.iter().product()];
    pooling::avg_pool2d(&input, &shape, &mut y);
    custom_vjp(x, tensor(y, out_dims), move |gradient| {
        let mut out = vec![0.0; dims.iter().product()];
        pooling::avg_pool2d_backward(&values(&gradient), &shape, &mut out);
        tensor(out, dims)
    })
}

fn prepare(
    x: &Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> (crate::flex::Values, [usize; 4], Pool2dShape, [usize; 4]) {
    let dims @ [batch, channels, height, width] = x.dims();
    let shape = Pool2dShape { height, width, kernel, stride };
    shape.check().unwrap_or_else(|error| panic!("pooling: {error}"));
    (values(x), dims, shape, [batch, channels, shape.out_height(), shape.out_width()])
}
