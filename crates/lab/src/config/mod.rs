//! The settings of a run: complete defaults, changed by a TOML file and by `key=value` pairs.

pub(crate) mod changes;
mod error;
pub mod limits;
pub(crate) mod path_text;
mod sections;

use std::path::{Path, PathBuf};

use hardgrad::zeroth_order::GradientConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::RECIPES;
use crate::data::Request;
use changes::{nearest, one_line};
pub use error::ConfigError;
pub use sections::{
    AugmentationConfig, ConvNetSizes, DataConfig, DiagnoseConfig, FLOAT_BITS, Keep, LeNetSizes, MlpSizes, ModelConfig,
    QuantizationConfig, ResNet20Sizes, TrainingConfig, VitSizes,
};
pub(crate) use sections::{Section, merged};

/// All settings of a run; [`Config::to_toml`] prints them and [`Config::from_toml`] takes them back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Name of the recipe.
    pub recipe: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Where the images come from.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// Epochs, rates, checkpoints.
    pub training: TrainingConfig,
    /// Random changes of training images.
    pub augmentation: AugmentationConfig,
    /// Bits and range methods.
    pub quantization: QuantizationConfig,
    /// Where the gradient of the quantised weights comes from.
    pub gradient: GradientConfig,
    /// Measurements of gradients and hard values.
    pub diagnose: DiagnoseConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            recipe: RECIPES[0].name.to_string(),
            seed: 0,
            data: DataConfig::default(),
            model: ModelConfig::default(),
            training: TrainingConfig::default(),
            augmentation: AugmentationConfig::default(),
            quantization: QuantizationConfig::default(),
            gradient: GradientConfig::default(),
            diagnose: DiagnoseConfig::default(),
        }
    }
}

impl Config {
    /// The complete defaults of a recipe.
    pub fn of_recipe(name: &str) -> Result<Self, ConfigError> {
        match RECIPES.iter().find(|recipe| recipe.name == name) {
            Some(recipe) => Ok(Self { recipe: recipe.name.to_string(), ..Self::default() }),
            None => {
                let nearest = nearest(name, RECIPES.iter().map(|recipe| recipe.name.to_string()));
                Err(ConfigError::Recipe { name: name.to_string(), nearest })
            }
        }
    }

    /// The config in TOML, every key with its value.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config holds only what TOML can")
    }

    /// A complete or partial config; keys that are not given keep their defaults. `source_name` is for errors.
    pub fn from_toml(text: &str, source_name: &str) -> Result<Self, ConfigError> {
        let given = parse(text, source_name)?;
        let recipe = given.get("recipe").and_then(Value::as_str).unwrap_or(RECIPES[0].name);
        Self::of_recipe(recipe)?.with_table(given, source_name)
    }

    /// This config with what the text, a complete or partial one, says otherwise.
    pub fn with_toml(self, text: &str, source_name: &str) -> Result<Self, ConfigError> {
        self.with_table(parse(text, source_name)?, source_name)
    }

    /// The config after `key=value` changes; a value is TOML, or a string where it is not.
    pub fn with_changes(self, changes: &[String]) -> Result<Self, ConfigError> {
        changes.iter().try_fold(self, |config, change| {
            let (given, source_name) = changes::parse(change)?;
            config.changed(given, &source_name)
        })
    }

    /// The config with the values of a file, each of which is in its range; what goes together is seen when all is
    /// given.
    fn with_table(self, given: Table, source_name: &str) -> Result<Self, ConfigError> {
        let config = self.changed(given, source_name)?;
        config.check_values().map_err(|problem| match problem {
            // Names the file already, or what is in no file.
            ConfigError::Recipe { .. } => problem,
            problem => ConfigError::In { source_name: source_name.to_string(), problem: Box::new(problem) },
        })?;
        Ok(config)
    }

    fn changed(self, given: Table, source_name: &str) -> Result<Self, ConfigError> {
        let show = format!("recipes show {}", self.recipe);
        changes::changed(&self, given, source_name, &changes::Keys { all: changes::keys(&self), show })
    }

    /// Fails where a value is out of its range, or where values do not go together.
    ///
    /// Whether the network that they make fits is a matter of the data, too: [`limits::check`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_values()?;
        let Self { data, model, training, augmentation, quantization, gradient, diagnose, .. } = self;
        data.check_together()?;
        model.check_together()?;
        training.check_together()?;
        augmentation.check_together()?;
        quantization.check_together()?;
        gradient.check_together()?;
        diagnose.check_together()?;
        if data.validation == 0.0 {
            let refuse = |key, expected: &str, found| {
                let expected = format!("{expected} where data.validation = 0 splits nothing off to look at");
                Err(ConfigError::range(key, expected, found))
            };
            if training.keep != Keep::Last {
                return refuse("training.keep", "last", "best".to_string());
            }
            if training.patience != 0 {
                return refuse("training.patience", "0", training.patience.to_string());
            }
        }
        Ok(())
    }

    /// Fails where a value on its own is out of its range.
    fn check_values(&self) -> Result<(), ConfigError> {
        let Self { recipe, seed, data, model, training, augmentation, quantization, gradient, diagnose } = self;
        Self::of_recipe(recipe)?;
        if i64::try_from(*seed).is_err() {
            return Err(ConfigError::range("seed", "at most 9223372036854775807", seed));
        }
        data.check_values()?;
        model.check_values()?;
        training.check_values()?;
        augmentation.check_values()?;
        quantization.check_values()?;
        gradient.check_values()?;
        diagnose.check_values()
    }

    /// The first key whose value differs from that of `other`.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        changes::first_difference(self, other)
    }
}

