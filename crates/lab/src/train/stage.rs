use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::optim::{Optimizer, Rates};
use hardgrad::parameters;
use hardgrad::quantize::StepClock;
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};
use hardgrad_kernels::images::Augmentation;
use hardgrad_kernels::random::Random;
use hardgrad_kernels::reduce::all_finite;

use super::checkpoint::{Checkpoint, Position};
use super::diagnosis::{Before, Pending};
use super::schedule::learning_rate;
use super::{EpochRow, Event, METHOD, Stage, calibrated, stream};
use crate::data::Dataset;
use crate::evaluate::{batch, best_classes, evaluation, logits};
use crate::files;
use crate::tensor_file::{MODEL_FORMAT, ModelDescription, Origin, TensorFile, to_tensors};
use crate::{Config, ConvNet, LabError, NetworkShape, Run};

/// Forward-equivalents of a step without guidance: one forward pass, and a backward pass that counts two.
const STRAIGHT_THROUGH_COST: f64 = 3.0;

/// What all stages of a run share.
pub(super) struct Trainer<'a> {
    pub run: &'a Run,
    pub config: &'a Config,
    pub data: &'a Dataset,
    pub shape: &'a NetworkShape,
    pub clock: &'a StepClock,
    pub before: Vec<Origin>,
    pub tell: &'a mut dyn FnMut(Event),
}

/// Images and labels of a step.
struct Batch {
    images: Tensor<4>,
    labels: Vec<u8>,
}

/// What one forward and backward pass gave.
struct StepResult {
    loss: f64,
    correct: u64,
    gradients: BTreeMap<String, Vec<f32>>,
}

