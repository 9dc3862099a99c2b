use burn::tensor::Tensor;
use hardgrad_kernels::gelu;

use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// The Gaussian error linear unit, in its exact form.
///
/// ```text
/// y = x Phi(x)        dx = G (Phi(x) + x phi(x))        Phi, phi: distribution and density of the standard normal
/// ```
/// x of any shape. Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let y = hardgrad::ops::gelu(Tensor::<1>::from_floats([0.0, 10.0], &Device::flex()));
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0, 10.0]);
/// ```
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x);
    }
    let (input, dims) = (values(&x), x.dims());
    let y = profile::forward("gelu", || gelu::forward(&input));
    custom_vjp(x, tensor(y, dims), move |gradient| {
        tensor(profile::backward("gelu", || gelu::backward(&input, &values(&gradient))), dims)
    })
}

/// [`gelu()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    burn::tensor::activation::gelu(x)
}
