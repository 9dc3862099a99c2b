//! Quantisation-aware training: a float stage, then a quantised stage, then the packed model with its proof.

mod check;
mod diagnosis;
mod initial;
mod lost_ranges;
mod report;

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use hardgrad::network::Network;
use hardgrad::optim::Method;
use hardgrad::parameters::Role;
use hardgrad::quantize::StepClock;
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment};
use hardgrad_kernels::images::Augmentation;
use hardgrad_kernels::random::Random;
use hardgrad_runtime::Rule;

use super::{First, Recipe, Stage, Tell};
use crate::config::{ModelConfig, limits, path_text};
use crate::model_file::load;
use crate::premise::Premise;
use crate::tasks::classify::{Batch, Classify, steps_an_epoch};
use crate::tasks::{At, Task};
use crate::train::event::{Event, Measurement};
use crate::train::step::{Group, NamedGradients};
use crate::{Config, LabError, Run, Summary, data, models, streams};
use diagnosis::{Before, MEASURED, Pending, Subject};

/// The stages by their numbers.
const FLOAT: usize = 0;
const QUANTIZED: usize = 1;

/// The optimizer of both stages.
const METHOD: Method = Method::ADAM_W;

/// A network that is trained in float, quantised, and trained on.
pub(crate) struct Qat {
    premise: Premise,
    task: Classify,
    stages: [Stage; 2],
    rules: Vec<Rule>,
    guidance: Option<Guidance>,
}

/// What is remembered between steps.
#[derive(Default)]
pub(crate) struct State {
    /// A measurement before the update of its step.
    before: Option<Before>,
    /// A measurement that waits for the next step.
    pending: Option<Pending>,
    /// Quantisers of which it was said that they lost their range.
    told: BTreeSet<String>,
}

fn owns_weights(_: &str, role: Role) -> bool {
    matches!(role, Role::Weight { .. })
}

fn owns_ranges(_: &str, role: Role) -> bool {
    role == Role::Range
}

fn owns_all(_: &str, _: Role) -> bool {
    true
}

impl Recipe for Qat {
    type Task = Classify;
    type State = State;

    fn new(config: &Config, description: Option<&Path>, tell: &mut Tell<'_>) -> Result<Self, LabError> {
        config.check()?;
        let data = data::load(&config.data_request(), &mut |progress| tell(Event::Data(progress)))?;
        data.notes().into_iter().for_each(|note| tell(Event::Note(format!("data: {note}"))));
        if config.augmentation.horizontal_flip && config.data_folder().is_some() && data.train.shape.len() == 3 {
            let note = "half of the images are mirrored left to right; where that makes another class of them, as of digits and \
                        letters, --set augmentation.horizontal_flip=false";
            tell(Event::Note(note.to_string()));
        }
        let of_file = |path: &Path| ModelConfig { file: path_text::text(path), ..config.model.clone() };
        let model = description.map_or_else(|| config.model.clone(), of_file);
        let network = models::describe(&model, &data.train.shape, data.class_names.len())?;
        limits::check(&network, config, data.train.len())?;
        let training = &config.training;
        check::quantized_steps(config, training.quantized_epochs * steps_an_epoch(config, &data))?;
        let identity = data.identity.clone();
        let task = Classify::new(config, data);
        let recipe = Self {
            stages: [
                Stage {
                    name: "float",
                    epochs: training.float_epochs,
                    rate: training.float_learning_rate,
                    rate_key: "training.float_learning_rate",
                    begins: "float training begins",
                },
                Stage {
                    name: "quantized",
                    epochs: training.quantized_epochs,
                    rate: training.quantized_learning_rate,
                    rate_key: "training.quantized_learning_rate",
                    begins: "quantisation begins",
                },
            ],
            rules: config.quantization.rules_for(&network),
            guidance: Guidance::new(&config.gradient)?,
            premise: Premise { config: config.clone(), network, input: task.input.clone(), data: identity },
            task,
        };
        // Rules that cannot work are told before training, not after the float stage.
        recipe.with_quantizers(recipe.drawn()?)?;
        Ok(recipe)
    }

    fn premise(&self) -> &Premise {
        &self.premise
    }

