use burn::tensor::Tensor;
use hardgrad_kernels::convolution;
use hardgrad_kernels::geometry::Conv2dShape;
use hardgrad_kernels::quantized;

use crate::custom_gradient::custom_vjp2;
use crate::flex::{Values, tensor, values};
use crate::quantize::Grid;

/// Stride, padding, dilation and groups of a convolution; `[rows, columns]` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Steps between output pixels.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between kernel taps.
    pub dilation: [usize; 2],
    /// Channel groups that do not see each other.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// Two-dimensional convolution (cross-correlation, as everywhere in the field) without bias.
///
/// x `[batch, channels_in, height, width]`, weight `[channels_out, channels_in / groups, kernel, kernel]` to
/// `[batch, channels_out, out_height, out_width]`. The gradients are exact and the same for any number of threads.
///
/// # Panics
/// If the shapes do not fit.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, options: Conv2dOptions) -> Tensor<4> {
    fused(x, weight, options, convolution::conv2d)
}

/// [`conv2d`] of values on grids: sums of whole numbers are exact, then scaled once.
///
/// ```text
/// y[c] = (sum of (x / x_scale) (weight / weight_scale[c])) (x_scale weight_scale[c])
/// ```
/// The forward pass is bit for bit that of the packed model; the gradients are those of [`conv2d`].
///
/// # Panics
/// If the shapes do not fit, or a sum could pass 2^31 (8-bit operands with more than 32,768 products).
pub fn quantized_conv2d(
    x: Tensor<4>,
    x_grid: &Grid,
    weight: Tensor<4>,
    weight_grid: &Grid,
    options: Conv2dOptions,
) -> Tensor<4> {
    fused(x, weight, options, |x, weight, shape, y| {
        quantized::quantized_conv2d(x_grid.over(x), weight_grid.over(weight), shape, y);
    })
}

fn fused(
    x: Tensor<4>,
    weight: Tensor<4>,
    options: Conv2dOptions,
    forward: impl Fn(&[f32], &[f32], &Conv2dShape, &mut [f32]),
) -> Tensor<4> {
    let ([batch, channels_in, height, width], [channels_out, group_channels, rows, columns]) =
        (x.dims(), weight.dims());
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let kernel = [rows, columns];
    let shape = Conv2dShape { channels_in, channels_out, height, width, kernel, stride, padding, dilation, groups };
    assert_eq!(group_channels * groups, channels_in, "conv2d: weight {:?} for input {:?}", weight.dims(), x.dims());
    shape.check().unwrap_or_else(|error| panic!("conv2d: {error}"));
    let (input, kernels): (Values, Values) = (values(&x), values(&weight));
    let mut y = vec![0.0; batch * shape.output_len()];
    forward(&input, &kernels, &shape, &mut y);
    let y = tensor(y, [batch, channels_out, shape.out_height(), shape.out_width()]);
    let (x_dims, weight_dims) = (x.dims(), weight.dims());
    custom_vjp2(x, weight, y, move |gradient, [x_wanted, weight_wanted]| {
        let gradient = values(&gradient);
        let dx = x_wanted.then(|| {
            let mut out = vec![0.0; input.len()];
            convolution::conv2d_input_gradient(&gradient, &kernels, &shape, &mut out);
            tensor(out, x_dims)
        });
        let dweight = weight_wanted.then(|| {
            let mut out = vec![0.0; kernels.len()];
            convolution::conv2d_weight_gradient(&input, &gradient, &shape, &mut out);
            tensor(out, weight_dims)
        });
        (dx, dweight)
    })
}
