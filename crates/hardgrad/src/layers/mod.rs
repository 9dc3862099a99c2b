//! Layers whose evaluation is bit for bit that of the packed model.
//!
//! [`QuantConv2d`] and [`QuantLinear`] own their weight and the quantiser of their input; without quantisers they are plain
//! float layers. Where both operands are quantised the sum of products is exact and scaled once ([`crate::ops`]), in
//! training, in evaluation and in the packed model. Between layers activations may flow as codes
//! ([`Activation`](crate::coded::Activation)), one byte each.
//!
//! [`QuantRelu`] and [`LayerNorm`] train (a [`QuantRelu`] fused with the batch norm and the shortcut before it) but have no packed form yet:
//! for that, give the convolution or linear layer its own input quantiser. All layers need the Flex device. `pack` turns a layer into its packed form.

mod batch_norm;
mod conv2d;
mod layer_norm;
mod linear;
mod operands;
mod packing;
mod relu;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use conv2d::{QuantConv2d, QuantConv2dConfig};
pub use layer_norm::LayerNorm;
pub use linear::{QuantLinear, QuantLinearConfig};
pub use packing::PackError;
pub use relu::QuantRelu;
