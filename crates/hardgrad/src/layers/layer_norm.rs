use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::{Stored, ops as nodes};

use crate::flex::values;
use crate::ops::layer_norm;
use crate::packing::{Edge, PackError, Packer};

/// Settings of a [`LayerNorm`].
#[derive(Clone, Copy, Debug)]
pub struct LayerNormConfig {
    /// Size of the last axis of the input.
    pub width: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNormConfig {
    /// epsilon 1e-5.
    pub fn new(width: usize) -> Self {
        Self { width, epsilon: 1e-5 }
    }

    /// What is added to the variance.
    pub fn with_epsilon(self, epsilon: f32) -> Self {
        Self { epsilon, ..self }
    }

    /// gamma 1, beta 0.
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Param::from_tensor(Tensor::ones([self.width], device)),
            beta: Param::from_tensor(Tensor::zeros([self.width], device)),
            epsilon: self.epsilon,
        }
    }
}

/// Layer normalisation over the last axis, with a learned factor and shift.
///
/// ```text
/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta
/// ```
/// x `[..., width]`. Source: Ba, Kiros, Hinton, 2016.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::LayerNormConfig;
///
/// let layer = LayerNormConfig::new(4).init(&Device::flex());
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
    /// The normalised rows.
    ///
    /// # Panics
    /// If the last axis of `x` is not as wide as the layer.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }

    /// Adds this layer to a packed model as the node `name` behind `x`; never fails.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let stored = |parameter: &Param<Tensor<1>>| Stored::Float(values(&parameter.val()).to_vec());
        let tensors = vec![("gamma", stored(&self.gamma)), ("beta", stored(&self.beta))];
        Ok(packer.node(name, nodes::LayerNorm { epsilon: self.epsilon }, &[x], tensors))
    }
}
