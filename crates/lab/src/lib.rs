//! What happens around the networks: data sets, recipes, training that can be killed and resumed, run folders, export with
//! proof, predictions, reports.
//!
//! A *recipe* is a kind of experiment with a complete default config; a *run* is a folder that one execution of a recipe
//! fills. The way of data: files -> [`data`] -> batches -> network -> loss -> gradients -> optimizer -> checkpoint ->
//! packed model -> verification on held-out images -> report.

pub mod bench;
pub mod chart;
pub mod compare;
pub mod config;
pub mod data;
pub mod diagnose;
pub mod environment;
mod error;
mod evaluate;
pub mod experiments;
mod export;
pub mod files;
mod inspect;
mod network;
mod networks;
pub mod objectives;
mod operator_plots;
pub mod operators;
mod plot;
mod predict;
mod run;
mod tensor_file;
pub mod theory;
pub mod train;

use serde::Serialize;

pub use config::Config;
pub use error::LabError;
pub use evaluate::{Evaluation, evaluate};
pub use export::{Export, ProofAccuracy, export_run};
pub use hardgrad::categorical::{ESTIMATORS, TemperatureKind, TemperatureSchedule};
pub use hardgrad::settings::Setting;
pub use inspect::{Inspection, Training, inspect};
pub use network::{ConvNet, NetworkShape};
pub use operator_plots::write_operator_plots;
pub use predict::{Prediction, predict};
pub use run::{Row, Run, Summary};
pub use train::{Event, Stage, Start, train};

/// A recipe: its name and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The word on the command line and in configs.
    pub name: &'static str,
    /// One line about it.
    pub description: &'static str,
}

/// All recipes.
pub const RECIPES: [Recipe; 1] = [Recipe {
    name: "qat",
    description: "train a float network, quantise it, train on with quantisation (QAT), export and verify the packed model",
}];
