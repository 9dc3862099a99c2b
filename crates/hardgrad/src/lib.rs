//! Networks with hard parts: operators whose forward pass is exactly the hard function that ships, and whose backward pass
//! is an estimator with a name.
//!
//! - [`custom_gradient`]: any forward with any backward.
//! - [`ops`]: operators on tensors, forward and backward fused into one node of the gradient tape.
//! - [`quantize`]: weights and activations at 1 to 8 bits, by the method that a config names.
//! - [`categorical`]: random choices among categories, with every estimator of their gradient.
//! - [`select`]: the largest scores, the tokens that stay.
//! - [`codebook`]: vectors replaced by codes.
//! - [`mask`]: learned masks.
//! - [`graph`]: learned edges.
//! - [`zeroth_order`]: gradients from values of the loss alone, guided.
//! - [`theory`]: a network whose gradients and coarse gradients are known exactly.
//! - [`surrogate`]: what the backward pass differentiates instead of a hard function.
//! - [`settings`]: numbers behind a method's name.
//! - [`composed`]: the same operators as compositions of Burn's own, for devices without fused kernels.
//! - [`diagnose`]: codes of quantised weights, clipped values, entropy.
//! - [`layers`]: layers whose evaluation is bit for bit that of the packed model.
//! - [`network`]: a network made from its description, quantised by rules, trained, packed.
//! - [`packing`]: layers put together to a packed model; [`runtime`] runs it.
//! - [`coded`]: activations on a grid, held as one byte each.
//! - [`profile`]: where the time of a training step goes.
//! - [`optim`]: SGD, Adam and AdamW in place, gradient clipping.
//! - [`parameters`]: names, roles, values and gradients of a module's parameters, in a fixed order.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::custom_gradient::straight_through;
//!
//! let device = Device::flex().autodiff();
//! let x = Tensor::<1>::from_floats([0.2, 0.7], &device).require_grad();
//! let y = straight_through(x.clone().round(), x.clone());
//! let gradients = (y * 3.0).sum().backward();
//! assert_eq!(x.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap(), [3.0, 3.0]);
//! ```

pub mod categorical;
pub mod codebook;
pub mod coded;
pub mod composed;
pub mod custom_gradient;
pub mod diagnose;
mod flex;
pub mod graph;
pub mod layers;
pub mod mask;
pub mod network;
pub mod ops;
pub mod optim;
pub mod packing;
pub mod parameters;
pub mod profile;
pub mod quantize;
pub mod random;
pub mod select;
pub mod settings;
pub mod surrogate;
pub mod theory;
pub mod zeroth_order;

pub use hardgrad_runtime as runtime;
pub use surrogate::Surrogate;
