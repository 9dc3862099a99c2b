use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_runtime::{Stored, ops as nodes};

use super::init;
use crate::flex::values;
use crate::packing::{Edge, PackError, Packer};
use crate::random::Random;

/// Settings of a [`ClassToken`].
#[derive(Clone, Copy, Debug)]
pub struct ClassTokenConfig {
    /// Values of a token.
    pub width: usize,
}

impl ClassTokenConfig {
    /// For tokens of so many values.
    pub fn new(width: usize) -> Self {
        Self { width }
    }

    /// A token drawn uniformly within 1/sqrt(width).
    pub fn init(&self, random: &Random, device: &Device) -> ClassToken {
        ClassToken { token: init::uniform([self.width], self.width, random, device) }
    }
}

/// A learned token before the others, in which a transformer may gather what it needs for the class.
///
/// ```text
/// y[0] = token        y[i + 1] = x[i]
/// ```
/// x `[batch, tokens, width]` to `[batch, tokens + 1, width]`. Source: Dosovitskiy et al., ICLR 2021.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::ClassTokenConfig;
/// use hardgrad::random::Random;
///
/// let layer = ClassTokenConfig::new(4).init(&Random::new(0, 0, 0), &Device::flex());
/// assert_eq!(layer.forward(Tensor::zeros([2, 3, 4], &Device::flex())).dims(), [2, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct ClassToken {
    /// The token `[width]`.
    pub token: Param<Tensor<1>>,
}

impl ClassToken {
    /// The tokens of each item with the learned one before them.
    ///
    /// # Panics
    /// If the tokens are not as wide as the learned one.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, _, width] = x.dims();
        let token: Tensor<3> = self.token.val().reshape([1, 1, width]);
        let token: Tensor<3> = token.expand([batch, 1, width]);
        // All parts are on the tape, or none.
        let (token, x) = match (token.is_autodiff(), x.is_autodiff()) {
            (true, false) => (token, Tensor::from_inner(x)),
            (false, true) => (Tensor::from_inner(token), x),
            (true, true) | (false, false) => (token, x),
        };
        Tensor::cat(vec![token, x], 1)
    }

    /// Adds this layer to a packed model as the node `name` behind `x`; never fails.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let token = Stored::Float(values(&self.token.val()).to_vec());
        Ok(packer.node(name, nodes::ClassToken {}, &[x], vec![("token", token)]))
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;

    use super::*;
    use crate::parameters;

    #[test]
    fn the_token_stands_first_and_learns_from_every_item() {
        let layer = ClassTokenConfig::new(2).init(&Random::new(0, 0, 0), &Device::flex().autodiff());
        let x = Tensor::<3>::from_floats([[[1.0, 2.0]], [[3.0, 4.0]]], &Device::flex());
        let y = layer.forward(x);
        let token = values(&layer.token.val()).to_vec();
        let expected = [token[0], token[1], 1.0, 2.0, token[0], token[1], 3.0, 4.0];
        assert_eq!(y.clone().inner().into_data().try_into_vec::<f32>().unwrap(), expected);
        let mut gradients = GradientsParams::from_grads(y.sum().backward(), &layer);
        let gradients = parameters::gradients(&layer, &mut gradients);
        assert_eq!(gradients, [("token".to_string(), vec![2.0, 2.0])]);
    }
}
