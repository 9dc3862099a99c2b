use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use super::estimator::{check, flatten};
use super::sampling::uniform;
use super::straight_through::composed_one_hot;
use super::{CategoricalError, Entry, Estimator};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// Relaxed choices (the Gumbel-softmax or concrete distribution), or the hard choices that belong to them.
///
/// ```text
/// g = -ln(-ln u)        s = softmax((logits + g) / temperature)
/// y = s, or hard: one-hot(argmax(logits + g)), ties to the lowest index        dlogits = G through s: s (G - s.G) / temperature
/// ```
/// `logits` and `uniform` (strictly between 0 and 1) `[n, categories]`; `temperature` above 0.
/// Sources: Jang, Gu, Poole, ICLR 2017; Maddison, Mnih, Teh, ICLR 2017.
///
/// # Panics
/// If the shapes differ.
pub fn gumbel_softmax(logits: Tensor<2>, uniform: Tensor<2>, temperature: f32, hard: bool) -> Tensor<2> {
    if !on_flex(&logits) {
        return composed(logits, uniform, temperature, hard);
    }
    let dims = logits.dims();
    let mut soft = vec![0.0; dims[0] * dims[1]];
    let mut one_hot = vec![0.0; if hard { soft.len() } else { 0 }];
    let choice = hard.then_some(one_hot.as_mut_slice());
    categorical::gumbel_softmax(&values(&logits), &values(&uniform), dims[1], temperature, &mut soft, choice);
    let soft = tensor(soft, dims);
    let state = values(&soft);
    let y = if hard { tensor(one_hot, dims) } else { soft };
    custom_vjp(logits, y, move |gradient| {
        let mut out = vec![0.0; state.len()];
        categorical::softmax_backward(&state, &values(&gradient), dims[1], temperature, &mut out);
        tensor(out, dims)
    })
}

/// [`gumbel_softmax()`] as a composition of Burn's operators, for any device.
pub fn composed(logits: Tensor<2>, uniform: Tensor<2>, temperature: f32, hard: bool) -> Tensor<2> {
    let noise = -(-uniform.inner().log()).log();
    let noisy = logits + noise;
    let soft = softmax(noisy.clone() / temperature, 1);
    if !hard {
        return soft;
    }
    let rows = soft.dims()[0];
    let choice = noisy.inner().argmax(1).reshape([rows]).float();
    exactly(composed_one_hot(&soft, choice), soft)
}

/// Choices by [`gumbel_softmax()`].
#[derive(Clone, Copy, Debug)]
pub struct GumbelSoftmax {
    /// One-hot choices instead of relaxed ones.
    pub hard: bool,
}

pub(super) static SOFT: Entry = Entry {
    name: "gumbel_softmax",
    summary: "relaxed choices, softmax of logits with Gumbel noise",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: true,
    learns: false,
    settings: &[],
    make: |_| Box::new(GumbelSoftmax { hard: false }),
};

pub(super) static HARD: Entry = Entry {
    name: "gumbel_softmax_hard",
    summary: "one-hot of the noisy logits forward, Gumbel-softmax backward",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(GumbelSoftmax { hard: true }),
};

impl Estimator for GumbelSoftmax {
    fn name(&self) -> &'static str {
        if self.hard { HARD.name } else { SOFT.name }
    }

    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        check(self.name(), &logits, temperature, 0.0)?;
        let (dims, logits) = (logits.dims(), flatten(logits));
        let noise = uniform(logits.dims(), random);
        Ok(Some(gumbel_softmax(logits, noise, temperature, self.hard).reshape(dims)))
    }
}
