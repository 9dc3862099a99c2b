use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use hardgrad_kernels::random::Random;

use super::estimator::{check_finite, evaluate, flatten, product, with_gradient};
use super::{CategoricalError, Cost, Entry, Estimator, one_hot, sample};
use crate::settings::Setting;

/// The score function estimator without a baseline (REINFORCE).
///
/// ```text
/// b ~ softmax(logits)        dlogits = f(b) (b - softmax(logits))
/// ```
/// Source: Williams, "Simple statistical gradient-following algorithms", 1992.
#[derive(Clone, Copy, Debug)]
pub struct Reinforce;

/// The score function estimator with the moving average of the costs as its baseline.
///
/// ```text
/// b ~ softmax(logits)        dlogits = (f(b) - m) (b - softmax(logits)),  m = mean of earlier costs
/// ```
/// m follows after each call: m = decay m + (1 - decay) mean f(b); it starts at the mean of the first call.
#[derive(Clone, Copy, Debug)]
pub struct MovingAverage {
    /// Share of the old average that stays, from 0 to 1.
    pub decay: f32,
    /// The average; `None` before the first call, which has no baseline.
    pub average: Option<f32>,
}

/// The score function estimator whose baseline for each of several samples is the mean of the others' costs.
///
/// ```text
/// b_k ~ softmax(logits), k = 1 .. K
/// dlogits = mean over k of (f(b_k) - mean over the others of f) (b_k - softmax(logits))
/// ```
/// Source: Kool, van Hoof, Welling, "Buy 4 REINFORCE samples, get a baseline for free!", 2019.
#[derive(Clone, Copy, Debug)]
pub struct LeaveOneOut {
    /// K, at least 2.
    pub samples: usize,
}

pub(super) static NO_BASELINE: Entry = Entry {
    name: "reinforce",
    summary: "score function without baseline",
    unbiased: true,
    uses_temperature: false,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(Reinforce),
};

pub(super) static MOVING_AVERAGE: Entry = Entry {
    name: "reinforce_moving_average",
    summary: "score function, minus the moving average of the costs",
    unbiased: true,
    uses_temperature: false,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: true,
    settings: &[Setting {
        key: "decay",
        default: 0.9,
        expected: "from 0 to below 1",
        valid: |value| (0.0..1.0).contains(&value),
    }],
    make: |settings| Box::new(MovingAverage { decay: settings[0] as f32, average: None }),
};

pub(super) static LEAVE_ONE_OUT: Entry = Entry {
    name: "reinforce_leave_one_out",
    summary: "score function with several samples, minus the mean cost of the others",
    unbiased: true,
    uses_temperature: false,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[Setting {
        key: "samples",
        default: 2.0,
        expected: "a whole number from 2 to 10000",
        valid: |value| (2.0..=1e4).contains(&value) && value.fract() == 0.0,
    }],
    make: |settings| Box::new(LeaveOneOut { samples: settings[0] as usize }),
};

/// One-hot choices and the gradient of their log probability, both plain `[batch, variables, categories]`.
fn score(logits: &Tensor<3>, random: &Random) -> [Tensor<3>; 2] {
    let (dims, logits) = (logits.dims(), flatten(logits.clone().inner()));
    let choices = one_hot(&sample(&logits, random), dims[2]);
    let score = choices.clone() - softmax(logits, 1);
    [choices.reshape(dims), score.reshape(dims)]
}

/// One value a row in a shape that broadcasts over `[batch, variables, categories]`.
pub(super) fn a_row(values: Tensor<1>) -> Tensor<3> {
    let rows = values.dims()[0];
    values.inner().reshape([rows, 1, 1])
}

impl Estimator for Reinforce {
    fn name(&self) -> &'static str {
        NO_BASELINE.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        _: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check_finite(self.name(), "the logits tensor", &logits)?;
        let [choices, score] = score(&logits, random);
        let costs = evaluate(self.name(), cost, choices, logits.dims()[0])?;
        with_gradient(self.name(), costs.clone(), logits, score * a_row(costs))
    }
}

impl Estimator for MovingAverage {
    fn name(&self) -> &'static str {
        MOVING_AVERAGE.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        _: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check_finite(self.name(), "the logits tensor", &logits)?;
        let [choices, score] = score(&logits, random);
        let costs = evaluate(self.name(), cost, choices, logits.dims()[0])?;
        let ones = costs.ones_like();
        let mean = (product(&costs, &ones) / costs.dims()[0].max(1) as f64) as f32;
        let advantage = a_row(costs.clone()) - self.average.unwrap_or(0.0);
        self.average = Some(self.average.map_or(mean, |average| self.decay * average + (1.0 - self.decay) * mean));
        with_gradient(self.name(), costs, logits, score * advantage)
    }
}

impl Estimator for LeaveOneOut {
    fn name(&self) -> &'static str {
        LEAVE_ONE_OUT.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        _: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check_finite(self.name(), "the logits tensor", &logits)?;
        let (rows, count) = (logits.dims()[0], self.samples as f32);
        let mut samples = Vec::with_capacity(self.samples);
        for k in 0..self.samples {
            let [choices, score] = score(&logits, &random.part(k as u32));
            samples.push((evaluate(self.name(), cost, choices, rows)?, score));
        }
        let mean = samples.iter().map(|(costs, _)| costs.clone()).reduce(|a, b| a + b).expect("at least 2") / count;
        // f_k - mean of the others = (f_k - mean of all) K / (K - 1)
        let gradient = samples
            .into_iter()
            .map(|(costs, score)| score * a_row(costs - mean.clone()))
            .reduce(|a, b| a + b)
            .expect("at least 2");
        with_gradient(self.name(), mean, logits, gradient / (count - 1.0))
    }
}
