//! What goes into training and what it tells.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use crate::{Config, data};

/// How a run begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// A new run.
    New {
        /// Its settings.
        config: Box<Config>,
        /// Its folder; the next free one under `runs` without.
        out: Option<PathBuf>,
        /// Replace a run that is there.
        force: bool,
    },
    /// A run that was interrupted.
    Resume {
        /// Its folder.
        folder: PathBuf,
        /// The recipe that it is expected to have, if any.
        recipe: Option<String>,
    },
}

/// What training tells while it runs.
#[derive(Debug)]
pub enum Event {
    /// Data are read.
    Data(data::Progress),
    /// Training begins (or goes on) in this folder; `done` of `steps` steps of all stages are done.
    Begin {
        /// The run folder.
        folder: PathBuf,
        /// Steps done before.
        done: u64,
        /// Steps of all stages.
        steps: u64,
    },
    /// A step is done.
    Step {
        /// Name of its stage.
        stage: &'static str,
        /// The metrics of the epoch so far: `loss 0.4211, accuracy 89.20 %`.
        text: String,
    },
    /// Steps that are not needed any more, because a stage ends early.
    Skip(u64),
    /// An epoch is done.
    Epoch {
        /// Name of its stage.
        stage: &'static str,
        /// Epoch of the stage, from 1.
        epoch: u64,
        /// Its metrics: `training loss 0.4211, accuracy 89.20 %; validation loss 0.4611, accuracy 88.10 %`.
        text: String,
    },
    /// Something that a person may want to know.
    Note(String),
}

/// An epoch in `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochRow {
    /// Name of the stage.
    pub stage: String,
    /// Epoch of the stage, from 1.
    pub epoch: u64,
    /// Steps of the stage so far.
    pub step: u64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Of the epoch's steps.
    pub train: Metrics,
    /// Of the validation data after the epoch; nothing where there are none.
    pub validation: Metrics,
    /// Mean cost of the epoch's steps: a forward pass counts 1, a backward pass 2.
    pub forward_equivalents: f64,
    /// Directions of guidance that the epoch left out because a loss was not finite.
    pub skipped_directions: u64,
}

/// A measurement between epochs in `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    /// Name of the stage.
    pub stage: String,
    /// Step of the stage, from 1.
    pub step: u64,
    /// What was measured by name; none where it has no value. All values are finite.
    pub values: Vec<(String, Option<f64>)>,
}
