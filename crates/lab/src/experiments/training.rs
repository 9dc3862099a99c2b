//! Training of one network with one gradient method.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hardgrad::optim::{Method, Optimizer, Rates};
use hardgrad::parameters;
use hardgrad::zeroth_order::{GradientConfig, Guidance, Moment, Report};
use hardgrad_kernels::reduce::all_finite;

use super::inputs::Inputs;
use super::subject::Subject;
use crate::LabError;
use crate::evaluate::best_classes;
use crate::networks::CLASSES;
use crate::train::{cross_entropy, learning_rate};

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
    /// Cross-entropy over all training images at the end.
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
    images: &'a Inputs,
    optimizer: Optimizer,
    guidance: Option<Guidance>,
    step: u64,
    /// The running epoch and its order.
    order: (u64, Vec<u32>),
    pub report: Report,
}

impl<'a, N: Subject> Trainer<'a, N> {
    pub fn new(network: N, images: &'a Inputs, plan: &'a Plan) -> Result<Self, LabError> {
        let guidance = Guidance::new(&plan.gradient)?;
        let method = if plan.sgd { Method::Sgd { momentum: 0.9, nesterov: false } } else { Method::ADAM };
        let (optimizer, report) = (Optimizer::new(method), Report::default());
        let order = (0, images.order(plan.seed, 0));
        Ok(Self { network, plan, images, optimizer, guidance, step: 0, order, report })
    }

    /// One step; the loss before it, infinite where loss or gradients are not finite, and then the network stays.
    pub fn step(mut self) -> Result<(Self, f64), LabError> {
        let Plan { seed, batch_size, .. } = *self.plan;
        // Whole batches only.
        let an_epoch = (self.images.len() / batch_size) as u64;
        let epoch = self.step / an_epoch;
        if self.order.0 != epoch {
            self.order = (epoch, self.images.order(seed, epoch));
        }
        let first = (self.step % an_epoch) as usize * batch_size;
        let (images, labels) = self.images.chosen(&self.order.1[first..first + batch_size]);
        let (value, mut gradients) = gradients(&self.network, images.clone(), &labels);
        gradients.retain(|name, _| !N::is_frozen(name));
        if !value.is_finite() || gradients.values().any(|gradient| !all_finite(gradient)) {
            return Ok((self, f64::INFINITY));
        }
        let progress = self.plan.gradient.progress(self.step, self.plan.steps, 0);
        if let (Some(guidance), Some(progress)) = (&self.guidance, progress) {
            let moment = Moment { seed, step: self.step as u32, progress };
            let (network, perturbed) = (&self.network, self.network.perturbed());
            let report = guidance.guide_by_slopes(network, &perturbed, &mut gradients, moment, |probes| {
                network
                    .slopes(probes, &images, &labels)
                    .unwrap_or_else(|| probes.slopes(network, |probe: &N| loss(probe.logits(images.clone()), &labels)))
            })?;
            self.report.passes += report.passes;
            self.report.skipped += report.skipped;
        }
        let rate = self.plan.schedule.at(self.plan.learning_rate, self.step, self.plan.steps) as f32;
        let rates = |_: &str| Rates { learning_rate: rate, weight_decay: 0.0 };
        self.network = self.optimizer.step(self.network, gradients, 1.0, rates);
        self.step += 1;
        Ok((self, value))
    }

    /// One step, for measurements that mean nothing on a network that stays as it is.
    ///
    /// # Errors
    /// If loss or gradients are not finite.
    pub fn finite_step(self) -> Result<Self, LabError> {
        let step = self.step;
        match self.step()? {
            (next, loss) if loss.is_finite() => Ok(next),
            _ => Err(LabError::Usage(format!(
                "the loss is not finite at step {step}; lower the learning rate with --set"
            ))),
        }
    }
}

/// The loss of plain or tracked logits.
pub(super) fn loss(logits: Tensor<2>, labels: &[u8]) -> f64 {
    f64::from(cross_entropy(logits, labels, 0.0).inner().into_scalar::<f32>())
}

/// The loss and the straight-through gradients by name.
pub(super) fn gradients<N: Subject>(
    network: &N,
    images: Tensor<2>,
    labels: &[u8],
) -> (f64, BTreeMap<String, Vec<f32>>) {
    let images = Tensor::from_data(images.into_data(), &Device::flex().autodiff());
    let loss = cross_entropy(network.logits(images), labels, 0.0);
    let value = f64::from(loss.clone().inner().into_scalar::<f32>());
    let mut gradients = GradientsParams::from_grads(loss.backward(), network);
    (value, parameters::gradients(network, &mut gradients).into_iter().collect())
}

/// Trains a network; a loss that is no longer finite ends the run with an infinite loss.
pub(super) fn train<N: Subject>(network: N, sets: [&Inputs; 2], plan: &Plan) -> Result<(N, Outcome), LabError> {
    let [images, held_out] = sets;
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
        let (next, value) = trainer.step()?;
        trainer = next;
        outcome.forward_equivalents = 3.0 + trainer.report.passes as f64 / step as f64;
        outcome.skipped = trainer.report.skipped;
        if !value.is_finite() {
            return Ok((trainer.network, outcome));
        }
        if step.is_multiple_of(every) || step == plan.steps {
            outcome.curve.push((step, evaluate(&trainer.network, images, CURVE_IMAGES).0));
        }
    }
    let train_loss = evaluate(&trainer.network, images, usize::MAX).0;
    outcome.train_loss = if train_loss.is_finite() { train_loss } else { f64::INFINITY };
    outcome.test_accuracy = evaluate(&trainer.network, held_out, usize::MAX).1;
    Ok((trainer.network, outcome))
}

/// Mean cross-entropy and share of correct classes over the first `count` images.
pub(super) fn evaluate<N: Subject>(network: &N, images: &Inputs, count: usize) -> (f64, f64) {
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

/// Steps of each kind in [`step_ratio`].
const TIMED: usize = 15;

/// How many times as long a guided step takes as a straight-through one: the ratio of the medians of steps that take turns.
pub(super) fn step_ratio<N: Subject>(images: &Inputs, plan: &Plan) -> Result<f64, LabError> {
    let plain = Plan { gradient: GradientConfig::default(), steps: 2 * TIMED as u64, ..plan.clone() };
    let guided = Plan { steps: 2 * TIMED as u64, ..plan.clone() };
    let mut trainers = [Trainer::new(N::new(0), images, &plain)?, Trainer::new(N::new(0), images, &guided)?];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..TIMED + 3 {
        let mut next = Vec::new();
        for (trainer, times) in trainers.into_iter().zip(&mut times) {
            let begin = Instant::now();
            next.push(trainer.step()?.0);
            // The first ones warm up.
            if round >= 3 {
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
