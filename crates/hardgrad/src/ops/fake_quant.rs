use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::fake_quant;
use serde::{Deserialize, Serialize};

use super::{along, channels};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// What the backward pass of [`fake_quant()`] does with values outside the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// No gradient outside the grid.
    #[default]
    Clipped,
    /// The gradient passes everywhere.
    Identity,
}

impl Rule {
    /// All of them, in the order of lists and reports.
    pub const ALL: &'static [Self] = &[Self::Clipped, Self::Identity];

    /// The name that configs and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clipped => "clipped",
            Self::Identity => "identity",
        }
    }

    /// The rule of this name.
    ///
    /// ```
    /// use hardgrad::ops::Rule;
    /// assert_eq!(Rule::by_name("identity"), Some(Rule::Identity));
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }
}

/// Moves each value to the nearest point of a uniform grid.
///
/// ```text
/// v = round(x / scale)        y = clamp(v, lowest, highest) scale
/// dx = G where lowest <= v <= highest, else 0     (clipped)        dx = G     (identity)
/// ```
/// x of any shape; `scale` (in units of x, above 0) and `bounds` (whole numbers, in steps) hold one value, or one for each
/// index along `axis`. A zero point z shifts the bounds: lowest = qmin - z, highest = qmax - z.
/// Source: Jacob et al., CVPR 2018.
///
/// # Panics
/// If the number of scales does not fit the axis.
pub fn fake_quant<const D: usize>(
    x: Tensor<D>,
    scale: &[f32],
    bounds: &[Bounds],
    axis: Option<usize>,
    rule: Rule,
) -> Tensor<D> {
    if !on_flex(&x) {
        return composed(x, scale, bounds, axis, rule);
    }
    let (input, dims) = (values(&x), x.dims());
    let channels = channels(&dims, scale.len(), axis);
    let y = profile::forward("fake_quant", || fake_quant::fake_quant(&input, scale, bounds, channels));
    let (scale, bounds) = (scale.to_vec(), bounds.to_vec());
    custom_vjp(x, tensor(y, dims), move |gradient| match rule {
        Rule::Identity => gradient,
        Rule::Clipped => {
            let dx = profile::backward("fake_quant", || {
                fake_quant::fake_quant_backward(&input, &values(&gradient), &scale, &bounds, channels)
            });
            tensor(dx, dims)
        }
    })
}

/// [`fake_quant()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(
    x: Tensor<D>,
    scale: &[f32],
    bounds: &[Bounds],
    axis: Option<usize>,
    rule: Rule,
) -> Tensor<D> {
    let constant = x.clone().inner();
    let spread = |values: Vec<f32>| along::<D>(Tensor::from_floats(values.as_slice(), &constant.device()), axis);
    let scale = spread(scale.to_vec());
    let lowest = spread(bounds.iter().map(|bounds| bounds.lowest).collect());
    let highest = spread(bounds.iter().map(|bounds| bounds.highest).collect());
    let codes = (constant / scale.clone()).round();
    let clamped = codes.clone().max_pair(lowest).min_pair(highest);
    let inside = codes.equal(clamped.clone()).float();
    let hard = clamped * scale;
    match rule {
        Rule::Identity => exactly(hard, x),
        Rule::Clipped => exactly(hard, x * inside),
    }
}
