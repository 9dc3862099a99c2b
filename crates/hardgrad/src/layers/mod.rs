//! Layers whose evaluation is bit for bit that of the packed model.
//!
//! [`QuantConv2d`] and [`QuantLinear`] own their weight and, where they are given one, the quantiser of their input;
//! without quantisers they are plain float layers. Where both operands are quantised the sum of products is exact and
//! scaled once ([`crate::ops`]), in training, in evaluation and in the packed model. Between layers activations may
//! flow as codes ([`Activation`](crate::coded::Activation)), one byte each: [`QuantRelu`] gives codes that all its
//! readers share, fused with the batch norm and the shortcut before it.
//!
//! Each layer has a config with the sizes, whose `init` draws the weights from counters
//! ([`Random`](crate::random::Random)): a layer's first values depend on nothing but the numbers that `init` is given.
//! `pack` adds the layer to a packed model ([`packing`](crate::packing)). All layers need the Flex device.

mod batch_norm;
mod class_token;
mod conv2d;
mod init;
mod layer_norm;
mod linear;
mod operands;
mod position_embedding;
mod relu;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use class_token::{ClassToken, ClassTokenConfig};
pub use conv2d::{QuantConv2d, QuantConv2dConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{QuantLinear, QuantLinearConfig};
pub use position_embedding::{PositionEmbedding, PositionEmbeddingConfig};
pub use relu::QuantRelu;
pub(crate) use relu::fused_relu;
