//! Training of one network with one gradient method.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::Tensor;
use hardgrad::optim::{Method, Optimizer};
use hardgrad::parameters::Role;
use hardgrad::zeroth_order::{GradientConfig, Guidance, Moment, Probes};

use super::inputs::Inputs;
use super::networks::CLASSES;
use super::subject::Subject;
use crate::LabError;
use crate::evaluate::best_classes;
use crate::train::learning_rate;
use crate::train::step::{self, Group, Step, cross_entropy};

/// How a network is trained.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Images a step; the size of the set for full batches.
    pub batch_size: usize,
    /// Steps.
    pub steps: u64,
    /// SGD with momentum 0.9 instead of Adam.
    pub sgd: bool,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// What becomes of it.
    pub schedule: Schedule,
    /// Where the gradient comes from.
    pub gradient: GradientConfig,
    /// Seed of everything random.
    pub seed: u64,
}

impl Plan {
    fn method(&self) -> Method {
        if self.sgd { Method::Sgd { momentum: 0.9, nesterov: false } } else { Method::ADAM }
    }
}

/// How the learning rate moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Schedule {
    /// Falls as a cosine to 0.
    Cosine,
    /// A tenth after 40 %, a hundredth after 80 % of the steps.
    Tenths,
    /// Stays.
    Constant,
}

impl Schedule {
    fn at(self, highest: f64, step: u64, steps: u64) -> f64 {
        match self {
            Self::Cosine => learning_rate(highest, step, steps, 0),
            Self::Tenths => {
                highest
                    * if 5 * step < 2 * steps {
                        1.0
                    } else if 5 * step < 4 * steps {
                        0.1
                    } else {
                        0.01
                    }
            }
            Self::Constant => highest,
        }
    }
}

/// What training gave.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Cross-entropy over all training images at the end; infinite where it was not finite any more.
    pub train_loss: f64,
    /// Share of the held-out images classified correctly at the end; not a number where the loss was not finite any more.
    pub test_accuracy: f64,
    /// Cross-entropy over the first training images on the way: step and loss.
    pub curve: Vec<(u64, f64)>,
    /// Forward-equivalents a step: a forward pass is 1, a backward pass 2.
    pub forward_equivalents: f64,
    /// Directions left out because a loss was not finite.
    pub skipped: u64,
}

/// Points of a curve, and the images that they are measured on.
const POINTS: u64 = 20;
const CURVE_IMAGES: usize = 2_000;

/// Images that go through a network at once in evaluation.
const EVALUATION_BATCH: usize = 1_000;

/// A network with its optimizer at a step.
pub(super) struct Trainer<'a, N> {
    pub network: N,
    plan: &'a Plan,
    images: Inputs<'a>,
    optimizer: Optimizer,
    guidance: Option<Guidance>,
    step: u64,
    /// The running epoch and its order.
    order: (u64, Vec<u32>),
    /// Forward passes of guidance.
    passes: u64,
    /// Directions left out because a loss was not finite.
    skipped: u64,
}

impl<'a, N: Subject> Trainer<'a, N> {
    pub fn new(network: N, images: Inputs<'a>, plan: &'a Plan) -> Result<Self, LabError> {
        let guidance = Guidance::new(&plan.gradient)?;
        let (optimizer, order) = (Optimizer::new(), (0, images.order(plan.seed, 0)));
        Ok(Self { network, plan, images, optimizer, guidance, step: 0, order, passes: 0, skipped: 0 })
    }

