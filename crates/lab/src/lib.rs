//! What happens around the networks: data sets, recipes, training that can be killed and resumed, run folders, export with
//! proof, predictions, reports.
//!
//! A *recipe* is a kind of experiment with a complete default config; a *run* is a folder that one execution of a recipe
//! fills. The way of data: files -> [`data`] -> bytes -> network -> loss -> gradients -> optimizer -> checkpoint ->
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
mod held_out;
mod input_format;
mod inspect;
mod model_file;
pub mod models;
pub mod objectives;
mod operator_plots;
pub mod operators;
mod outputs;
mod plot;
mod predict;
mod premise;
mod recipes;
mod run;
mod streams;
mod summary;
mod tasks;
mod tensor_file;
pub mod theory;
mod train;

pub use config::Config;
pub use error::LabError;
pub use evaluate::evaluate;
pub use export::{Export, export_run};
pub use hardgrad::categorical::{ESTIMATORS, TemperatureKind, TemperatureSchedule};
pub use hardgrad::settings::Setting;
pub use input_format::InputFormat;
pub use inspect::{Inspection, Training, inspect, inspect_svg};
pub use operator_plots::write_operator_plots;
pub use outputs::Evaluation;
pub use predict::{Prediction, predict};
pub use recipes::list::{RECIPES, RecipeEntry};
pub use recipes::start::train;
pub use run::Run;
pub use summary::{ProofAccuracy, Row, Summary};
pub use train::event::{Event, Start};
