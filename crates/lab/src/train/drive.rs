//! The driver: takes any recipe through its stages to its report.

use hardgrad::optim::Optimizer;
use hardgrad::parameters::{self, Role};

use super::begin::{Begun, StartPoint, begin};
use super::checkpoint::{Checkpoint, Position};
use super::event::{Event, Start};
use super::stage::{Driver, Standing};
use super::step::method_of;
use crate::model_file::Origin;
use crate::recipes::{First, NetworkOf, Recipe, Tell};
use crate::tasks::At;
use crate::{LabError, Run, Summary};

/// Runs a recipe to its end and returns the table.
///
/// # Errors
/// If the settings do not go together, training meets a value that is not finite, or what ships is not what was trained.
pub(crate) fn drive<R: Recipe>(start: Start, tell: &mut Tell<'_>) -> Result<Summary, LabError> {
    // The claim is held until the end, so that no other process writes into the run.
    let Begun { run, claim: _claim, recipe, from } = begin::<R>(start, tell)?;
    let mut standing = match from {
        StartPoint::First(First { network, before }) => {
            let position = Position::new((0, recipe.stages()[0].name), recipe.premise(), &before);
            Standing { position, network, best: None, optimizer: Optimizer::new() }
        }
        StartPoint::Checkpoint(checkpoint) => go_on(&recipe, &run, *checkpoint)?,
    };
    tell_origins(&standing.position, tell);
    let mut driver = Driver { run: &run, recipe: &recipe, tell };
    let (stage, step) = (standing.position.stage.0, standing.position.step);
    let count = recipe.stages().len();
    let done = (0..stage).map(|stage| driver.steps(stage)).sum::<u64>() + step;
    let steps = (0..count).map(|stage| driver.steps(stage)).sum();
    (driver.tell)(Event::Begin { folder: run.folder().to_path_buf(), done, steps });
    let position = loop {
        let position = driver.stage(standing)?;
        let next = position.stage.0 + 1;
        let Some(stage) = recipe.stages().get(next) else { break position };
        let before = recipe.read(&run, position.stage.0)?;
        let network = recipe.enter(next, before, driver.tell)?;
        let position = position.next((next, stage.name));
        standing = Standing { position, network, best: None, optimizer: Optimizer::new() };
    };
    driver.write_curve(&position)?;
    recipe.report(&run)
}

/// Where training stood at a checkpoint.
fn go_on<R: Recipe>(recipe: &R, run: &Run, checkpoint: Checkpoint) -> Result<Standing<NetworkOf<R>>, LabError> {
    let Checkpoint { position, parameters, best, optimizer } = checkpoint;
    let at = At { stage: position.stage.0, step: position.step };
    let path = run.checkpoints();
    let network = parameters::write(recipe.frame(at)?, parameters)
        .map_err(|problem| LabError::Parameters { path: path.clone(), problem })?;
    let (roles, groups) = (parameters::roles(&network), recipe.groups(at.stage));
    let method = |name: &str| method_of(&groups, name, roles.get(name).copied().unwrap_or(Role::Other));
    optimizer.check(method).map_err(|problem| LabError::Damaged { path, problem: problem.to_string() })?;
    Ok(Standing { position, network, best, optimizer })
}

/// Says where a network was trained on other data than this run's.
fn tell_origins(position: &Position, tell: &mut Tell<'_>) {
    for origin in &position.before {
        if let Origin::Run { data, .. } = origin
            && let Some(file) = data.first_difference(&position.premise.data)
        {
            tell(Event::Note(format!("training.init: its network was trained on other images: {file} differs")));
        }
    }
}
