//! Does zeroth-order guidance lower the loss? Gradient methods on one network, each tuned with the same number of runs, then compared on
//! fresh seeds, paired.
//!
//! Candidates of a method are all combinations of the lists that concern it. The method with most candidates sets the budget; the
//! others get as many, with learning rates between the least and the largest, evenly on a log scale.

mod candidates;
mod comparison;
mod settings;

use super::networks::with_subject;
use super::{Progress, Report, Sets};
use crate::LabError;

pub(super) use settings::Settings;

/// Runs the experiment.
pub(super) fn run(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    settings.check()?;
    with_subject!(settings.network.as_str(), make => comparison::compare(make, settings, sets, tell))
}