    /// One step; none where the loss or a gradient is not finite.
    pub fn step(mut self) -> Result<Option<Self>, LabError> {
        let Plan { seed, batch_size, .. } = *self.plan;
        // Whole batches only.
        let an_epoch = (self.images.len() / batch_size) as u64;
        let epoch = self.step / an_epoch;
        if self.order.0 != epoch {
            self.order = (epoch, self.images.order(seed, epoch));
        }
        let first = (self.step % an_epoch) as usize * batch_size;
        let (images, labels) = self.images.chosen(&self.order.1[first..first + batch_size]);
        let loss = |network: &N| -> Result<Tensor<1>, LabError> {
            Ok(cross_entropy(network.logits(images.clone()), &labels, 0.0))
        };
        let progress = self.plan.gradient.progress(self.step, self.plan.steps, 0);
        let moment = progress.map(|progress| Moment { seed, step: self.step as u32, progress });
        let owns = |_: &str, role: Role| N::trains(role);
        let method = self.plan.method();
        let groups = [Group { owns: &owns, method, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 }];
        let perturbed = |network: &N| network.perturbed();
        let slopes = |network: &N, probes: &Probes<'_>| network.slopes(probes, &images, &labels);
        let at = Step {
            loss: &loss,
            guidance: self.guidance.as_ref().zip(moment),
            perturbed: Some(&perturbed),
            slopes: Some(&slopes),
            clip_norm: None,
            groups: &groups,
            rate: self.plan.schedule.at(self.plan.learning_rate, self.step, self.plan.steps),
        };
        match step::step(self.network, &mut self.optimizer, &at) {
            Ok((network, taken)) => {
                let (passes, skipped) = (self.passes + taken.passes, self.skipped + taken.skipped);
                Ok(Some(Self { network, step: self.step + 1, passes, skipped, ..self }))
            }
            Err(problem) if problem.is_not_finite() => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// One step, for measurements that mean nothing where training ends early.
    ///
    /// # Errors
    /// If loss or gradients are not finite.
    pub fn finite_step(self) -> Result<Self, LabError> {
        let step = self.step;
        self.step()?.ok_or_else(|| {
            LabError::Usage(format!("the loss is not finite at step {step}; lower the learning rate with --set"))
        })
    }
}

/// The loss of plain or tracked logits.
pub(super) fn loss(logits: Tensor<2>, labels: &[u8]) -> f64 {
    f64::from(cross_entropy(logits, labels, 0.0).inner().into_scalar::<f32>())
}

/// The straight-through gradients of the loss by name.
///
/// # Errors
/// If the loss or one of them is not finite.
pub(super) fn gradients<N: Subject>(
    network: &N,
    images: Tensor<2>,
    labels: &[u8],
) -> Result<BTreeMap<String, Vec<f32>>, LabError> {
    let (_, gradients) = step::gradients(network, cross_entropy(network.logits(images), labels, 0.0))?;
    Ok(gradients)
}

/// Trains a network; a loss that is no longer finite ends the run without a network and with an infinite loss.
pub(super) fn train<N: Subject>(
    network: N,
    [images, held_out]: [Inputs<'_>; 2],
    plan: &Plan,
) -> Result<(Option<N>, Outcome), LabError> {
    let mut trainer = Trainer::new(network, images, plan)?;
    let every = plan.steps.div_ceil(POINTS).max(1);
    let mut outcome = Outcome {
        train_loss: f64::INFINITY,
        test_accuracy: f64::NAN,
        curve: vec![(0, evaluate(&trainer.network, images, CURVE_IMAGES).0)],
        forward_equivalents: 3.0,
        skipped: 0,
    };
    for step in 1..=plan.steps {
        let Some(next) = trainer.step()? else { return Ok((None, outcome)) };
        trainer = next;
        outcome.forward_equivalents = 3.0 + trainer.passes as f64 / step as f64;
        outcome.skipped = trainer.skipped;
        if step.is_multiple_of(every) || step == plan.steps {
            outcome.curve.push((step, evaluate(&trainer.network, images, CURVE_IMAGES).0));
        }
    }
    let train_loss = evaluate(&trainer.network, images, usize::MAX).0;
    outcome.train_loss = if train_loss.is_finite() { train_loss } else { f64::INFINITY };
    outcome.test_accuracy = evaluate(&trainer.network, held_out, usize::MAX).1;
    Ok((Some(trainer.network), outcome))
}

/// Mean cross-entropy and share of correct classes over the first `count` images.
fn evaluate<N: Subject>(network: &N, images: Inputs<'_>, count: usize) -> (f64, f64) {
    let plain = network.valid();
    let (count, mut sum, mut correct) = (count.min(images.len()), 0.0, 0);
    for first in (0..count).step_by(EVALUATION_BATCH) {
        let (x, labels) = images.part(first, EVALUATION_BATCH.min(count - first));
        let logits = plain.logits(x);
        sum += loss(logits.clone(), labels) * labels.len() as f64;
        let values = logits.into_data().try_into_vec::<f32>().expect("logits are f32");
        correct +=
            best_classes(&values, CLASSES).zip(labels).filter(|(found, label)| *found == usize::from(**label)).count();
    }
    (sum / count as f64, correct as f64 / count as f64)
}

/// Steps of each kind in [`step_ratio`], and those before them.
const TIMED: usize = 15;
const WARM_UP: usize = 3;

/// How many times as long a guided step takes as a straight-through one: the ratio of the medians of steps that take turns.
///
/// # Errors
/// If the first loss is not finite.
pub(super) fn step_ratio<N: Subject>(make: fn(u64) -> N, images: Inputs<'_>, plan: &Plan) -> Result<f64, LabError> {
    // The time of a step does not depend on the rate, and with such a small one nothing grows out of bounds.
    let guided = Plan { steps: (2 * TIMED) as u64, learning_rate: 1e-9, schedule: Schedule::Constant, ..plan.clone() };
    let plain = Plan { gradient: GradientConfig::default(), ..guided.clone() };
    let mut trainers = [Trainer::new(make(0), images, &plain)?, Trainer::new(make(0), images, &guided)?];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP + TIMED {
        let mut next = Vec::new();
        for (trainer, times) in trainers.into_iter().zip(&mut times) {
            let begin = Instant::now();
            next.push(trainer.finite_step()?);
            if round >= WARM_UP {
                times.push(begin.elapsed().as_secs_f64());
            }
        }
        let mut next = next.into_iter();
        trainers = std::array::from_fn(|_| next.next().expect("one for each"));
    }
    let [plain, guided] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    Ok(guided / plain)
}

#[cfg(test)]
mod tests {
    use hardgrad_kernels::images::PixelScale;

    use super::*;
    use crate::data::Images;
    use crate::experiments::networks::two_bit_mlp;

    /// Images that are bright in the row of their class.
    fn images(count: usize) -> Images {
        let pixel = |image: usize, pixel: usize| if pixel / 28 == 2 * (image % 10) { 250 } else { pixel as u8 % 40 };
        Images {
            pixels: (0..count).flat_map(|image| (0..784).map(move |at| pixel(image, at))).collect(),
            labels: (0..count).map(|image| (image % 10) as u8).collect(),
            shape: vec![1, 28, 28],
        }
    }

    fn plan() -> Plan {
        Plan {
            batch_size: 20,
            steps: 100,
            sgd: false,
            learning_rate: 0.003,
            schedule: Schedule::Cosine,
            gradient: GradientConfig::default(),
            seed: 1,
        }
    }

    #[test]
    fn a_network_learns_what_can_be_learned() {
        let set = images(100);
        let inputs = Inputs::new(&set, 0, PixelScale::of(&set.pixels));
        let (network, outcome) = train(two_bit_mlp(1), [inputs, inputs], &plan()).unwrap();
        assert!(network.is_some() && outcome.train_loss < 0.5 * outcome.curve[0].1, "{outcome:?}");
        assert!(outcome.test_accuracy > 0.5, "{outcome:?}");
        assert_eq!((outcome.curve.len(), outcome.forward_equivalents), (21, 3.0));
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_a_run_and_is_no_error() {
        let set = images(40);
        let inputs = Inputs::new(&set, 0, PixelScale { scale: f32::INFINITY, zero_point: 0 });
        let (network, outcome) = train(two_bit_mlp(1), [inputs, inputs], &plan()).unwrap();
        assert!(network.is_none() && outcome.train_loss == f64::INFINITY && outcome.test_accuracy.is_nan());
    }
}
