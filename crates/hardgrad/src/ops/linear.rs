use burn::tensor::Tensor;
use hardgrad_kernels::linear::{
    linear as product, linear_bias_gradient, linear_input_gradient, linear_weight_gradient,
};
use hardgrad_kernels::ordered::batch;
use hardgrad_kernels::quantized::{OnGrid, quantized_linear as quantized_product};

use super::Input;
use crate::coded::{Activation, CodedTensor};
use crate::custom_gradient::{AnyRank, node};
use crate::flex::{tensor, values};
use crate::profile;
use crate::quantize::Grid;

/// Matrix product x weight + bias.
///
/// x `[..., inputs]` as floats or codes, weight `[inputs, outputs]`, bias `[outputs]`, to `[..., outputs]`. The gradients are
/// exact and the same for any number of threads; codes are all that is kept of a coded x. Plain tensors are added up in the
/// fixed order of the packed model, bit for bit.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::ops::linear;
///
/// let device = Device::flex();
/// let y = linear(Tensor::<2>::ones([1, 3], &device), Tensor::ones([3, 1], &device), None);
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [3.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
pub fn linear<const D: usize>(x: impl Into<Activation<D>>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let x = x.into();
    if !x.on_flex() {
        return composed(x.values(), weight, bias);
    }
    let plain = !x.is_autodiff() && !weight.is_autodiff() && bias.as_ref().is_none_or(|bias| !bias.is_autodiff());
    fused(x, weight, bias, |x, weight, bias, sizes| match plain {
        true => batch::linear(&x.values(), weight, bias, sizes),
        false => product(&x.values(), weight, None, bias, sizes),
    })
}

/// [`linear`] of codes with weights on a grid: sums of whole numbers are exact, then scaled once.
///
/// ```text
/// y[c] = (sum of (x / x_scale) (weight / weight_scale[c])) (x_scale weight_scale[c]) + bias[c]
/// ```
/// The forward pass is bit for bit that of the packed model; the gradients are those of [`linear`].
///
/// # Panics
/// If the shapes do not fit, or a sum could pass 2^31 (8-bit operands with more than 32,768 products).
pub fn quantized_linear<const D: usize>(
    x: CodedTensor<D>,
    weight: Tensor<2>,
    weight_grid: &Grid,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    fused(x.into(), weight, bias, |x, weight, bias, sizes| match x {
        Input::Coded(x) => {
            quantized_product(x.input(), OnGrid { values: weight, scale: &weight_grid.scale }, bias, sizes)
        }
        Input::Float(_) => unreachable!("made of codes above"),
    })
}

fn fused<const D: usize>(
    x: Activation<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    forward: impl Fn(&Input<D>, &[f32], Option<&[f32]>, [usize; 3]) -> Vec<f32>,
) -> Tensor<D> {
    let (dims, [inputs, outputs]) = (x.dims(), weight.dims());
    assert_eq!(dims[D - 1], inputs, "linear: weight {:?} for input {dims:?}", weight.dims());
    let rows = dims[..D - 1].iter().product();
    let sizes = [rows, inputs, outputs];
    let place = x.place();
    let (input, matrix) = (Input::new(x), values(&weight));
    let shift = bias.as_ref().map(values);
    assert!(shift.as_ref().is_none_or(|shift| shift.len() == outputs), "linear: one bias an output");
    let y = profile::forward("linear", || forward(&input, &matrix, shift.as_deref(), sizes));
    let mut y_dims = dims;
    y_dims[D - 1] = outputs;
    let gradients = move |gradient: Tensor<D>, [x_wanted, weight_wanted, bias_wanted]: [bool; 3]| {
        let gradient = values(&gradient);
        profile::backward("linear", || {
            [
                x_wanted.then(|| AnyRank::from(tensor(linear_input_gradient(&matrix, &gradient, sizes), dims))),
                weight_wanted.then(|| {
                    tensor(linear_weight_gradient(&input.values(), &gradient, sizes), [inputs, outputs]).into()
                }),
                bias_wanted.then(|| tensor(linear_bias_gradient(&gradient, outputs), [outputs]).into()),
            ]
        })
    };
    let y = tensor(y, y_dims);
    match bias {
        Some(bias) => node([place, weight.into(), bias.into()], y, gradients),
        None => node([place, weight.into()], y, move |gradient, [x, weight]| {
            let [dx, dweight, _] = gradients(gradient, [x, weight, false]);
            [dx, dweight]
        }),
    }
}

/// [`linear()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let (mut dims, [inputs, outputs]) = (x.dims(), weight.dims());
    let rows = dims[..D - 1].iter().product();
    dims[D - 1] = outputs;
    let y = x.reshape([rows, inputs]).matmul(weight);
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
    .reshape(dims)
}
