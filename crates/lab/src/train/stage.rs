//! A stage of a run: steps with checkpoints between them, an evaluation an epoch, the network that is kept.

use std::cell::OnceCell;

use hardgrad::optim::Optimizer;
use hardgrad::parameters::{self, Parameter};

use super::checkpoint::{BestEpoch, Checkpoint, Position};
use super::event::{EpochRow, Event};
use super::log::Log;
use super::metrics::{LOSS, Metrics};
use super::schedule::learning_rate;
use super::step::{Group, NamedGradients, Step, Taken, step_watched};
use crate::config::{Keep, TrainingConfig};
use crate::model_file::ModelHeader;
use crate::recipes::{BatchOf, NetworkOf, Recipe, Stage, Tell};
use crate::tasks::{At, Task};
use crate::{LabError, Run, files};

/// Forward-equivalents of a step without guidance: one forward pass, and a backward pass that counts two.
const STRAIGHT_THROUGH_COST: f64 = 3.0;

/// What all stages of a run share.
pub(super) struct Driver<'a, R: Recipe> {
    pub run: &'a Run,
    pub recipe: &'a R,
    pub tell: &'a mut Tell<'a>,
}

/// Where training stands, with all that moves.
pub(super) struct Standing<N> {
    pub position: Position,
    pub network: N,
    /// The parameters of the best epoch, where they are wanted.
    pub best: Option<Vec<Parameter>>,
    pub optimizer: Optimizer,
}