    fn task(&self) -> &Classify {
        &self.task
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn first(&self, tell: &mut Tell<'_>) -> Result<First<Network>, LabError> {
        initial::network(&self.premise, self.drawn()?, tell)
    }

    fn enter(&self, _: usize, before: Network, tell: &mut Tell<'_>) -> Result<Network, LabError> {
        match self.delay() {
            0 => self.quantized(before.train(), tell),
            // Until then it trains on as it is.
            _ => Ok(before.train()),
        }
    }

    fn frame(&self, At { stage, step }: At) -> Result<Network, LabError> {
        let network = self.drawn()?;
        // At the step of the delay itself it is quantised after the checkpoint.
        let quantized = stage == QUANTIZED && (self.delay() == 0 || step > self.delay());
        if quantized { self.with_quantizers(network) } else { Ok(network) }
    }

    fn read(&self, run: &Run, stage: usize) -> Result<Network, LabError> {
        let (name, last) = (self.stages[stage].name, stage + 1 == self.stages.len());
        let path = run.model_after(name, last);
        let (network, header) = load(run, &path, name)?;
        if !header.belongs_to(&self.premise) {
            let problem =
                format!("it is the {name} network of another run; put this run's own file back or start a new run");
            return Err(LabError::Damaged { path, problem });
        }
        Ok(network)
    }

    fn rules(&self, stage: usize) -> Option<Vec<Rule>> {
        (stage == QUANTIZED).then(|| self.rules.clone())
    }

    fn groups(&self, _: usize) -> Vec<Group<'_>> {
        let training = &self.premise.config.training;
        let rest = Group { owns: &owns_all, method: METHOD, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 };
        let weights = Group { owns: &owns_weights, weight_decay: training.weight_decay, ..rest };
        // Learned scales and clipping bounds.
        let ranges = Group { owns: &owns_ranges, rate_factor: training.range_rate_factor, ..rest };
        vec![weights, ranges, rest]
    }

    fn guidance(&self, At { stage, step }: At) -> Option<(&Guidance, Moment)> {
        let guidance = self.guidance.as_ref().filter(|_| stage == QUANTIZED)?;
        let Config { seed, gradient, .. } = &self.premise.config;
        let progress = gradient.progress(step, self.steps(QUANTIZED), self.delay())?;
        Some((guidance, Moment { seed: *seed, step: step as u32, progress }))
    }

    fn announce(&self, stage: usize, network: &Network, tell: &mut Tell<'_>) {
        let Some(guidance) = self.guidance.as_ref().filter(|_| stage == QUANTIZED) else { return };
        let values: usize = network.weight_codes().iter().map(|weight| weight.codes.len()).sum();
        let GradientConfig { method, directions, beta_min, .. } = self.premise.config.gradient;
        let mut text = format!("gradient: {}, {directions} direction(s) a step", guidance.name());
        if method == MethodName::Fogzo && values > 0 && beta_min > 0.0 {
            let ratio = ((1.0 - beta_min) * values as f64 / beta_min).sqrt();
            text += &format!("; at beta_min the noise of {values} weights is {ratio:.2} times as long as the guide");
        }
        tell(Event::Note(text));
    }

    fn before_step(&self, network: Network, at: At, tell: &mut Tell<'_>) -> Result<Network, LabError> {
        let begins = at.stage == QUANTIZED && self.delay() > 0 && at.step == self.delay();
        if begins { self.quantized(network, tell) } else { Ok(network) }
    }

    fn watch(&self, state: &mut State, network: Network, gradients: &NamedGradients, batch: &Batch, at: At) -> Network {
        if state.pending.is_some() || !self.is_measured(at) {
            return network;
        }
        let loss = |network: &Network| {
            let loss = self.task.loss(network, batch, None);
            loss.map_or(f64::NAN, |loss| f64::from(loss.inner().into_scalar::<f32>()))
        };
        let Config { seed, diagnose, .. } = &self.premise.config;
        let subject = Subject { inputs: &batch.inputs, gradients, loss: &loss };
        let (network, before) = Before::of(network, &subject, diagnose.probes, *seed, at.step);
        state.before = Some(before);
        network
    }

