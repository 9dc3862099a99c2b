//! Operators on tensors: a hard forward pass and a named backward pass, fused into one node of the gradient tape.
//!
//! One file an operator, each with its formulas. The loops are those of `hardgrad-kernels`; what a backward pass needs is
//! kept as a reference to the input, not as a copy. All operators take f32 tensors of any layout on the Flex device.

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod conv2d;
pub(crate) mod dorefa;
pub(crate) mod fake_quant;
pub(crate) mod gelu;
pub(crate) mod global_mean;
pub(crate) mod inner_product;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod lsq;
pub(crate) mod magnitude_aware_sign;
pub(crate) mod pact;
pub(crate) mod patches;
pub(crate) mod pool2d;
pub(crate) mod quantized_relu;
pub(crate) mod relu;
pub(crate) mod round;
pub(crate) mod sign;
pub(crate) mod softmax;
pub(crate) mod ternary;

pub use attention::attention;
pub use batch_norm::{BatchStatistics, batch_norm, batch_norm_folded, batch_norm_relu, batch_norm_relu_folded};
pub use conv2d::{Conv2dOptions, conv2d, quantized_conv2d};
pub use dorefa::{dorefa_activation, dorefa_weight};
pub use fake_quant::{Rule, fake_quant};
pub use gelu::gelu;
pub use global_mean::{global_mean, token_mean};
pub use hardgrad_kernels::bounds::Bounds;
pub use inner_product::inner_product;
pub use layer_norm::layer_norm;
pub use linear::{linear, quantized_linear};
pub use lsq::{lsq, lsq_coded};
pub use magnitude_aware_sign::magnitude_aware_sign;
pub use pact::pact;
pub(crate) use pact::pact_scale;
pub use patches::patches;
pub use pool2d::{avg_pool2d, max_pool2d};
pub use quantized_relu::{ReluSurrogate, quantized_relu};
pub use relu::{LearnedStep, relu};
pub use round::round;
pub use sign::sign;
pub use softmax::softmax;
pub use ternary::{ternary_absmean, ternary_twn};

use std::borrow::Cow;

use burn::tensor::Tensor;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::coded::decode;

use crate::coded::{Activation, CodedTensor};
use crate::flex::{Values, values};

/// How the values of a tensor share `scales` scales: one for all, or one for each index along `axis`.
///
/// # Panics
/// If there is more than one scale and `axis` does not have that many indices.
fn channels(dims: &[usize], scales: usize, axis: Option<usize>) -> Channels {
    match axis {
        Some(axis) if scales > 1 || dims[axis] == 1 => {
            assert_eq!(scales, dims[axis], "{scales} scales for axis {axis} of a tensor of shape {dims:?}");
            Channels::along(dims, axis)
        }
        _ => {
            assert_eq!(scales, 1, "several scales need an axis");
            Channels::one(dims.iter().product())
        }
    }
}

/// One value for each index along `axis`, in a shape that broadcasts over a tensor of rank `D`.
fn along<const D: usize>(values: Tensor<1>, axis: Option<usize>) -> Tensor<D> {
    let mut shape = [1; D];
    if let Some(axis) = axis {
        shape[axis] = values.dims()[0];
    }
    values.reshape(shape)
}

/// The input of an operator as its backward pass keeps it.
enum Input<const D: usize> {
    /// The memory of a float tensor.
    Float(Values),
    /// Codes.
    Coded(CodedTensor<D>),
}

impl<const D: usize> Input<D> {
    fn new(x: Activation<D>) -> Self {
        match x {
            Activation::Float(tensor) => Self::Float(values(&tensor)),
            Activation::Coded(coded) => Self::Coded(coded.without_place()),
        }
    }

    /// The values as floats; codes are decoded.
    fn values(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Float(values) => Cow::Borrowed(values),
            Self::Coded(coded) => Cow::Owned(decode(coded.coded())),
        }
    }
}
