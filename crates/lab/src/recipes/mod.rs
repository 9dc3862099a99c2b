//! Recipes: what a run trains, stage by stage, and what it ships.
//!
//! A recipe is a type with its settings, its data and its task; the driver ([`crate::train`]) knows only the trait. To add
//! one: a folder here, a line in [`list`], a line in [`start`].

pub(crate) mod list;
pub(crate) mod qat;
pub(crate) mod start;

use std::path::Path;

use hardgrad::zeroth_order::{Guidance, Moment};
use hardgrad_runtime::Rule;

use crate::model_file::Origin;
use crate::premise::Premise;
use crate::tasks::{At, Task};
use crate::train::event::{Event, Measurement};
use crate::train::step::{Group, NamedGradients};
use crate::{Config, LabError, Run, Summary};

/// Takes what training tells while it runs.
pub(crate) type Tell<'a> = dyn FnMut(Event) + 'a;

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    /// Its word in messages, metrics and files.
    pub name: &'static str,
    /// Epochs, unless it ends early.
    pub epochs: u64,
    /// Highest learning rate.
    pub rate: f64,
    /// The setting that holds it.
    pub rate_key: &'static str,
    /// What the curve says where the stage begins.
    pub begins: &'static str,
}

/// The network with which training begins.
pub(crate) struct First<N> {
    /// The network, on the gradient tape.
    pub network: N,
    /// What came before it.
    pub before: Vec<Origin>,
}

/// Images and labels, or whatever else a step of a recipe's task takes.
pub(crate) type BatchOf<R> = <<R as Recipe>::Task as Task>::Batch;
/// The network, or the networks, that a recipe trains.
pub(crate) type NetworkOf<R> = <<R as Recipe>::Task as Task>::Network;

/// What a run trains, stage by stage.
///
/// Everything that happens at a step follows from its address ([`At`]) and the network, so that a run that was interrupted goes on
/// as if it had not been; what else a recipe remembers between steps is its [`State`](Self::State), which lasts a stage.
pub(crate) trait Recipe: Sized {
    /// What is trained.
    type Task: Task;
    /// What hooks remember within a stage.
    type State: Default;

    /// Loads the data of the settings and the network, from `description` (a file) or from the settings.
    ///
    /// # Errors
    /// If these do not go together.
    fn new(config: &Config, description: Option<&Path>, tell: &mut Tell<'_>) -> Result<Self, LabError>;

    /// What the run is made from.
    fn premise(&self) -> &Premise;

    /// What is trained.
    fn task(&self) -> &Self::Task;

    /// The stages, in the order of the recipe's entry in [`list::RECIPES`].
    fn stages(&self) -> &[Stage];

    /// The network with which the first stage begins.
    ///
    /// # Errors
    /// If the network of another run or file does not fit.
    fn first(&self, tell: &mut Tell<'_>) -> Result<First<NetworkOf<Self>>, LabError>;

    /// The network with which a later stage begins, from that with which the one before ended, on no tape.
    ///
    /// # Errors
    /// If it cannot be.
    fn enter(&self, stage: usize, before: NetworkOf<Self>, tell: &mut Tell<'_>) -> Result<NetworkOf<Self>, LabError>;

    /// A network of the structure that a checkpoint at this step has, with any values, on the tape.
    ///
    /// # Errors
    /// If it cannot be.
    fn frame(&self, at: At) -> Result<NetworkOf<Self>, LabError>;

    /// The network with which a stage of this run ended, from its file.
    ///
    /// # Errors
    /// If the file is not whole, or another run's.
    fn read(&self, run: &Run, stage: usize) -> Result<NetworkOf<Self>, LabError>;

    /// The rules by which the network of a stage is quantised; none where it is float.
    fn rules(&self, stage: usize) -> Option<Vec<Rule>>;

    /// What moves, and how.
    fn groups(&self, stage: usize) -> Vec<Group<'_>>;

    /// What replaces gradients at a step.
    fn guidance(&self, _at: At) -> Option<(&Guidance, Moment)> {
        None
    }

    /// Says what a person may want to know at the beginning of a stage, also of one that is gone on with.
    fn announce(&self, _stage: usize, _network: &NetworkOf<Self>, _tell: &mut Tell<'_>) {}

    /// The network as this step takes it.
    ///
    /// # Errors
    /// If it cannot be.
    fn before_step(
        &self,
        network: NetworkOf<Self>,
        _at: At,
        _tell: &mut Tell<'_>,
    ) -> Result<NetworkOf<Self>, LabError> {
        Ok(network)
    }

    /// Looks at a network and its gradients before its update; it is given back as it was.
    fn watch(
        &self,
        _state: &mut Self::State,
        network: NetworkOf<Self>,
        _gradients: &NamedGradients,
        _batch: &BatchOf<Self>,
        _at: At,
    ) -> NetworkOf<Self> {
        network
    }

    /// Looks at a network after the update with which it came to this step; what was measured is a row of `metrics.csv`.
    fn after_step(&self, _state: &mut Self::State, _network: &NetworkOf<Self>, _at: At) -> Option<Measurement> {
        None
    }

    /// Whether the network is what its stage is to end with, in kind: before that no epoch is the best one, and none ends the stage.
    fn is_settled(&self, _at: At) -> bool {
        true
    }

    /// Whether a measurement waits for the next step: no checkpoint is taken in between.
    fn is_measuring(&self, _state: &Self::State) -> bool {
        false
    }

    /// The names of what is measured between epochs.
    fn measured(&self) -> &[&'static str] {
        &[]
    }

    /// Says what a person may want to know after an epoch.
    fn after_epoch(&self, _state: &mut Self::State, _stage: usize, _network: &NetworkOf<Self>, _tell: &mut Tell<'_>) {}

    /// Compares the networks on the data that nobody looked at before, writes what ships after its proof, and `summary.json`.
    ///
    /// # Errors
    /// If what ships is not what was trained.
    fn report(&self, run: &Run) -> Result<Summary, LabError>;
}
