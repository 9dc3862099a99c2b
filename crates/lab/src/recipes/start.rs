//! The way from the name of a recipe to its driver.

use super::Tell;
use super::list::RECIPES;
use super::qat::Qat;
use crate::train::drive::drive;
use crate::train::event::{Event, Start};
use crate::{Config, LabError, Run, Summary};

/// Runs a recipe from its start to its summary.
type Driver = fn(Start, &mut Tell<'_>) -> Result<Summary, LabError>;

/// The drivers of [`RECIPES`], in their order.
static DRIVERS: [Driver; RECIPES.len()] = [drive::<Qat>];

/// Runs a recipe to its end and returns the table.
///
/// # Errors
/// If the settings do not go together, training meets a value that is not finite, or what ships is not what was trained.
pub fn train(start: Start, tell: &mut dyn FnMut(Event)) -> Result<Summary, LabError> {
    let name = match &start {
        Start::New { config, .. } => config.recipe.clone(),
        Start::Resume { folder, recipe } => {
            let own = Run::open(folder)?.config()?.recipe;
            if let Some(recipe) = recipe.as_ref().filter(|recipe| **recipe != own) {
                let folder = folder.display();
                return Err(LabError::Usage(format!(
                    "{folder}: a run of recipe {own}, not {recipe}; leave the recipe out"
                )));
            }
            own
        }
    };
    // Fails where there is no such recipe.
    let name = Config::of_recipe(&name)?.recipe;
    let driver = RECIPES.iter().zip(DRIVERS).find(|(recipe, _)| recipe.name == name);
    let (_, drive) = driver.expect("the config is that of a recipe");
    drive(start, tell)
}
