use burn::tensor::Tensor;
use hardgrad_kernels::magnitude_sign;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Signs with a magnitude of its own for each index along an axis: that of the outputs, 0 for the weight of a convolution, 1 for
/// that of a linear layer.
///
/// ```text
/// y = m_c sign(x),  m_c = mean abs(x) over all axes but `axis`,  sign(0) = +1
/// dx = G m_c where abs(x) <= 1, else 0            (m_c held constant)
/// ```
/// x of any shape. Sources: Rastegari et al., "XNOR-Net", ECCV 2016; Liu et al., "Bi-Real Net", ECCV 2018.
pub fn magnitude_aware_sign<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
    if axis > 0 {
        return magnitude_aware_sign(x.swap_dims(0, axis), 0).swap_dims(0, axis);
    }
    if !on_flex(&x) {
        return composed(x, 0);
    }
    let (input, dims) = (values(&x), x.dims());
    let row = dims[1..].iter().product();
    let magnitudes = magnitude_sign::magnitudes(&input, row);
    let mut y = vec![0.0; input.len()];
    magnitude_sign::magnitude_sign(&input, &magnitudes, row, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let mut out = vec![0.0; input.len()];
        magnitude_sign::magnitude_sign_backward(&input, &values(&gradient), &magnitudes, row, &mut out);
        tensor(out, dims)
    })
}

/// [`magnitude_aware_sign()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
    let constant = x.clone().inner();
    let mut shape = [1; D];
    shape[axis] = constant.dims()[axis];
    let rows = constant.clone().abs().swap_dims(0, axis).reshape([shape[axis] as i32, -1]);
    let magnitudes = rows.mean_dim(1).reshape(shape);
    let signs = constant.clone().greater_equal_scalar(0.0).float() * 2.0 - 1.0;
    let inside = constant.abs().lower_equal_scalar(1.0).float();
    exactly(signs * magnitudes.clone(), x * (inside * magnitudes))
}