    fn after_step(&self, state: &mut State, network: &Network, at: At) -> Option<Measurement> {
        let finished = state.pending.take().map(|pending| pending.finish(network));
        state.pending = state.before.take().map(|before| before.after(network, at.step));
        finished.map(|(step, values)| Measurement { stage: self.stages[at.stage].name.to_string(), step, values })
    }

    fn is_settled(&self, At { stage, step }: At) -> bool {
        stage != QUANTIZED || self.delay() == 0 || step > self.delay()
    }

    fn is_measuring(&self, state: &State) -> bool {
        state.pending.is_some()
    }

    fn measured(&self) -> &[&'static str] {
        if self.premise.config.diagnose.every > 0 { &MEASURED } else { &[] }
    }

    fn after_epoch(&self, state: &mut State, stage: usize, network: &Network, tell: &mut Tell<'_>) {
        if stage == QUANTIZED {
            lost_ranges::tell(&self.task, &self.premise.config.quantization, network, &mut state.told, tell);
        }
    }

    fn report(&self, run: &Run) -> Result<Summary, LabError> {
        report::report(self, run)
    }
}

impl Qat {
    /// The network with its first weights, on the tape.
    fn drawn(&self) -> Result<Network, LabError> {
        let Premise { network, config, .. } = &self.premise;
        Ok(Network::new(network, config.seed, &Device::flex().autodiff())?)
    }

    /// The network with quantisers whose ranges are set from its weights and from training data.
    fn quantized(&self, network: Network, tell: &mut Tell<'_>) -> Result<Network, LabError> {
        Ok(self.calibrated(self.with_quantizers(network)?, tell))
    }

    fn with_quantizers(&self, network: Network) -> Result<Network, LabError> {
        // The delay is over when the quantisers come.
        Ok(network.quantize(&self.rules, &StepClock::default())?)
    }

    /// The network with its activation ranges set from training images; quantisers that these tell nothing are named.
    fn calibrated(&self, network: Network, tell: &mut Tell<'_>) -> Network {
        let random = Random::new(self.premise.config.seed, 0, streams::CALIBRATION);
        let train = &self.task.data.train;
        let mut chosen = random.permutation(train.len());
        chosen.truncate(self.premise.config.quantization.calibration_images);
        let sample = self.task.input.chosen(train, &chosen, Augmentation::NONE, random);
        // On plain tensors: batch norm uses its running statistics and no gradient tape grows.
        let (plain, problems) = network.valid().calibrate(sample);
        for (quantizer, problem) in problems {
            tell(Event::Note(format!("{quantizer}: calibration left it as it was: {problem}")));
        }
        plain.train()
    }

    fn delay(&self) -> u64 {
        self.premise.config.quantization.delay
    }

    fn steps(&self, stage: usize) -> u64 {
        self.stages[stage].epochs * self.task.steps_an_epoch()
    }

    /// Whether hard values are measured at the next step; a measurement needs two.
    fn is_measured(&self, At { stage, step }: At) -> bool {
        let every = self.premise.config.diagnose.every;
        let quantized = stage == QUANTIZED && step >= self.delay();
        quantized && every > 0 && step.is_multiple_of(every) && step + 1 < self.steps(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::list::RECIPES;

    #[test]
    fn the_stages_are_those_of_the_entry() {
        let config = Config::default();
        let recipe = Qat::new(&config, None, &mut |_| ()).unwrap();
        assert!(recipe.stages().iter().map(|stage| stage.name).eq(RECIPES[0].stages.iter().copied()));
        assert_eq!((recipe.stages()[FLOAT].epochs, recipe.rules(FLOAT)), (config.training.float_epochs, None));
        // The structure of a checkpoint follows from its step.
        let quantizers = |step| recipe.frame(At { stage: QUANTIZED, step }).unwrap().weight_codes().len();
        assert_eq!((quantizers(0), quantizers(1)), (4, 4));
        let delayed = config.with_changes(&["quantization.delay=2".to_string()]).unwrap();
        let recipe = Qat::new(&delayed, None, &mut |_| ()).unwrap();
        let quantizers = |step| recipe.frame(At { stage: QUANTIZED, step }).unwrap().weight_codes().len();
        assert_eq!((quantizers(2), quantizers(3)), (0, 4));
    }
}
