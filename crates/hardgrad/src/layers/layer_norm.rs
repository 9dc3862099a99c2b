use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::ops::layer_norm;

/// Layer normalisation over the last axis, with a learned factor and shift.
///
/// ```text
/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta
/// ```
/// x `[..., width]`. Source: Ba, Kiros, Hinton, 2016.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::LayerNorm;
///
/// let layer = LayerNorm::new(4, &Device::flex());
/// assert_eq!(layer.forward(Tensor::<3>::zeros([2, 3, 4], &Device::flex())).dims(), [2, 3, 4]);
/// ```
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Factor, one a column.
    pub gamma: Param<Tensor<1>>,
    /// Shift, one a column.
    pub beta: Param<Tensor<1>>,
    epsilon: f32,
}

impl LayerNorm {
    /// gamma 1, beta 0, epsilon 1e-5.
    pub fn new(width: usize, device: &Device) -> Self {
        Self {
            gamma: Param::from_tensor(Tensor::ones([width], device)),
            beta: Param::from_tensor(Tensor::zeros([width], device)),
            epsilon: 1e-5,
        }
    }

    /// The normalised rows.
    ///
    /// # Panics
    /// If the last axis of `x` is not as wide as the layer.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}
