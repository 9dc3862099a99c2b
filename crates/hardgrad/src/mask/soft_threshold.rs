use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::soft_threshold;

use crate::custom_gradient::custom_vjp2;
use crate::flex::{on_flex, tensor, values};

/// Moves all values towards 0 by a learned amount; what reaches 0 is pruned.
///
/// ```text
/// y = sign(x) max(0, abs(x) - t),  t = sigmoid(s)
/// dx = G where abs(x) > t, else 0        ds = - sum of G sign(x) t (1 - t) where abs(x) > t
/// ```
/// x of any shape; `s` `[1]`. Source: Kusupati et al., "Soft threshold weight reparameterization", ICML 2020.
pub fn soft_threshold<const D: usize>(x: Tensor<D>, s: Tensor<1>) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, s);
    }
    let (input, amount, dims) = (values(&x), values(&s)[0], x.dims());
    let mut y = vec![0.0; input.len()];
    soft_threshold::soft_threshold(&input, amount, &mut y);
    custom_vjp2(x, s, tensor(y, dims), move |gradient, _| {
        let mut dx = vec![0.0; input.len()];
        let ds = soft_threshold::soft_threshold_backward(&input, &values(&gradient), amount, &mut dx);
        (Some(tensor(dx, dims)), Some(tensor(vec![ds], [1])))
    })
}

/// [`soft_threshold()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, s: Tensor<1>) -> Tensor<D> {
    let constant = x.clone().inner();
    let sign = constant.clone().greater_scalar(0.0).float() - constant.clone().lower_scalar(0.0).float();
    let threshold = sigmoid(s).reshape([1; D]);
    let over = (constant.abs() - threshold.clone().inner()).greater_scalar(0.0).float();
    (x - sign * threshold) * over
}

/// Settings of a [`SoftThreshold`].
#[derive(Clone, Copy, Debug)]
pub struct SoftThresholdConfig {
    /// s at the start; the threshold is sigmoid(s).
    pub s: f32,
}

impl SoftThresholdConfig {
    /// s = -10: a threshold of 4.5e-5, so that training begins with a dense network.
    pub fn new() -> Self {
        Self { s: -10.0 }
    }

    /// The layer.
    pub fn init(&self, device: &Device) -> SoftThreshold {
        SoftThreshold { s: Param::from_tensor(Tensor::from_floats([self.s], device)) }
    }
}

impl Default for SoftThresholdConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// [`soft_threshold()`] with its amount as a parameter; weight decay on it raises the sparsity. Any s gives an amount between 0 and 1.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::mask::SoftThresholdConfig;
///
/// let layer = SoftThresholdConfig { s: 0.0 }.init(&Device::flex());
/// let y = layer.forward(Tensor::<1>::from_floats([0.25, -0.75], &Device::flex()));
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0, -0.25]);
/// ```
#[derive(Module, Debug)]
pub struct SoftThreshold {
    /// s `[1]`.
    pub s: Param<Tensor<1>>,
}

impl SoftThreshold {
    /// The values nearer to 0, in the shape of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        soft_threshold(x, self.s.val())
    }
}