/// The files and folders that settings name.
impl Config {
    /// The folder or file of the data; none for the embedded ones.
    pub fn data_folder(&self) -> Option<PathBuf> {
        named(&self.data.directory)
    }

    /// Takes the data from this folder or file.
    pub fn set_data_folder(&mut self, folder: &Path) {
        self.data.directory = path_text::text(folder);
    }

    /// What the settings say about the data, as a request for them.
    pub fn data_request(&self) -> Request {
        let DataConfig { verify, size, channels, validation, classes, label, .. } = &self.data;
        Request {
            directory: self.data_folder(),
            verify: *verify,
            size: <[usize; 2]>::try_from(size.as_slice()).ok(),
            channels: (*channels != 0).then_some(*channels),
            validation: *validation,
            classes: classes.clone(),
            label: (!label.is_empty()).then(|| label.clone()),
        }
    }

    /// The file with the description of the network; none for a preset.
    pub fn model_file(&self) -> Option<PathBuf> {
        named(&self.model.file)
    }

    /// Takes the network that this file describes.
    pub fn set_model_file(&mut self, file: &Path) {
        self.model.file = path_text::text(file);
    }

    /// The run, or the safetensors file, with whose weights training begins.
    pub fn init_path(&self) -> Option<PathBuf> {
        named(&self.training.init)
    }

    /// Begins with the float network of this run, or with the weights of this file.
    pub fn set_init(&mut self, path: &Path) {
        self.training.init = path_text::text(path);
    }

    /// Begins with the float network of this run, or with the weights of this file, and takes them as they are.
    pub fn set_init_as_it_is(&mut self, path: &Path) {
        self.set_init(path);
        self.training.float_epochs = 0;
    }

    /// The file that says which tensor of `training.init` is which.
    pub fn rename_path(&self) -> Option<PathBuf> {
        named(&self.training.rename)
    }

    /// Takes the tensors of `training.init` under the names of this file.
    pub fn set_rename(&mut self, file: &Path) {
        self.training.rename = path_text::text(file);
    }
}

/// The path that a text names; none for an empty one.
fn named(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| path_text::path(text))
}

fn parse(text: &str, source_name: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        source_name: with_line(source_name, text, &error),
        problem: one_line(error.message()),
    })
}

/// The name of a text with the line at which it is wrong.
pub(crate) fn with_line(source_name: &str, text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("{source_name}:{}", 1 + before.matches('\n').count()),
        None => source_name.to_string(),
    }
}

#[cfg(test)]
mod tests;