impl Trainer<'_> {
    /// Tells where training stands before the first step.
    pub fn begin(&mut self, position: Option<&Position>) {
        let done = position.map_or(0, |position| match position.stage {
            Stage::Float => position.step,
            Stage::Quantized => self.steps(Stage::Float) + position.step,
        });
        let steps = self.steps(Stage::Float) + self.steps(Stage::Quantized);
        (self.tell)(Event::Begin { folder: self.run.folder().to_path_buf(), done, steps });
    }

    /// Trains a stage from its beginning or from a checkpoint of it, writes its model, and returns all epochs so far.
    pub fn run_stage(
        &mut self,
        stage: Stage,
        network: ConvNet,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Vec<EpochRow>, LabError> {
        let mut position = Position::begin(stage, Vec::new(), self.config, self.shape, &self.data.identity);
        position.before.clone_from(&self.before);
        let (mut network, mut optimizer) = (network, Optimizer::new(METHOD));
        let guidance = if stage == Stage::Quantized { Guidance::new(&self.config.gradient)? } else { None };
        if let Some(guidance) = &guidance {
            self.tell_guidance(guidance, &network);
        }
        if let Some(checkpoint) = checkpoint {
            position = checkpoint.position.clone();
            optimizer = checkpoint.optimizer.clone();
            let path = self.run.checkpoints();
            network = parameters::write(network, checkpoint.parameters.clone())
                .map_err(|problem| LabError::Parameters { path, problem })?;
        }
        let (steps, a_epoch) = (self.steps(stage), self.steps_an_epoch());
        let mut order = None;
        // A measurement needs two steps; no checkpoint is taken between them.
        let mut pending: Option<Pending> = None;
        let mut overdue = false;
        // Layers of which it was said that they lost their range.
        let mut told = BTreeSet::new();
        while position.step < steps {
            let epoch = position.step / a_epoch;
            if order.as_ref().is_none_or(|(of, _)| *of != epoch) {
                let random = Random::new(self.config.seed, epoch as u32, stream::ORDER + stage as u32);
                order = Some((epoch, random.permutation(self.data.train.len())));
            }
            let order = order.as_ref().map_or(&[][..], |(_, order)| order);
            if stage == Stage::Quantized && position.step == self.config.quantization.delay && position.step > 0 {
                // The network has moved since the ranges were set; each layer is to see what those before it give quantised.
                self.clock.set(position.step);
                network = calibrated(network, self.config, self.data, self.shape, self.tell);
            }
            // Taken before the forward pass, which moves running statistics; written when it is known that the parameters
            // give a finite loss and finite gradients.
            let due =
                position.step > 0 && position.step.is_multiple_of(self.config.training.checkpoint_every) || overdue;
            overdue = due && pending.is_some();
            let checkpoint = (due && !overdue).then(|| Checkpoint::of(&position, &network, &optimizer));
            let batch = self.batch(&position, order);
            let mut step = self.gradients(&network, &position, &batch)?;
            if let Some(checkpoint) = checkpoint {
                checkpoint.save(self.run)?;
            }
            if let Some(guidance) = &guidance {
                self.guide(guidance, &network, &mut position, &batch, &mut step)?;
            }
            let mut before = None;
            if pending.is_none() && self.is_measured(&position, steps) {
                let (unchanged, measured) = self.measure(network, &position, &batch, &step);
                (network, before) = (unchanged, Some(measured));
            }
            network = self.update(network, &mut optimizer, &mut position, step);
            if let Some(pending) = pending.take() {
                position.diagnoses.push(pending.finish(&network));
            }
            pending = before.map(|before| before.after(&network, position.step));
            let in_epoch = position.step - epoch * a_epoch;
            let images = (in_epoch as usize * self.batch_size()) as f64;
            let (loss, accuracy) =
                (f64::from_bits(position.loss_sum) / in_epoch as f64, position.correct as f64 / images);
            (self.tell)(Event::Step { stage, loss, accuracy });
            if in_epoch == a_epoch {
                let (logits, _) = logits(&network, &self.data.test, self.shape);
                let test = evaluation(
                    self.data.name.clone(),
                    &logits,
                    &self.data.test.labels,
                    &self.shape.class_names,
                    Vec::new(),
                );
                if !test.loss.is_finite() {
                    return Err(self.not_finite("the held-out loss".to_string(), stage, position.step));
                }
                let row = EpochRow {
                    stage,
                    epoch: epoch + 1,
                    step: position.step,
                    learning_rate: self.rate(stage, position.step - 1),
                    train_loss: loss,
                    train_accuracy: accuracy,
                    test_loss: test.loss,
                    test_accuracy: test.accuracy,
                    forward_equivalents: STRAIGHT_THROUGH_COST + position.passes as f64 / in_epoch as f64,
                    skipped_directions: position.skipped,
                };
                (self.tell)(Event::Epoch(row.clone()));
                if position.skipped > 0 {
                    let text =
                        format!("{} directions of guidance had no finite loss and were left out", position.skipped);
                    (self.tell)(Event::Note(text));
                }
                position.rows.push(row);
                (position.loss_sum, position.correct, position.passes, position.skipped) = (0, 0, 0, 0);
                self.write_metrics(&position)?;
                if stage == Stage::Quantized {
                    self.tell_lost_ranges(&network, &mut told);
                }
            }
        }
        if steps == 0 {
            self.write_metrics(&position)?;
        }
        self.write_model(stage, &network)?;
        Checkpoint::of(&position, &network, &optimizer).save(self.run)?;
        Ok(position.rows)
    }

    /// Images and labels of the next step.
    fn batch(&self, position: &Position, order: &[u32]) -> Batch {
        let Config { seed, augmentation, .. } = self.config;
        let (stage, step) = (position.stage, position.step);
        let first = (step % self.steps_an_epoch()) as usize * self.batch_size();
        let chosen = &order[first..first + self.batch_size()];
        let random = Random::new(*seed, step as u32, stream::AUGMENTATION + stage as u32);
        let images = batch(&self.data.train, chosen, self.shape, Augmentation::from(augmentation), random);
        let labels = chosen.iter().map(|&image| self.data.train.labels[image as usize]).collect();
        Batch { images, labels }
    }

    /// Whether hard values are measured at the next step.
    fn is_measured(&self, position: &Position, steps: u64) -> bool {
        let every = self.config.diagnose.every;
        let quantized = position.stage == Stage::Quantized && position.step >= self.config.quantization.delay;
        quantized && every > 0 && position.step.is_multiple_of(every) && position.step + 1 < steps
    }

    /// Measures the network before its update; it comes back as it was.
    fn measure(&self, network: ConvNet, position: &Position, batch: &Batch, result: &StepResult) -> (ConvNet, Before) {
        let smoothing = self.config.training.label_smoothing as f32;
        let loss = |network: &ConvNet| cross_entropy(network.forward(batch.images.clone()), &batch.labels, smoothing);
        let (seed, probes) = (self.config.seed, self.config.diagnose.probes);
        Before::of(network, batch.images.clone(), &result.gradients, &loss, probes, seed, position.step)
    }

    /// Loss and gradients of the next step.
    fn gradients(&mut self, network: &ConvNet, position: &Position, batch: &Batch) -> Result<StepResult, LabError> {
        let (stage, step) = (position.stage, position.step);
        self.clock.set(if stage == Stage::Quantized { step } else { 0 });
        let logits = network.forward(batch.images.clone());
        let values = logits.clone().inner().into_data().try_into_vec::<f32>().expect("logits are f32");
        let loss = cross_entropy(logits, &batch.labels, self.config.training.label_smoothing as f32);
        let value = loss.clone().inner().into_scalar::<f32>();
        if !value.is_finite() {
            return Err(self.not_finite("the loss".to_string(), stage, step + 1));
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), network);
        let gradients: BTreeMap<String, Vec<f32>> =
            parameters::gradients(network, &mut gradients).into_iter().collect();
        if let Some((name, _)) = gradients.iter().find(|(_, values)| !all_finite(values)) {
            return Err(self.not_finite(format!("the gradient of {name}"), stage, step + 1));
        }
        let right = best_classes(&values, self.shape.class_names.len()).zip(&batch.labels);
        let correct = right.filter(|(found, label)| *found == usize::from(**label)).count() as u64;
        Ok(StepResult { loss: f64::from(value), correct, gradients })
    }

    /// Says what guides the gradient and how noisy its directions will be.
    fn tell_guidance(&mut self, guidance: &Guidance, network: &ConvNet) {
        let values: usize = network.weight_codes().iter().map(|weight| weight.codes.len()).sum();
        let GradientConfig { method, directions, beta_min, .. } = self.config.gradient;
        let mut text = format!("gradient: {}, {directions} direction(s) a step", guidance.name());
        if method == MethodName::Fogzo && values > 0 && beta_min > 0.0 {
            let ratio = ((1.0 - beta_min) * values as f64 / beta_min).sqrt();
            text += &format!("; at beta_min the noise of {values} weights is {ratio:.2} times as long as the guide");
        }
        (self.tell)(Event::Note(text));
    }

    /// Replaces the gradients of the quantised weights, where guidance has begun, by those of its method.
    fn guide(
        &self,
        guidance: &Guidance,
        network: &ConvNet,
        position: &mut Position,
        batch: &Batch,
        result: &mut StepResult,
    ) -> Result<(), LabError> {
        let Config { seed, gradient, quantization, training, .. } = self.config;
        let step = position.step;
        let progress = gradient.progress(step, self.steps(position.stage), quantization.delay);
        let Some(progress) = progress else { return Ok(()) };
        let smoothing = training.label_smoothing as f32;
        let loss = |probe: &ConvNet| {
            let loss = cross_entropy(probe.forward(batch.images.clone()), &batch.labels, smoothing);
            f64::from(loss.into_scalar::<f32>())
        };
        let moment = Moment { seed: *seed, step: step as u32, progress };
        let report = guidance.guide(network, &quantized(network), &mut result.gradients, moment, loss)?;
        position.passes += report.passes;
        position.skipped += report.skipped;
        Ok(())
    }

    /// The network after one step of Adam.
    fn update(
        &self,
        network: ConvNet,
        optimizer: &mut Optimizer,
        position: &mut Position,
        result: StepResult,
    ) -> ConvNet {
        let training = &self.config.training;
        let rate = self.rate(position.stage, position.step);
        let rates = |name: &str| {
            // A learned scale or clipping bound.
            let range = name.contains("quantizer.");
            Rates {
                learning_rate: (if range { rate * training.range_rate_factor } else { rate }) as f32,
                weight_decay: if name.ends_with("weight") { training.weight_decay as f32 } else { 0.0 },
            }
        };
        position.correct += result.correct;
        position.loss_sum = (f64::from_bits(position.loss_sum) + result.loss).to_bits();
        position.step += 1;
        optimizer.step(network, result.gradients, 1.0, rates)
    }

    /// The error for a tensor that is not finite at this step (from 1) of a stage.
    fn not_finite(&self, tensor: String, stage: Stage, step: u64) -> LabError {
        let (key, rate) = match stage {
            Stage::Float => ("training.float_learning_rate", self.config.training.float_learning_rate),
            Stage::Quantized => ("training.quantized_learning_rate", self.config.training.quantized_learning_rate),
        };
        let epoch = (step - 1) / self.steps_an_epoch() + 1;
        LabError::NotFinite { tensor, step, epoch, stage: stage.name(), key, rate }
    }

    pub(super) fn batch_size(&self) -> usize {
        batch_size(self.config, self.data)
    }

    pub(super) fn steps_an_epoch(&self) -> u64 {
        steps_an_epoch(self.config, self.data)
    }

    fn steps(&self, stage: Stage) -> u64 {
        steps(self.config, self.data, stage)
    }

    pub(super) fn rate(&self, stage: Stage, step: u64) -> f64 {
        let training = &self.config.training;
        let highest = match stage {
            Stage::Float => training.float_learning_rate,
            Stage::Quantized => training.quantized_learning_rate,
        };
        learning_rate(highest, step, self.steps(stage), training.warmup_steps)
    }

    fn write_model(&self, stage: Stage, network: &ConvNet) -> Result<(), LabError> {
        let path = match stage {
            Stage::Float => self.run.float_model_path(),
            Stage::Quantized => self.run.model_path(),
        };
        let description = ModelDescription {
            format: MODEL_FORMAT.to_string(),
            stage,
            recipe: self.config.recipe.clone(),
            seed: self.config.seed,
            model: self.config.model.clone(),
            quantization: (stage == Stage::Quantized).then(|| self.config.quantization.clone()),
            shape: self.shape.clone(),
            data: self.data.identity.clone(),
            before: self.before.clone(),
        };
        let tensors = to_tensors(parameters::read(&network.valid()), "");
        Ok(files::write(&path, &TensorFile { description, tensors }.to_bytes())?)
    }
}

fn batch_size(config: &Config, data: &Dataset) -> usize {
    config.training.batch_size.min(data.train.len())
}

/// Whole batches only: the rest of an epoch's order is left out, another rest each epoch.
fn steps_an_epoch(config: &Config, data: &Dataset) -> u64 {
    (data.train.len() / batch_size(config, data)) as u64
}

/// Steps of a whole stage.
pub(super) fn steps(config: &Config, data: &Dataset, stage: Stage) -> u64 {
    let training = &config.training;
    let epochs = if stage == Stage::Float { training.float_epochs } else { training.quantized_epochs };
    epochs * steps_an_epoch(config, data)
}

/// Mean cross-entropy in nats; `smoothing` is the share of each target that is spread over all classes.
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u8], smoothing: f32) -> Tensor<1> {
    let [count, classes] = logits.dims();
    let mut targets = vec![smoothing / classes as f32; count * classes];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * classes + usize::from(label)] += 1.0 - smoothing;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [count, classes]), &Device::flex());
    // Rows first: a long sum over everything would depend on the number of threads.
    (log_softmax(logits, 1) * targets).sum_dim(1).sum() * (-1.0 / count as f32)
}
