use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use super::estimator::of_sample;
use super::straight_through::composed_one_hot;
use super::{CategoricalError, Entry, Estimator, one_hot};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::settings::Setting;

/// Straight-through whose soft distribution is moved until the sampled category leads by a gap.
///
/// ```text
/// y = D = one-hot(sample)
/// m1 = (max(logits) - logits[sample]) D        m2 = max(0, logits + gap - max(logits)) (1 - D)
/// dlogits = G through softmax((logits + m1 - m2) / temperature), m1 and m2 held constant
/// ```
/// `logits` `[n, categories]`; `sample` `[n]`, indices as f32; `temperature` above 0; `gap` in units of the logits.
/// Source: Fan et al., "Training discrete deep generative models via gapped straight-through estimator", ICML 2022.
pub fn gapped_straight_through(logits: Tensor<2>, sample: Tensor<1>, temperature: f32, gap: f32) -> Tensor<2> {
    if !on_flex(&logits) {
        return composed(logits, sample, temperature, gap);
    }
    let (input, dims) = (values(&logits), logits.dims());
    let (y, choice) = (one_hot(&sample, dims[1]), values(&sample));
    custom_vjp(logits, y, move |gradient| {
        let mut out = vec![0.0; input.len()];
        categorical::gapped_backward(&input, &choice, &values(&gradient), dims[1], temperature, gap, &mut out);
        tensor(out, dims)
    })
}

/// [`gapped_straight_through()`] as a composition of Burn's operators, for any device.
pub fn composed(logits: Tensor<2>, sample: Tensor<1>, temperature: f32, gap: f32) -> Tensor<2> {
    let hard = composed_one_hot(&logits, sample);
    let constant = logits.clone().inner();
    let highest = constant.clone().max_dim(1);
    let chosen = (constant.clone() * hard.clone()).sum_dim(1);
    let raise = (highest.clone() - chosen) * hard.clone();
    let lower = (constant + gap - highest).clamp_min(0.0) * (-hard.clone() + 1.0);
    exactly(hard, softmax((logits + raise - lower) / temperature, 1))
}

/// Sampled categories with [`gapped_straight_through()`].
#[derive(Clone, Copy, Debug)]
pub struct GappedStraightThrough {
    /// By how much the sampled category leads, in units of the logits; 1 in the paper.
    pub gap: f32,
}

pub(super) static ENTRY: Entry = Entry {
    name: "gapped_straight_through",
    summary: "straight-through with logits moved so that the sampled category leads by a gap",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[Setting {
        key: "gap",
        default: 1.0,
        expected: "at least 0",
        valid: |value| value >= 0.0 && value.is_finite(),
    }],
    make: |settings| Box::new(GappedStraightThrough { gap: settings[0] as f32 }),
};

impl Estimator for GappedStraightThrough {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        of_sample(&ENTRY, logits, temperature, random, |logits, sample| {
            gapped_straight_through(logits, sample, temperature, self.gap)
        })
    }
}
