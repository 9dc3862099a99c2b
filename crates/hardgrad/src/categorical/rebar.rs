use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use hardgrad_kernels::random::Random;

use super::estimator::{check, evaluate, product, with_gradient};
use super::reinforce::a_row;
use super::sampling::uniform;
use super::{CategoricalError, Cost, Entry, Estimator};

/// The score function with the relaxed cost as a control variate.
///
/// ```text
/// l = log_softmax(logits)    z = l + g    b = one-hot(argmax z)    z' = noisy logits anew, given b    s(z) = softmax(z/temperature)
/// dlogits = (f(b) - baseline - eta f(s(z'))) dln p(b) + eta df(s(z)) - eta df(s(z'))
/// ```
/// eta and the baseline are learned: the values that give the least variance, from averages over earlier calls, so that no
/// step is biased by its own noise. The cost must accept relaxed choices; it is called three times.
/// Source: Tucker et al., "REBAR: low-variance, unbiased gradient estimates for discrete latent variable models",
/// NeurIPS 2017.
#[derive(Clone, Copy, Debug)]
pub struct Rebar {
    /// Weight of the relaxed cost.
    pub eta: f32,
    /// What is taken off the cost.
    pub baseline: f32,
    /// Averages over the calls so far of the products among score part s, control variate c and score d:
    /// s c, s d, c c, c d, d d.
    products: [f64; 5],
}

impl Rebar {
    /// Weight 1 and no baseline until something is learned.
    pub fn new() -> Self {
        Self { eta: 1.0, baseline: 0.0, products: [0.0; 5] }
    }

    /// Takes the products of a call and solves for the weights with the least sum of squares of s + eta c - baseline d.
    fn learn(&mut self, new: [f64; 5]) {
        if !new.iter().all(|value| value.is_finite()) {
            return;
        }
        for (product, new) in self.products.iter_mut().zip(new) {
            *product = DECAY * *product + (1.0 - DECAY) * new;
        }
        let [sc, sd, cc, cd, dd] = self.products;
        let determinant = cc * dd - cd * cd;
        if determinant > 1e-6 * cc * dd {
            self.eta = ((cd * sd - dd * sc) / determinant) as f32;
            self.baseline = ((cc * sd - cd * sc) / determinant) as f32;
        } else if dd > 0.0 {
            // The relaxed cost says nothing: what is left is the best baseline.
            (self.eta, self.baseline) = (0.0, (sd / dd) as f32);
        }
    }
}

impl Default for Rebar {
    fn default() -> Self {
        Self::new()
    }
}

/// Share of the old averages that stays at each call.
const DECAY: f64 = 0.9;

pub(super) static ENTRY: Entry = Entry {
    name: "rebar",
    summary: "score function with the relaxed cost as a control variate of learned weight",
    unbiased: true,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: true,
    settings: &[],
    make: |_| Box::new(Rebar::new()),
};

impl Estimator for Rebar {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        temperature: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check(self.name(), &logits, temperature, 0.0)?;
        let draw = Draw::new(&logits, random);
        let costs = evaluate(self.name(), cost, draw.choices.clone(), logits.dims()[0])?;
        let relaxed = draw.relaxed(self.name(), cost, temperature)?;
        let direction = draw.score();
        let score = direction.clone() * a_row(costs.clone());
        let control = draw.control(relaxed);
        let gradient = score.clone() + control.clone() * self.eta - direction.clone() * self.baseline;
        let count = gradient.shape().num_elements().max(1) as f64;
        let products = [
            product(&score, &control),
            product(&score, &direction),
            product(&control, &control),
            product(&control, &direction),
            product(&direction, &direction),
        ];
        self.learn(products.map(|product| product / count));
        with_gradient(self.name(), costs, logits, gradient)
    }
}

