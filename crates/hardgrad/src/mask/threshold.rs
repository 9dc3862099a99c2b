use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::threshold_mask;

use crate::Surrogate;
use crate::custom_gradient::{custom_vjp2, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::quantize::{NotPositive, Positive};
use crate::surrogate::derivative;

/// Keeps the values whose magnitude reaches a learned threshold.
///
/// ```text
/// m = 1 where abs(x) >= threshold, else 0        y = x m
/// dx = G m        dthreshold = - sum of G x surrogate'(abs(x) - threshold)
/// ```
/// x of any shape; `threshold` `[1]`, in units of x. Source: Mallya et al., "Piggyback", ECCV 2018.
pub fn threshold_mask<const D: usize>(x: Tensor<D>, threshold: Tensor<1>, surrogate: Surrogate) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, threshold, surrogate);
    }
    let (input, bound, dims) = (values(&x), values(&threshold)[0], x.dims());
    let mut y = vec![0.0; input.len()];
    threshold_mask::threshold_mask(&input, bound, &mut y);
    custom_vjp2(x, threshold, tensor(y, dims), move |gradient, _| {
        let mut dx = vec![0.0; input.len()];
        let gradient = values(&gradient);
        let dthreshold = threshold_mask::threshold_mask_backward(&input, &gradient, bound, surrogate, &mut dx);
        (Some(tensor(dx, dims)), Some(tensor(vec![dthreshold], [1])))
    })
}

/// [`threshold_mask()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, threshold: Tensor<1>, surrogate: Surrogate) -> Tensor<D> {
    let threshold = threshold.reshape([1; D]);
    let constant = x.clone().inner();
    let distance = constant.clone().abs() - threshold.clone().inner();
    let mask = constant.clone().abs().greater_equal(threshold.clone().inner().expand(constant.dims())).float();
    let slope = constant.clone() * derivative(distance, surrogate);
    exactly(constant * mask.clone(), x * mask - threshold * slope)
}

/// Settings of a [`ThresholdMask`].
#[derive(Clone, Copy, Debug)]
pub struct ThresholdMaskConfig {
    /// Threshold at the start, in units of the masked values; above 0 (a tiny one keeps nearly all values).
    pub threshold: f32,
    /// What the backward pass differentiates instead of the step.
    pub surrogate: Surrogate,
}

impl ThresholdMaskConfig {
    /// Threshold 0.005 as in the paper, identity surrogate.
    pub fn new() -> Self {
        Self { threshold: 5e-3, surrogate: Surrogate::Identity }
    }

    /// The layer; fails if the threshold is not above 0.
    pub fn init(&self, device: &Device) -> Result<ThresholdMask, NotPositive> {
        Ok(ThresholdMask { threshold: Positive::new(&[self.threshold], device)?, surrogate: self.surrogate })
    }
}

impl Default for ThresholdMaskConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// [`threshold_mask()`] with a learned threshold.
///
/// What is learned is the logarithm of the threshold ([`Positive`]), so that it stays above 0, where it is a threshold.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::mask::ThresholdMaskConfig;
///
/// let config = ThresholdMaskConfig { threshold: 0.5, ..ThresholdMaskConfig::new() };
/// let layer = config.init(&Device::flex()).unwrap();
/// let y = layer.forward(Tensor::<1>::from_floats([0.4, -0.6], &Device::flex()));
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0, -0.6]);
/// ```
#[derive(Module, Debug)]
pub struct ThresholdMask {
    /// Threshold `[1]`.
    pub threshold: Positive,
    #[module(skip)]
    surrogate: Surrogate,
}

impl ThresholdMask {
    /// The masked values, in the shape of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        threshold_mask(x, self.threshold.val(), self.surrogate)
    }
}
