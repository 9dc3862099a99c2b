//! How a run begins, or goes on: its folder, its recipe, and where training stands.

use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::event::{Event, Start};
use crate::config::path_text;
use crate::files::{self, Claim};
use crate::models::description_toml;
use crate::recipes::{First, NetworkOf, Recipe, Tell};
use crate::{Config, LabError, Run};

/// A run that has its folder.
pub(super) struct Begun<R: Recipe> {
    pub run: Run,
    /// Keeps others out of the folder.
    pub claim: Claim,
    pub recipe: R,
    pub from: StartPoint<NetworkOf<R>>,
}

/// Where training goes on from.
pub(super) enum StartPoint<N> {
    /// A network at the beginning of the first stage.
    First(First<N>),
    /// A checkpoint.
    Checkpoint(Box<Checkpoint>),
}

/// Takes hold of the folder of a run, and of all that it needs.
pub(super) fn begin<R: Recipe>(start: Start, tell: &mut Tell<'_>) -> Result<Begun<R>, LabError> {
    match start {
        Start::New { config, out, force } => {
            let config = with_whole_paths(*config)?;
            let recipe = R::new(&config, None, tell)?;
            let first = recipe.first(tell)?;
            if let Some(out) = &out {
                check_place(out, &config)?;
            }
            let network = description_toml(&recipe.premise().network);
            let (run, claim) = Run::create(out.as_deref(), &config, &network, force)?;
            Ok(Begun { run, claim, recipe, from: StartPoint::First(first) })
        }
        Start::Resume { folder, .. } => {
            let run = Run::open(&folder)?;
            let claim = Claim::existing(&folder)?;
            let recipe = R::new(&run.config()?, Some(&run.description_path()), tell)?;
            let from = match newest(&run, &recipe, tell)? {
                Some(checkpoint) => StartPoint::Checkpoint(Box::new(checkpoint)),
                None => StartPoint::First(recipe.first(tell)?),
            };
            Ok(Begun { run, claim, recipe, from })
        }
    }
}

/// The checkpoint from which an interrupted run goes on.
fn newest<R: Recipe>(run: &Run, recipe: &R, tell: &mut Tell<'_>) -> Result<Option<Checkpoint>, LabError> {
    [run.folder(), &run.checkpoints()].into_iter().for_each(files::remove_partial_files);
    let (checkpoint, problems) = Checkpoint::newest(run)?;
    problems.into_iter().for_each(|problem| tell(Event::Note(problem.to_string())));
    let Some(checkpoint) = checkpoint else {
        if run.model_path().is_file() {
            let folder = run.folder().display();
            return Err(LabError::Usage(format!(
                "{folder}: finished, but without a whole checkpoint; start a new run"
            )));
        }
        tell(Event::Note("there is no checkpoint yet; training starts from the beginning".to_string()));
        return Ok(None);
    };
    let position = &checkpoint.position;
    position.premise.check(recipe.premise())?;
    let ((stage, name), step) = (&position.stage, position.step);
    if recipe.stages().get(*stage).is_none_or(|stage| stage.name != name) {
        let problem = format!("its checkpoint is of a stage {name}, which its recipe does not have; start a new run");
        return Err(LabError::Damaged { path: run.checkpoints(), problem });
    }
    tell(Event::Note(format!("going on from step {step} of the {name} stage")));
    Ok(Some(checkpoint))
}

/// What the settings name: keys with files and folders that training reads.
fn places(config: &Config) -> [(&'static str, Option<PathBuf>); 4] {
    [
        ("data.directory", config.data_folder()),
        ("training.init", config.init_path()),
        ("training.rename", config.rename_path()),
        ("model.file", config.model_file()),
    ]
}

/// Fails where what training reads lies in the folder that it is about to fill, and with --force to empty.
fn check_place(out: &Path, config: &Config) -> Result<(), LabError> {
    for (key, place) in places(config) {
        let Some(place) = place else { continue };
        // Through links, too.
        let whole = place.canonicalize().unwrap_or_else(|_| place.clone());
        if whole.ancestors().any(|folder| files::are_one(folder, out)) {
            let (out, place) = (out.display(), place.display());
            return Err(LabError::Usage(format!("{out}: {key} = {place} lies in it; choose another --out")));
        }
    }
    Ok(())
}

/// The settings with the whole paths of what they name: the run may go on, or be evaluated, from another folder.
fn with_whole_paths(mut config: Config) -> Result<Config, LabError> {
    for (key, place) in places(&config) {
        let Some(place) = place else { continue };
        let whole =
            std::path::absolute(&place).map_err(|cause| files::FileError::new(&place, "finding the folder", cause))?;
        let setting = match key {
            "data.directory" => &mut config.data.directory,
            "training.init" => &mut config.training.init,
            "training.rename" => &mut config.training.rename,
            _ => &mut config.model.file,
        };
        *setting = path_text::text(&whole);
    }
    Ok(config)
}
