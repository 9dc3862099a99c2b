use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::quantized_relu;
use serde::{Deserialize, Serialize};

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// What the backward pass of [`quantized_relu()`] differentiates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReluSurrogate {
    /// Derivative 1 everywhere.
    #[default]
    Identity,
    /// Derivative 1 above 0.
    Relu,
    /// Derivative 1 above 0 and below the highest grid point.
    ClippedRelu,
}

impl ReluSurrogate {
    /// All of them, in the order of lists and reports.
    pub const ALL: &'static [Self] = &[Self::Identity, Self::Relu, Self::ClippedRelu];

    /// The name that configs and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::ClippedRelu => "clipped_relu",
        }
    }

    /// The surrogate of this name.
    ///
    /// ```
    /// use hardgrad::ops::ReluSurrogate;
    /// assert_eq!(ReluSurrogate::by_name("clipped_relu"), Some(ReluSurrogate::ClippedRelu));
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|surrogate| surrogate.name() == name)
    }

    /// The end of the open interval from 0 in which the gradient passes; none where it passes everywhere.
    fn highest(self, alpha: f32, levels: f32) -> Option<f32> {
        match self {
            Self::Identity => None,
            Self::Relu => Some(f32::INFINITY),
            Self::ClippedRelu => Some(levels * alpha),
        }
    }
}

/// Activations on a grid of 2^bits non-negative points, each value moved to the point at or above it.
///
/// ```text
/// y = 0 where x <= 0;  k alpha where (k - 1) alpha < x <= k alpha, k = 1 .. L;  L alpha above,  L = 2^bits - 1
/// dx = G (identity);  G where x > 0 (relu);  G where 0 < x < L alpha (clipped_relu)
/// ```
/// x of any shape; `alpha` in units of x, above 0.
/// Source: Yin et al., "Understanding straight-through estimator in training activation quantized neural nets", ICLR 2019.
pub fn quantized_relu<const D: usize>(x: Tensor<D>, alpha: f32, bits: u32, surrogate: ReluSurrogate) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, alpha, bits, surrogate);
    }
    let (input, dims, levels) = (values(&x), x.dims(), Bounds::unsigned(bits).highest);
    let mut y = vec![0.0; input.len()];
    quantized_relu::quantized_relu(&input, alpha, levels, &mut y);
    custom_vjp(x, tensor(y, dims), move |gradient| {
        let Some(highest) = surrogate.highest(alpha, levels) else { return gradient };
        let mut out = vec![0.0; input.len()];
        quantized_relu::quantized_relu_backward(&input, &values(&gradient), highest, &mut out);
        tensor(out, dims)
    })
}

/// [`quantized_relu()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, alpha: f32, bits: u32, surrogate: ReluSurrogate) -> Tensor<D> {
    let (constant, levels) = (x.clone().inner(), Bounds::unsigned(bits).highest);
    let code = (constant.clone() / alpha).ceil().clamp(0.0, levels);
    // The division may round across a grid point; the comparison with the point itself decides.
    let lower = constant.clone().lower_equal((code.clone() - 1.0) * alpha).float();
    let code = (code - lower).clamp_min(0.0);
    let higher = constant.clone().greater(code.clone() * alpha).float();
    let hard = (code + higher).clamp_max(levels) * alpha;
    let Some(highest) = surrogate.highest(alpha, levels) else { return exactly(hard, x) };
    let below = constant.clone().lower_scalar(highest).float();
    exactly(hard, x * (constant.greater_scalar(0.0).float() * below))
}
