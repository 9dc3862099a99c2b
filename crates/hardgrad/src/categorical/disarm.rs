use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use hardgrad_kernels::random::Random;

use super::arm::{difference, one_hot_pair, pair};
use super::estimator::{check_binary, evaluate, with_gradient};
use super::reinforce::a_row;
use super::sampling::uniform;
use super::{CategoricalError, Cost, Entry, Estimator};

/// ARM averaged over all that does not change its two antithetic samples.
///
/// ```text
/// a = logits[1] - logits[0]        u uniform        b = 1[1 - u < sigmoid(a)]        c = 1[u < sigmoid(a)]
/// da = (f(b) - f(c)) / 2 (-1)^c 1[b != c] sigmoid(abs(a))
/// ```
/// Two categories. The returned cost is the mean of the two. Source: Dong, Mnih, Tucker, "DisARM: an antithetic gradient
/// estimator for binary latent variables", NeurIPS 2020.
#[derive(Clone, Copy, Debug)]
pub struct DisArm;

pub(super) static ENTRY: Entry = Entry {
    name: "disarm",
    summary: "ARM averaged over what does not change its samples",
    unbiased: true,
    uses_temperature: false,
    least_temperature: 0.0,
    binary: true,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(DisArm),
};

impl Estimator for DisArm {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        _: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check_binary(self.name(), &logits)?;
        let rows = logits.dims()[0];
        let a = difference(&logits);
        let (u, probability) = (uniform(a.dims(), random), sigmoid(a.clone()));
        let b = (-u.clone() + 1.0).lower(probability.clone()).float();
        let c = u.lower(probability).float();
        let first = evaluate(self.name(), cost, one_hot_pair(b.clone()), rows)?;
        let second = evaluate(self.name(), cost, one_hot_pair(c.clone()), rows)?;
        // (-1)^c 1[b != c] = b - c
        let gradient = (b - c) * sigmoid(a.abs()) * (a_row(first.clone() - second.clone()) / 2.0);
        with_gradient(self.name(), (first + second) / 2.0, logits, pair(gradient))
    }
}
