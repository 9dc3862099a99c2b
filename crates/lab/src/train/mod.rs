//! Training: one step, one driver for all recipes, checkpoints, metrics.
//!
//! [`step`] is the only place that runs backward passes. [`drive`] takes a recipe through its stages, resumable at every
//! checkpoint, to its report.

mod begin;
mod checkpoint;
pub(crate) mod drive;
pub(crate) mod event;
mod log;
pub(crate) mod metrics;
pub(crate) mod schedule;
mod stage;
pub(crate) mod step;
#[cfg(test)]
mod tests;

pub(crate) use schedule::learning_rate;
