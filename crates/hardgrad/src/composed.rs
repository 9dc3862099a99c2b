//! The operators as compositions of Burn's own: the route on devices without fused kernels, and the oracle of the tests.
//!
//! Values are those of the fused kernels to the bit where rounding allows; gradients agree to rounding. Where an operator
//! chooses places (the largest scores, the nearest codes), its composition takes them as an argument.

pub use crate::categorical::gapped_straight_through::composed as gapped_straight_through;
pub use crate::categorical::gumbel_rao::composed as gumbel_rao;
pub use crate::categorical::gumbel_softmax::composed as gumbel_softmax;
pub use crate::categorical::reinmax::composed as reinmax;
pub use crate::categorical::straight_through::composed as straight_through_categorical;
pub use crate::codebook::fsq::composed as fsq;
pub use crate::codebook::lfq::composed as lfq;
pub use crate::codebook::vector_quantize::composed as vector_quantize;
pub use crate::graph::bernoulli_edges::composed as bernoulli_edges;
pub use crate::mask::hard_concrete::composed as hard_concrete;
pub use crate::mask::score::composed as score_mask;
pub use crate::mask::soft_threshold::composed as soft_threshold;
pub use crate::mask::threshold::composed as threshold_mask;
pub use crate::ops::attention::composed as attention;
pub use crate::ops::batch_norm::composed as batch_norm;
pub use crate::ops::conv2d::composed as conv2d;
pub use crate::ops::dorefa::{activation_composed as dorefa_activation, weight_composed as dorefa_weight};
pub use crate::ops::fake_quant::composed as fake_quant;
pub use crate::ops::gelu::composed as gelu;
pub use crate::ops::global_mean::{composed as global_mean, token_mean_composed as token_mean};
pub use crate::ops::inner_product::composed as inner_product;
pub use crate::ops::layer_norm::composed as layer_norm;
pub use crate::ops::linear::composed as linear;
pub use crate::ops::lsq::composed as lsq;
pub use crate::ops::magnitude_aware_sign::composed as magnitude_aware_sign;
pub use crate::ops::pact::composed as pact;
pub use crate::ops::patches::composed as patches;
pub use crate::ops::pool2d::{avg_pool2d_composed as avg_pool2d, max_pool2d_composed as max_pool2d};
pub use crate::ops::quantized_relu::composed as quantized_relu;
pub use crate::ops::relu::composed as relu;
pub use crate::ops::round::composed as round;
pub use crate::ops::sign::composed as sign;
pub use crate::ops::softmax::composed as softmax;
pub use crate::ops::ternary::{absmean_composed as ternary_absmean, twn_composed as ternary_twn};
pub use crate::select::token_select::composed as token_select;
pub use crate::select::top_k::composed as top_k_mask;

/// Runs `run` with every operator composed of Burn's own, on this thread, whatever the device.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::{composed, ops};
///
/// let x = Tensor::<1>::from_floats([0.4, 1.6], &Device::flex());
/// let y = composed::only(|| ops::round(x));
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0, 2.0]);
/// ```
pub fn only<R>(run: impl FnOnce() -> R) -> R {
    crate::flex::composed(run)
}
