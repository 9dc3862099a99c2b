use burn::tensor::Tensor;
use burn::tensor::module::conv2d as burn_conv2d;
use burn::tensor::ops::ConvOptions;
use hardgrad_kernels::convolution::{self, Images, Wanted, conv2d_backward};
use hardgrad_kernels::geometry::Conv2dShape;
use hardgrad_kernels::ordered::batch;
use hardgrad_kernels::quantized::{self, OnGrid};

use super::Input;
use crate::coded::{Activation, CodedTensor};
use crate::custom_gradient::{AnyRank, node};
use crate::flex::{Values, tensor, values};
use crate::profile;
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

/// Two-dimensional convolution (cross-correlation, as everywhere in the field).
///
/// x `[batch, channels_in, height, width]` as floats or codes, weight `[channels_out, channels_in / groups, kernel, kernel]`,
/// bias `[channels_out]`, to `[batch, channels_out, out_height, out_width]`. The gradients are exact and the same for any
/// number of threads; codes are all that is kept of a coded x. Plain tensors are added up in the fixed order of the packed
/// model, bit for bit.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::ops::{Conv2dOptions, conv2d};
///
/// let device = Device::flex();
/// let (x, weight) = (Tensor::<4>::ones([1, 1, 3, 3], &device), Tensor::<4>::ones([1, 1, 3, 3], &device));
/// let y = conv2d(x, weight, None, Conv2dOptions::default());
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [9.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
pub fn conv2d(
    x: impl Into<Activation<4>>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Tensor<4> {
    let x = x.into();
    if !x.on_flex() {
        return composed(x.values(), weight, bias, options);
    }
    let plain = !x.is_autodiff() && !weight.is_autodiff() && bias.as_ref().is_none_or(|bias| !bias.is_autodiff());
    fused(x, weight, bias, options, |x, weight, bias, shape| {
        if plain {
            return batch::conv2d(&x.values(), weight, Some(bias), shape);
        }
        let (images, scale) = match x {
            Input::Float(values) => (Images::Float(values), 1.0),
            Input::Coded(coded) => (Images::Coded(coded.coded()), coded.coded().scale),
        };
        convolution::conv2d(images, weight, shape, &vec![scale; shape.channels_out], bias)
    })
}

/// [`conv2d`] of codes with weights on a grid: sums of whole numbers are exact, then scaled once.
///
/// ```text
/// y[c] = (sum of (x / x_scale) (weight / weight_scale[c])) (x_scale weight_scale[c]) + bias[c]
/// ```
/// The forward pass is bit for bit that of the packed model; the gradients are those of [`conv2d`].
///
/// # Panics
/// If the shapes do not fit, or a sum could pass 2^31 (8-bit operands with more than 32,768 products).
pub fn quantized_conv2d(
    x: CodedTensor<4>,
    weight: Tensor<4>,
    weight_grid: &Grid,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Tensor<4> {
    fused(x.into(), weight, bias, options, |x, weight, bias, shape| match x {
        Input::Coded(x) => {
            quantized::quantized_conv2d(x.input(), OnGrid { values: weight, scale: &weight_grid.scale }, bias, shape)
        }
        Input::Float(_) => unreachable!("made of codes above"),
    })
}

fn fused(
    x: Activation<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
    forward: impl Fn(&Input<4>, &[f32], &[f32], &Conv2dShape) -> Vec<f32>,
) -> Tensor<4> {
    let ([batch, channels_in, height, width], [channels_out, group_channels, rows, columns]) =
        (x.dims(), weight.dims());
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let kernel = [rows, columns];
    let shape = Conv2dShape { channels_in, channels_out, height, width, kernel, stride, padding, dilation, groups };
    assert_eq!(group_channels * groups, channels_in, "conv2d: weight {:?} for input {:?}", weight.dims(), x.dims());
    shape.check().unwrap_or_else(|error| panic!("conv2d: {error}"));
    let (x_dims, weight_dims, place) = (x.dims(), weight.dims(), x.place());
    let (input, kernels): (Input<4>, Values) = (Input::new(x), values(&weight));
    let shift = bias.as_ref().map_or_else(|| vec![0.0; channels_out], |bias| values(bias).to_vec());
    assert_eq!(shift.len(), channels_out, "conv2d: one bias a channel");
    let y = profile::forward("conv2d", || forward(&input, &kernels, &shift, &shape));
    let y = tensor(y, [batch, channels_out, shape.out_height(), shape.out_width()]);
    let gradients = move |gradient: Tensor<4>, [input_wanted, weight_wanted, bias_wanted]: [bool; 3]| {
        let wanted = Wanted { input: input_wanted, weight: weight_wanted, bias: bias_wanted };
        let images = match &input {
            Input::Float(values) => Images::Float(values),
            Input::Coded(coded) => Images::Coded(coded.coded()),
        };
        let found =
            profile::backward("conv2d", || conv2d_backward(images, &kernels, &values(&gradient), &shape, wanted));
        [
            found.input.map(|dx| AnyRank::from(tensor(dx, x_dims))),
            found.weight.map(|dweight| tensor(dweight, weight_dims).into()),
            found.bias.map(|dbias| tensor(dbias, [channels_out]).into()),
        ]
    };
    match bias {
        Some(bias) => node([place, weight.into(), bias.into()], y, gradients),
        None => node([place, weight.into()], y, move |gradient, [input, weight]| {
            let [dx, dweight, _] = gradients(gradient, [input, weight, false]);
            [dx, dweight]
        }),
    }
}

/// [`conv2d()`] as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: Conv2dOptions) -> Tensor<4> {
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    burn_conv2d(x, weight, bias, ConvOptions::new(stride, padding, dilation, groups))
}
