use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::{Stored, ops as nodes};

use super::init;
use crate::flex::values;
use crate::packing::{Edge, PackError, Packer};
use crate::random::Random;

/// Settings of a [`PositionEmbedding`].
#[derive(Clone, Copy, Debug)]
pub struct PositionEmbeddingConfig {
    /// Number of tokens.
    pub tokens: usize,
    /// Values of a token.
    pub width: usize,
}

impl PositionEmbeddingConfig {
    /// For so many tokens of so many values.
    pub fn new(tokens: usize, width: usize) -> Self {
        Self { tokens, width }
    }

    /// Positions drawn uniformly within 1/sqrt(width).
    pub fn init(&self, random: &Random, device: &Device) -> PositionEmbedding {
        PositionEmbedding { embedding: init::uniform([self.tokens, self.width], self.width, random, device) }
    }
}

/// Learned vectors that tell tokens where they are.
///
/// ```text
/// y[i] = x[i] + embedding[i]
/// ```
/// x `[batch, tokens, width]`. Source: Dosovitskiy et al., ICLR 2021.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::PositionEmbeddingConfig;
/// use hardgrad::random::Random;
///
/// let layer = PositionEmbeddingConfig::new(3, 4).init(&Random::new(0, 0, 0), &Device::flex());
/// assert_eq!(layer.forward(Tensor::zeros([2, 3, 4], &Device::flex())).dims(), [2, 3, 4]);
/// ```
#[derive(Module, Debug)]
pub struct PositionEmbedding {
    /// One vector a token, `[tokens, width]`.
    pub embedding: Param<Tensor<2>>,
}

impl PositionEmbedding {
    /// The tokens of each item plus the vectors of their places.
    ///
    /// # Panics
    /// If `x` has not as many tokens, or not as wide ones.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x + self.embedding.val().unsqueeze::<3>()
    }

    /// Adds this layer to a packed model as the node `name` behind `x`; never fails.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let embedding = Stored::Float(values(&self.embedding.val()).to_vec());
        Ok(packer.node(name, nodes::PositionEmbedding {}, &[x], vec![("embedding", embedding)]))
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;

    use super::*;
    use crate::parameters;

    #[test]
    fn every_item_gets_the_same_vectors() {
        let layer = PositionEmbeddingConfig::new(2, 2).init(&Random::new(0, 0, 0), &Device::flex().autodiff());
        let y = layer.forward(Tensor::<3>::ones([3, 2, 2], &Device::flex()));
        let found: Vec<f32> = y.clone().inner().into_data().try_into_vec().unwrap();
        let embedding = values(&layer.embedding.val()).to_vec();
        let expected: Vec<f32> = embedding.iter().map(|value| 1.0 + value).collect();
        assert!(found.chunks(4).all(|item| item == expected));
        let mut gradients = GradientsParams::from_grads(y.sum().backward(), &layer);
        let gradients = parameters::gradients(&layer, &mut gradients);
        assert_eq!(gradients, [("embedding".to_string(), vec![3.0; 4])]);
    }
}
