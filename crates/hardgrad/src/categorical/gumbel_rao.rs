use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use super::estimator::of_sample;
use super::sampling::uniform;
use super::straight_through::composed_one_hot;
use super::{CategoricalError, Entry, Estimator, one_hot};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};
use crate::settings::Setting;

/// Hard Gumbel-softmax whose gradient is averaged over Gumbel noise that leads to the same choice.
///
/// ```text
/// y = D = one-hot(sample)        E = -ln u        l = log_softmax(logits)
/// a_D = -ln E_D        a_i = -ln(E_i / exp(l_i) + E_D)        (noisy logits, given that D is the largest)
/// dlogits = mean over the noise of G through softmax(a / temperature), a - logits held constant
/// ```
/// `logits` `[n, categories]`; `sample` `[n]`, indices as f32; `uniform` `[samples, n, categories]`, strictly between 0 and 1;
/// `temperature` above 0. Source: Paulus, Maddison, Krause, "Rao-Blackwellizing the straight-through Gumbel-softmax
/// gradient estimator", ICLR 2021.
pub fn gumbel_rao(logits: Tensor<2>, sample: Tensor<1>, uniform: Tensor<3>, temperature: f32) -> Tensor<2> {
    if !on_flex(&logits) {
        return composed(logits, sample, uniform, temperature);
    }
    let (input, dims) = (values(&logits), logits.dims());
    let (y, choice, noise) = (one_hot(&sample, dims[1]), values(&sample), values(&uniform));
    custom_vjp(logits, y, move |gradient| {
        let mut out = vec![0.0; input.len()];
        categorical::gumbel_rao_backward(&input, &choice, &noise, &values(&gradient), dims[1], temperature, &mut out);
        tensor(out, dims)
    })
}

/// [`gumbel_rao()`] as a composition of Burn's operators, for any device.
pub fn composed(logits: Tensor<2>, sample: Tensor<1>, uniform: Tensor<3>, temperature: f32) -> Tensor<2> {
    let hard = composed_one_hot(&logits, sample);
    let [count, rows, categories] = uniform.dims();
    let constant = logits.clone().inner();
    let log_probabilities = log_softmax(constant.clone(), 1);
    let mut soft = logits.zeros_like();
    for k in 0..count {
        let exponential = -uniform.clone().inner().slice([k..k + 1, 0..rows]).reshape([rows, categories]).log();
        let chosen = (exponential.clone() * hard.clone()).sum_dim(1);
        // ln(E_i / exp(l_i) + E_D) by the larger of the two, so that nothing overflows.
        let ratio = exponential.log() - log_probabilities.clone();
        let floor = chosen.clone().log().expand([rows, categories]);
        let larger = ratio.clone().max_pair(floor.clone());
        let sum = (ratio - larger.clone()).exp() + (floor.clone() - larger.clone()).exp();
        let others = -(sum.log() + larger);
        let noisy = hard.clone() * -floor + (-hard.clone() + 1.0) * others;
        soft = soft + softmax((logits.clone() + (noisy - constant.clone())) / temperature, 1);
    }
    exactly(hard, soft / count as f32)
}

/// Sampled categories with [`gumbel_rao()`].
#[derive(Clone, Copy, Debug)]
pub struct GumbelRao {
    /// How many noises the gradient is averaged over; at least 1.
    pub samples: usize,
}

pub(super) static ENTRY: Entry = Entry {
    name: "gumbel_rao",
    summary: "hard Gumbel-softmax with its gradient averaged over noise that leads to the same choice",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[Setting {
        key: "samples",
        default: 10.0,
        expected: "a whole number from 1 to 10000",
        valid: |value| (1.0..=1e4).contains(&value) && value.fract() == 0.0,
    }],
    make: |settings| Box::new(GumbelRao { samples: settings[0] as usize }),
};

impl Estimator for GumbelRao {
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
            let [rows, categories] = logits.dims();
            let noise = uniform([self.samples, rows, categories], &random.part(1));
            gumbel_rao(logits, sample, noise, temperature)
        })
    }
}