impl<R: Recipe> Driver<'_, R> {
    /// Trains a stage to its end, writes its network, and returns where training then stands.
    pub fn stage(&mut self, standing: Standing<NetworkOf<R>>) -> Result<Position, LabError> {
        let Standing { mut position, mut network, mut best, mut optimizer } = standing;
        let recipe = self.recipe;
        let (place, stage) = (position.stage.0, recipe.stages()[position.stage.0]);
        recipe.announce(place, &network, self.tell);
        let groups = recipe.groups(place);
        let every = self.training().checkpoint_every;
        let mut state = R::State::default();
        let (mut overdue, mut trained) = (false, false);
        while !self.is_over(&position) {
            trained = true;
            let at = At { stage: place, step: position.step };
            // Taken before the forward pass, which moves running statistics; written when it is known that the parameters
            // give a finite loss and finite gradients.
            let due = position.step > 0 && position.step.is_multiple_of(every) || overdue;
            overdue = due && recipe.is_measuring(&state);
            let checkpoint = (due && !overdue).then(|| Checkpoint::of(&position, &network, &best, &optimizer));
            network = recipe.before_step(network, at, self.tell)?;
            let batch = recipe.task().batch(at);
            let (moved, taken, metrics) = self.step(network, &mut optimizer, &mut state, &groups, &batch, at)?;
            network = moved;
            if let Some(checkpoint) = checkpoint {
                checkpoint.save(self.run)?;
            }
            position.step += 1;
            position.metrics.merge(&metrics);
            position.passes += taken.passes;
            position.skipped += taken.skipped;
            let at = At { step: position.step, ..at };
            position.measurements.extend(recipe.after_step(&mut state, &network, at));
            let text = position.metrics.text(recipe.task().metrics());
            (self.tell)(Event::Step { stage: stage.name, text });
            if position.step.is_multiple_of(recipe.task().steps_an_epoch()) {
                self.end_epoch(&mut position, &network, &mut best)?;
                recipe.after_epoch(&mut state, place, &network, self.tell);
            }
        }
        let network = self.kept(&position, network, &best, trained)?;
        if stage.epochs == 0 {
            self.write_metrics(&position)?;
        }
        self.write_model(place, &network, &position)?;
        Checkpoint::of(&position, &network, &best, &optimizer).save(self.run)?;
        Ok(position)
    }

    /// A step: the network after it, what it took, and its metrics.
    fn step(
        &self,
        network: NetworkOf<R>,
        optimizer: &mut Optimizer,
        state: &mut R::State,
        groups: &[Group<'_>],
        batch: &BatchOf<R>,
        at: At,
    ) -> Result<(NetworkOf<R>, Taken, Metrics), LabError> {
        let (recipe, task) = (self.recipe, self.recipe.task());
        // Of the network that trains, which comes first; the probes of guidance are not followed.
        let seen = OnceCell::new();
        let loss = |network: &NetworkOf<R>| {
            if seen.get().is_some() {
                return task.loss(network, batch, None);
            }
            let mut metrics = Metrics::default();
            let loss = task.loss(network, batch, Some(&mut metrics))?;
            let _ = seen.set(metrics);
            Ok(loss)
        };
        let step = Step {
            loss: &loss,
            guidance: recipe.guidance(at),
            perturbed: None,
            slopes: None,
            clip_norm: Some(self.training().clip_norm).filter(|longest| *longest > 0.0),
            groups,
            rate: self.rate(at.stage, at.step),
        };
        let watch =
            |network: NetworkOf<R>, gradients: &NamedGradients| recipe.watch(state, network, gradients, batch, at);
        let (network, taken) =
            step_watched(network, optimizer, &step, watch).map_err(|problem| self.explained(problem, at))?;
        let mut metrics = Metrics::default();
        metrics.add(LOSS, taken.loss, 1);
        metrics.merge(&seen.into_inner().unwrap_or_default());
        Ok((network, taken, metrics))
    }

    /// Looks at the validation data, writes the metrics, and keeps the network if it is the best so far.
    fn end_epoch(
        &mut self,
        position: &mut Position,
        network: &NetworkOf<R>,
        best: &mut Option<Vec<Parameter>>,
    ) -> Result<(), LabError> {
        let (place, task) = (position.stage.0, self.recipe.task());
        let stage = self.recipe.stages()[place];
        let (epoch, last) = (position.step / task.steps_an_epoch(), position.step - 1);
        let mut validation = Metrics::default();
        task.validate(network, &mut validation)?;
        if let Some(name) = validation.not_finite() {
            let tensor = format!("the validation {name}");
            return Err(self.explained(LabError::StepNotFinite { tensor }, At { stage: place, step: last }));
        }
        if self.recipe.is_settled(At { stage: place, step: position.step })
            && let Some(loss) = validation.mean(LOSS)
            && position.best.is_none_or(|best| loss < f64::from_bits(best.loss))
        {
            position.best = Some(BestEpoch { epoch, loss: loss.to_bits() });
            *best = (self.training().keep == Keep::Best).then(|| parameters::read(network));
        }
        let row = EpochRow {
            stage: stage.name.to_string(),
            epoch,
            step: position.step,
            learning_rate: self.rate(place, last),
            train: std::mem::take(&mut position.metrics),
            validation,
            forward_equivalents: STRAIGHT_THROUGH_COST + position.passes as f64 / task.steps_an_epoch() as f64,
            skipped_directions: position.skipped,
        };
        let mut text = format!("training {}", row.train.text(task.metrics()));
        let of_validation = row.validation.text(task.metrics());
        if !of_validation.is_empty() {
            text += &format!("; validation {of_validation}");
        }
        (self.tell)(Event::Epoch { stage: stage.name, epoch, text });
        if position.skipped > 0 {
            let text = format!("{} directions of guidance had no finite loss and were left out", position.skipped);
            (self.tell)(Event::Note(text));
        }
        position.rows.push(row);
        (position.passes, position.skipped) = (0, 0);
        self.write_metrics(position)
    }

    /// The network that a stage ends with, after its last step.
    fn kept(
        &mut self,
        position: &Position,
        network: NetworkOf<R>,
        best: &Option<Vec<Parameter>>,
        trained: bool,
    ) -> Result<NetworkOf<R>, LabError> {
        let stage = self.recipe.stages()[position.stage.0];
        let (steps, epochs) = (self.steps(position.stage.0), position.step / self.recipe.task().steps_an_epoch());
        let mut note = |text: String| {
            // Who goes on with a finished stage has been told.
            if trained {
                (self.tell)(Event::Note(text));
            }
        };
        if let Some(BestEpoch { epoch, .. }) = position.best.filter(|_| position.step < steps) {
            let name = stage.name;
            note(format!("the {name} stage ends after epoch {epochs}: none was better than epoch {epoch}"));
        }
        let network = match (best, position.best) {
            (Some(parameters), Some(BestEpoch { epoch, .. })) => {
                if epoch < epochs {
                    note(format!("the network of epoch {epoch} is kept, the best on the validation data"));
                }
                let path = self.run.checkpoints();
                parameters::write(network, parameters.clone())
                    .map_err(|problem| LabError::Parameters { path, problem })?
            }
            _ => {
                if self.recipe.premise().config.training.keep == Keep::Best && epochs > 0 {
                    note("there are no validation data: the network of the last epoch is kept".to_string());
                }
                network
            }
        };
        if position.step < steps {
            (self.tell)(Event::Skip(steps - position.step));
        }
        Ok(network)
    }

    /// Whether a stage is at its end: all steps are done, or so many epochs were no better than the best one.
    fn is_over(&self, position: &Position) -> bool {
        let patience = self.training().patience;
        let epochs = position.step / self.recipe.task().steps_an_epoch();
        let lost = |best: BestEpoch| patience > 0 && epochs.saturating_sub(best.epoch) >= patience;
        position.step >= self.steps(position.stage.0) || position.best.is_some_and(lost)
    }

    /// Steps of a stage that does not end early.
    pub fn steps(&self, stage: usize) -> u64 {
        self.recipe.stages()[stage].epochs * self.recipe.task().steps_an_epoch()
    }

    fn rate(&self, stage: usize, step: u64) -> f64 {
        let Stage { rate, .. } = self.recipe.stages()[stage];
        learning_rate(rate, step, self.steps(stage), self.training().warmup_steps)
    }

    fn training(&self) -> &TrainingConfig {
        &self.recipe.premise().config.training
    }

    /// An error of the step after `at`, with the setting that helps.
    fn explained(&self, problem: LabError, at: At) -> LabError {
        let LabError::StepNotFinite { tensor } = problem else { return problem };
        let Stage { name, rate, rate_key, .. } = self.recipe.stages()[at.stage];
        let epoch = at.step / self.recipe.task().steps_an_epoch() + 1;
        LabError::NotFinite { tensor, step: at.step + 1, epoch, stage: name, key: rate_key, rate }
    }

    fn write_metrics(&self, position: &Position) -> Result<(), LabError> {
        let csv = self.with_log(|log| log.csv(&position.rows, &position.measurements));
        Ok(files::write(&self.run.metrics_path(), csv.as_bytes())?)
    }

    /// The picture of all epochs; without one there is nothing to draw.
    pub fn write_curve(&self, position: &Position) -> Result<(), LabError> {
        if position.rows.is_empty() {
            return Ok(());
        }
        let path = self.run.curve_path();
        match self.with_log(|log| log.curve(&position.rows)) {
            Ok(curve) => Ok(files::write(&path, curve.as_bytes())?),
            Err(problem) => Err(LabError::Picture { path, problem }),
        }
    }

    fn with_log<T>(&self, make: impl FnOnce(&Log<'_>) -> T) -> T {
        let (recipe, task) = (self.recipe, self.recipe.task());
        make(&Log {
            stages: recipe.stages(),
            metrics: task.metrics(),
            measured: recipe.measured(),
            steps_an_epoch: task.steps_an_epoch(),
            rate: &|stage, step| self.rate(stage, step),
        })
    }

    fn write_model(&self, place: usize, network: &NetworkOf<R>, position: &Position) -> Result<(), LabError> {
        let (recipe, stages) = (self.recipe, self.recipe.stages());
        let path = self.run.model_after(stages[place].name, place + 1 == stages.len());
        let header = ModelHeader::new(recipe.premise(), stages[place].name, recipe.rules(place), &position.before);
        Ok(files::write(&path, &header.with(network))?)
    }
}