/// Noisy logits, the choices they lead to, and noisy logits anew that lead to the same choices; all plain, in the shape of
/// the logits.
pub(super) struct Draw {
    /// Probabilities.
    probabilities: Tensor<3>,
    /// z
    pub noisy: Tensor<3>,
    /// b, one-hot
    pub choices: Tensor<3>,
    /// z'
    pub conditional: Tensor<3>,
    /// dz' / dl, 1 for z
    pub conditional_slope: Tensor<3>,
}

/// Cost of relaxed choices: value a row, and gradient with respect to the noisy logits.
pub(super) struct Relaxed {
    /// f(s(z')) `[batch]`
    pub conditional_costs: Tensor<1>,
    /// df(s(z)) / dz
    pub noisy: Tensor<3>,
    /// df(s(z')) / dz'
    pub conditional: Tensor<3>,
}

impl Draw {
    pub fn new(logits: &Tensor<3>, random: &Random) -> Self {
        let dims = logits.dims();
        let logits = logits.clone().inner();
        let log_probabilities = log_softmax(logits.clone(), 2);
        let gumbel = -(-uniform(dims, random).log()).log();
        let noisy = log_probabilities.clone() + gumbel;
        let columns: Vec<f32> = (0..dims[2]).map(|column| column as f32).collect();
        let columns = Tensor::<1>::from_floats(columns.as_slice(), &noisy.device()).reshape([1, 1, dims[2]]);
        let best = noisy.clone().argmax(2).float().expand(dims);
        let choices = columns.expand(dims).equal(best).float();
        // z' of the choice is -ln E_b, of the others -ln(E_i / p_i + E_b), with E = -ln u.
        let exponential = (-uniform(dims, &random.part(1)).log()).log();
        let chosen = (exponential.clone() * choices.clone()).sum_dim(2).expand(dims);
        let ratio = exponential - log_probabilities.clone();
        let larger = ratio.clone().max_pair(chosen.clone());
        let sum = ((ratio.clone() - larger.clone()).exp() + (chosen.clone() - larger.clone()).exp()).log() + larger;
        let others = -choices.clone() + 1.0;
        let conditional = -(chosen.clone() * choices.clone() + sum * others.clone());
        let conditional_slope = sigmoid(ratio - chosen) * others;
        Self { probabilities: log_probabilities.exp(), noisy, choices, conditional, conditional_slope }
    }

    /// dln p(b) / dlogits
    pub fn score(&self) -> Tensor<3> {
        self.choices.clone() - self.probabilities.clone()
    }

    /// The gradient with respect to logits from that with respect to log probabilities.
    pub fn to_logits(&self, gradient: Tensor<3>) -> Tensor<3> {
        gradient.clone() - self.probabilities.clone() * gradient.sum_dim(2)
    }

    /// Costs of the relaxed choices with their gradients.
    pub fn relaxed(
        &self,
        estimator: &'static str,
        cost: &mut Cost<'_>,
        temperature: f32,
    ) -> Result<Relaxed, CategoricalError> {
        let mut run = |noisy: &Tensor<3>| {
            let rows = noisy.dims()[0];
            let leaf = Tensor::<3>::from_data(noisy.to_data(), &noisy.device().autodiff()).require_grad();
            let costs = evaluate(estimator, cost, softmax(leaf.clone() / temperature, 2), rows)?;
            let gradients = costs.clone().sum().backward();
            let gradient = leaf.grad(&gradients).unwrap_or_else(|| noisy.zeros_like());
            Ok((costs.inner(), gradient))
        };
        let (_, noisy) = run(&self.noisy)?;
        let (conditional_costs, conditional) = run(&self.conditional)?;
        Ok(Relaxed { conditional_costs, noisy, conditional })
    }

    /// What eta multiplies: it has mean 0.
    pub fn control(&self, relaxed: Relaxed) -> Tensor<3> {
        let path = relaxed.noisy - relaxed.conditional * self.conditional_slope.clone();
        self.to_logits(path) - self.score() * a_row(relaxed.conditional_costs)
    }
}
