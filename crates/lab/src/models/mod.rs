//! Networks described as data: presets, files, what they make of their inputs, weights from elsewhere.

pub(crate) mod builder;
pub(crate) mod conv_net;
mod error;
mod file;
mod import;
pub(crate) mod lenet;
pub(crate) mod mlp;
mod preset;
mod rename;
mod report;
pub(crate) mod resnet20;
mod safetensors_file;
pub(crate) mod vit;

use std::path::Path;

use hardgrad_runtime::Description;

use crate::config::changes::nearest;
use crate::config::{Config, ConfigError, ModelConfig};
use crate::{LabError, data};

pub use error::ModelError;
pub use file::{description_toml, parse_description, read_description, write_description};
pub use import::{Imported, import};
pub use preset::Preset;
pub use report::{ModelNode, ModelReport, check_file, report};

/// All presets.
pub static PRESETS: [Preset; 5] = [conv_net::PRESET, lenet::PRESET, mlp::PRESET, resnet20::PRESET, vit::PRESET];

/// The network of the settings, checked, for inputs of a shape (`[channels, height, width]` or `[features]`) in so many
/// classes: the preset with its sizes, or the one that the file describes, whose input shape and classes must be these.
///
/// # Errors
/// If there is no such preset, if its sizes make no network of this shape, or if the file cannot be used.
///
/// ```
/// use hardgrad_lab::config::ModelConfig;
/// use hardgrad_lab::models;
///
/// let settings = ModelConfig { preset: "resnet20".to_string(), ..ModelConfig::default() };
/// let network = models::describe(&settings, &[3, 32, 32], 10).unwrap();
/// let report = models::report(&network).unwrap();
/// assert_eq!((report.nodes.last().unwrap().output.clone(), report.parameters), (vec![10], 272_474));
/// ```
pub fn describe(model: &ModelConfig, input_shape: &[usize], classes: usize) -> Result<Description, LabError> {
    if !model.file.is_empty() {
        return of_file(&crate::config::path_text::path(&model.file), input_shape, classes);
    }
    let preset = by_name(&model.preset)?;
    let description = (preset.describe)(model, input_shape, classes)?;
    description.check().map_err(|problem| ConfigError::Network { problem: problem.to_string() })?;
    Ok(description)
}

/// The description of a preset as TOML, for the embedded data, or those in a folder or file, with the sizes of the
/// settings.
///
/// # Errors
/// If there is no such preset, if it does not suit the data, or if these cannot be read.
pub fn show(name: &str, config: &Config, data: Option<&Path>) -> Result<String, LabError> {
    let mut config = config.clone();
    config.model.preset = by_name(name)?.name.to_string();
    config.model.file.clear();
    if let Some(folder) = data {
        config.set_data_folder(folder);
    }
    config.check()?;
    let set = data::load(&config.data_request(), &mut |_| {})?;
    Ok(description_toml(&describe(&config.model, &set.train.shape, set.class_names.len())?))
}

fn by_name(name: &str) -> Result<&'static Preset, ConfigError> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let nearest = nearest(name, PRESETS.iter().map(|preset| preset.name.to_string()));
        ConfigError::Preset { name: name.to_string(), nearest }
    })
}

/// The network that a file describes, for such data.
fn of_file(path: &Path, input_shape: &[usize], classes: usize) -> Result<Description, LabError> {
    let description = read_description(path)?;
    let network = &description.input.shape;
    if network != input_shape {
        let mend = match (&network[..], input_shape) {
            ([channels @ (1 | 3), height, width], [_, _, _]) => {
                format!(
                    "set data.size = [{height}, {width}] and data.channels = {channels}, or another shape in the file"
                )
            }
            _ => "give other data, or another shape in the file".to_string(),
        };
        let (path, network, data) = (path.to_path_buf(), network.clone(), input_shape.to_vec());
        return Err(ModelError::InputShape { path, network, data, mend }.into());
    }
    let report = report(&description).map_err(|problem| ModelError::Description {
        source_name: path.display().to_string(),
        problem: problem.to_string(),
    })?;
    match report.nodes.last() {
        Some(last) if last.output != [classes] => Err(ModelError::Classes {
            path: path.to_path_buf(),
            node: last.name.clone(),
            output: last.output.clone(),
            classes,
        }
        .into()),
        _ => Ok(description),
    }
}

#[cfg(test)]
mod tests;
