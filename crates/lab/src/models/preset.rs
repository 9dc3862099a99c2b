use hardgrad_runtime::Description;
use serde::Serialize;

use crate::config::{ConfigError, ModelConfig};

/// A network that comes with the program; its sizes are settings.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Preset {
    /// The word in configs and on the command line.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The network for an input shape and so many classes.
    #[serde(skip)]
    pub(super) describe: fn(&ModelConfig, &[usize], usize) -> Result<Description, ConfigError>,
}

/// Height and width of the images that a preset takes.
///
/// # Errors
/// For tables.
pub(super) fn image_size(name: &str, shape: &[usize]) -> Result<[usize; 2], ConfigError> {
    match shape {
        [_, height, width] => Ok([*height, *width]),
        _ => Err(ConfigError::range("model.preset", "mlp for the rows of a table; the others take images", name)),
    }
}
