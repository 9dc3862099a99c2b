use burn::tensor::Tensor;
use hardgrad_kernels::categorical;

use crate::custom_gradient::custom_vjp;
use crate::flex::{Values, on_flex, tensor, values};
use crate::profile;

/// Softmax over the last axis.
///
/// ```text
/// y_i = exp(x_i) / sum_j exp(x_j)        dx_i = y_i (G_i - sum_j G_j y_j)
/// ```
/// x `[..., categories]`; kept for the backward pass: y.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let y = hardgrad::ops::softmax(Tensor::<2>::zeros([1, 2], &Device::flex()));
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.5, 0.5]);
/// ```
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x);
    }
    let dims = x.dims();
    let mut y = vec![0.0; dims.iter().product()];
    profile::forward("softmax", || categorical::softmax(&values(&x), dims[D - 1], 1.0, &mut y));
    let y = tensor(y, dims);
    let soft: Values = values(&y);
    custom_vjp(x, y, move |gradient| {
        let mut out = vec![0.0; soft.len()];
        profile::backward("softmax", || {
            categorical::softmax_backward(&soft, &values(&gradient), dims[D - 1], 1.0, &mut out);
        });
        tensor(out, dims)
    })
}

/// [`softmax()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    burn::tensor::activation::softmax(x, D - 1)
}
