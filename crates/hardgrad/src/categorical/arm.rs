use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use hardgrad_kernels::random::Random;

use super::estimator::{check_binary, evaluate, with_gradient};
use super::reinforce::a_row;
use super::sampling::uniform;
use super::{CategoricalError, Cost, Entry, Estimator};

/// Augment, REINFORCE, merge: two antithetic samples of Bernoulli variables.
///
/// ```text
/// a = logits[1] - logits[0]        u uniform        b = 1[u > sigmoid(-a)]        c = 1[u < sigmoid(a)]
/// da = (f(b) - f(c)) (u - 1/2)
/// ```
/// Two categories. The returned cost is the mean of the two. Source: Yin and Zhou, "ARM: augment-REINFORCE-merge gradient
/// for stochastic binary networks", ICLR 2019.
#[derive(Clone, Copy, Debug)]
pub struct Arm;

pub(super) static ENTRY: Entry = Entry {
    name: "arm",
    summary: "two antithetic samples of Bernoulli variables, merged",
    unbiased: true,
    uses_temperature: false,
    least_temperature: 0.0,
    binary: true,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(Arm),
};

impl Estimator for Arm {
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
        let u = uniform(a.dims(), random);
        let first = evaluate(self.name(), cost, one_hot_pair(u.clone().greater(sigmoid(-a.clone())).float()), rows)?;
        let second = evaluate(self.name(), cost, one_hot_pair(u.clone().lower(sigmoid(a)).float()), rows)?;
        let gradient = (u - 0.5) * a_row(first.clone() - second.clone());
        with_gradient(self.name(), (first + second) / 2.0, logits, pair(gradient))
    }
}

/// The logits `[batch, variables, 1]` of the second category against the first; plain.
pub(super) fn difference(logits: &Tensor<3>) -> Tensor<3> {
    let [batch, variables, _] = logits.dims();
    let logits = logits.clone().inner();
    logits.clone().slice([0..batch, 0..variables, 1..2]) - logits.slice([0..batch, 0..variables, 0..1])
}

/// One-hot choices of Bernoulli variables that are 0 or 1.
pub(super) fn one_hot_pair(values: Tensor<3>) -> Tensor<3> {
    Tensor::cat(vec![-values.clone() + 1.0, values], 2)
}

/// The gradient of both logits from that of their difference.
pub(super) fn pair(gradient: Tensor<3>) -> Tensor<3> {
    Tensor::cat(vec![-gradient.clone(), gradient], 2)
}
