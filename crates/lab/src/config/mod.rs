//! The settings of a run: complete defaults, changed by a TOML file and by `key=value` pairs.

pub(crate) mod changes;
mod error;
pub(crate) mod path_text;

use std::path::{Path, PathBuf};

use hardgrad::quantize::{QuantizerConfig, RangeMethod, Role};
use hardgrad::zeroth_order::{GradientConfig, MethodName};
use hardgrad_kernels::images::Augmentation;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::RECIPES;
use changes::{nearest, one_line};
pub use error::ConfigError;

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

/// Where the images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// Folder with the four IDX files; empty for the embedded subset of Fashion-MNIST. A path that is not Unicode stands here as
    /// `percent:` and its bytes, see [`Config::set_data_folder`].
    pub directory: String,
    /// Refuse files that differ from those of the known set to which another file of the folder belongs.
    pub verify: bool,
}

/// The convolutional network: blocks of convolution, batch norm, 2x2 max pooling and ReLU, then linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Output channels of each block.
    pub channels: Vec<usize>,
    /// Height and width of all kernels; odd.
    pub kernel_size: usize,
    /// Outputs of each hidden linear layer.
    pub hidden: Vec<usize>,
}

/// Epochs, rates, checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Images a step.
    pub batch_size: usize,
    /// Run folder with whose float network training begins; empty for random weights.
    pub init: String,
    /// Passes over the training images in float32; 0 takes the network of `init` as it is.
    pub float_epochs: u64,
    /// Passes with quantisation, after the float ones; 0 for quantisation after training alone.
    pub quantized_epochs: u64,
    /// Highest learning rate of the float stage (Adam, linear warm-up, then cosine to 0).
    pub float_learning_rate: f64,
    /// Highest learning rate of the quantised stage.
    pub quantized_learning_rate: f64,
    /// Learning rate of quantiser ranges as a share of the rate of weights; ranges are learned as logarithms, so a step of Adam at
    /// a rate of 0.001 moves them by 0.1 %.
    pub range_rate_factor: f64,
    /// Steps at the start of each stage in which the rate rises from 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay of weights, as a share of the rate.
    pub weight_decay: f64,
    /// Share of each target that is spread over all classes.
    pub label_smoothing: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Random changes of training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AugmentationConfig {
    /// Mirror half of the images left to right; switch it off for digits.
    pub horizontal_flip: bool,
    /// Shift by up to this many pixels in each direction.
    pub shift: u32,
}

/// Bits and range methods. The first layer's input is the 8-bit image itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationConfig {
    /// Bits of weights, 1 to 8, or 32 for float32.
    pub weight_bits: u32,
    /// Bits of activations, 1 to 8, or 32 for float32.
    pub activation_bits: u32,
    /// Bits of the first layer's weights.
    pub first_layer_bits: u32,
    /// Bits of the last layer's weights.
    pub last_layer_bits: u32,
    /// Range method of weights: fixed, min_max, lsq or dorefa.
    pub weight_range: RangeMethod,
    /// Range method of activations: fixed, min_max, moving_average, lsq, pact or dorefa.
    pub activation_range: RangeMethod,
    /// One scale for each output channel of a weight.
    pub per_channel: bool,
    /// A zero point for weights and activations; only for min_max and moving_average.
    pub zero_point: bool,
    /// The scale of the fixed range method.
    pub fixed_scale: f64,
    /// Steps of the quantised stage before quantisation begins.
    pub delay: u64,
    /// Training images from which activation ranges are set before the quantised stage.
    pub calibration_images: usize,
}

/// Measurements of gradients and hard values during the quantised stage, written to metrics.csv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagnoseConfig {
    /// Steps between measurements, each of which takes two; 0 for none.
    pub every: u64,
    /// Pairs of random directions of the zeroth-order reference; each costs four forward passes.
    pub probes: u32,
}

/// Bits that mean float32.
pub const FLOAT_BITS: u32 = 32;

impl Default for Config {
    fn default() -> Self {
        Self {
            recipe: RECIPES[0].name.to_string(),
            seed: 0,
            data: DataConfig { directory: String::new(), verify: true },
            model: ModelConfig { channels: vec![32, 64], kernel_size: 5, hidden: vec![512] },
            training: TrainingConfig {
                batch_size: 128,
                init: String::new(),
                float_epochs: 10,
                quantized_epochs: 5,
                float_learning_rate: 0.002,
                quantized_learning_rate: 0.001,
                range_rate_factor: 1.0,
                warmup_steps: 50,
                weight_decay: 0.05,
                label_smoothing: 0.1,
                checkpoint_every: 200,
            },
            augmentation: AugmentationConfig { horizontal_flip: true, shift: 0 },
            quantization: QuantizationConfig {
                weight_bits: 4,
                activation_bits: 4,
                first_layer_bits: 8,
                last_layer_bits: 8,
                weight_range: RangeMethod::Lsq,
                activation_range: RangeMethod::Lsq,
                per_channel: true,
                zero_point: false,
                fixed_scale: 0.1,
                delay: 0,
                calibration_images: 512,
            },
            gradient: GradientConfig::default(),
            diagnose: DiagnoseConfig { every: 0, probes: 8 },
        }
    }
}

impl Config {
    /// The complete defaults of a recipe.
    pub fn of_recipe(name: &str) -> Result<Self, ConfigError> {
        match RECIPES.iter().find(|recipe| recipe.name == name) {
            Some(_) => Ok(Self::default()),
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

    /// The folder of the images; none for the embedded ones.
    pub fn data_folder(&self) -> Option<PathBuf> {
        folder(&self.data.directory)
    }

    /// Takes the images from this folder.
    pub fn set_data_folder(&mut self, folder: &Path) {
        self.data.directory = path_text::text(folder);
    }

    /// The run with whose float network training begins.
    pub fn init_folder(&self) -> Option<PathBuf> {
        folder(&self.training.init)
    }

    /// Begins with the float network of the run in this folder, and takes it as it is.
    pub fn set_init_folder(&mut self, folder: &Path) {
        self.set_init(folder);
        self.training.float_epochs = 0;
    }

    /// Begins with the float network of the run in this folder.
    pub fn set_init(&mut self, folder: &Path) {
        self.training.init = path_text::text(folder);
    }

    /// A complete or partial config; keys that are not given keep their defaults. `source_name` is for errors.
    pub fn from_toml(text: &str, source_name: &str) -> Result<Self, ConfigError> {
        let given = Self::parse(text, source_name)?;
        let recipe = given.get("recipe").and_then(Value::as_str).unwrap_or(RECIPES[0].name);
        Self::of_recipe(recipe)?.changed(given, source_name)
    }

    /// This config with what the text, a complete or partial one, says otherwise.
    pub fn with_toml(self, text: &str, source_name: &str) -> Result<Self, ConfigError> {
        self.changed(Self::parse(text, source_name)?, source_name)
    }

    fn parse(text: &str, source_name: &str) -> Result<Table, ConfigError> {
        text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            source_name: match error.span() {
                Some(span) => format!("{source_name}:{}", 1 + text[..span.start].matches('\n').count()),
                None => source_name.to_string(),
            },
            problem: one_line(error.message()),
        })
    }

    /// The config after `key=value` changes; a value is TOML, or a string where it is not.
    pub fn with_changes(self, changes: &[String]) -> Result<Self, ConfigError> {
        changes.iter().try_fold(self, |config, change| {
            let (given, source_name) = changes::parse(change)?;
            config.changed(given, &source_name)
        })
    }

    fn changed(self, given: Table, source_name: &str) -> Result<Self, ConfigError> {
        changes::changed(
            &self,
            given,
            source_name,
            &changes::Keys { all: self.keys(), show: "recipes show qat".to_string() },
        )
    }

    /// Fails where a value is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { model, training, quantization, .. } = self;
        Self::of_recipe(&self.recipe)?;
        if i64::try_from(self.seed).is_err() {
            return Err(out_of_range("seed", "at most 9223372036854775807", self.seed));
        }
        let at_least_1 =
            |key, value: u64| in_range(key, value as f64, 1.0..=1e9, "a whole number from 1 to 1000000000");
        for channels in model.channels.iter().chain(&model.hidden) {
            in_range(
                "model.channels and model.hidden",
                *channels as f64,
                1.0..=65_536.0,
                "whole numbers from 1 to 65536",
            )?;
        }
        if model.kernel_size % 2 == 0 || model.kernel_size > 31 {
            return Err(out_of_range("model.kernel_size", "odd and at most 31", model.kernel_size));
        }
        in_range("training.batch_size", training.batch_size as f64, 2.0..=65_536.0, "a whole number from 2 to 65536")?;
        for (key, epochs) in
            [("training.float_epochs", training.float_epochs), ("training.quantized_epochs", training.quantized_epochs)]
        {
            in_range(key, epochs as f64, 0.0..=1e9, "a whole number from 0 to 1000000000")?;
        }
        if training.float_epochs == 0 && training.init.is_empty() {
            let expected =
                "at least 1 where the network begins with random weights; give a trained one with --init RUN";
            return Err(out_of_range("training.float_epochs", expected, training.float_epochs));
        }
        at_least_1("training.checkpoint_every", training.checkpoint_every)?;
        for (key, steps) in
            [("training.warmup_steps", training.warmup_steps), ("quantization.delay", quantization.delay)]
        {
            in_range(key, steps as f64, 0.0..=1e9, "a whole number from 0 to 1000000000")?;
        }
        for (key, value) in [
            ("training.float_learning_rate", training.float_learning_rate),
            ("training.quantized_learning_rate", training.quantized_learning_rate),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(out_of_range(key, "above 0 and finite", value));
            }
        }
        in_range("training.range_rate_factor", training.range_rate_factor, 0.0..=100.0, "from 0 to 100")?;
        in_range("training.weight_decay", training.weight_decay, 0.0..=1.0, "from 0 to 1")?;
        in_range("training.label_smoothing", training.label_smoothing, 0.0..=0.99, "from 0 to 0.99")?;
        in_range("augmentation.shift", f64::from(self.augmentation.shift), 0.0..=64.0, "a whole number from 0 to 64")?;
        for (key, bits) in [
            ("quantization.weight_bits", quantization.weight_bits),
            ("quantization.activation_bits", quantization.activation_bits),
            ("quantization.first_layer_bits", quantization.first_layer_bits),
            ("quantization.last_layer_bits", quantization.last_layer_bits),
        ] {
            if !(1..=8).contains(&bits) && bits != FLOAT_BITS {
                return Err(out_of_range(key, "1 to 8, or 32 for float32", bits));
            }
        }
        self.gradient.method().map_err(ConfigError::Gradient)?;
        let all_bits = [quantization.weight_bits, quantization.first_layer_bits, quantization.last_layer_bits];
        let quantized = all_bits.iter().any(|bits| *bits != FLOAT_BITS);
        if self.gradient.method != MethodName::StraightThrough && !quantized {
            return Err(ConfigError::NothingToProbe { method: self.gradient.method.name() });
        }
        in_range("diagnose.every", self.diagnose.every as f64, 0.0..=1e9, "a whole number from 0 to 1000000000")?;
        in_range("diagnose.probes", f64::from(self.diagnose.probes), 1.0..=10_000.0, "a whole number from 1 to 10000")?;
        let images = quantization.calibration_images as f64;
        in_range("quantization.calibration_images", images, 1.0..=10_000.0, "a whole number from 1 to 10000")?;
        if !(quantization.fixed_scale >= f64::from(f32::MIN_POSITIVE) && quantization.fixed_scale <= 1e30) {
            return Err(out_of_range("quantization.fixed_scale", "from 1.2e-38 to 1e30", quantization.fixed_scale));
        }
        for bits in all_bits {
            if let Some(config) = quantization.weights(bits) {
                let problem = |problem| ConfigError::Quantizer { key: "quantization.weight_range", problem };
                config.check(Role::Weight).map_err(problem)?;
            }
        }
        if let Some(config) = quantization.activations() {
            let problem = |problem| ConfigError::Quantizer { key: "quantization.activation_range", problem };
            config.check(Role::Activation).map_err(problem)?;
        }
        Ok(())
    }
}

impl QuantizationConfig {
    /// The quantiser of weights with so many bits; none for float32.
    pub fn weights(&self, bits: u32) -> Option<QuantizerConfig> {
        (bits != FLOAT_BITS).then(|| QuantizerConfig {
            range: self.weight_range,
            per_channel: self.per_channel,
            ..self.common(QuantizerConfig::weights(bits))
        })
    }

    /// The quantiser of activations; none for float32.
    pub fn activations(&self) -> Option<QuantizerConfig> {
        (self.activation_bits != FLOAT_BITS).then(|| QuantizerConfig {
            range: self.activation_range,
            ..self.common(QuantizerConfig::activations(self.activation_bits))
        })
    }

    /// The same without any quantiser.
    pub(crate) fn in_float(self) -> Self {
        let bits = FLOAT_BITS;
        Self { weight_bits: bits, activation_bits: bits, first_layer_bits: bits, last_layer_bits: bits, ..self }
    }

    fn common(&self, config: QuantizerConfig) -> QuantizerConfig {
        QuantizerConfig {
            zero_point: self.zero_point,
            fixed_scale: self.fixed_scale as f32,
            delay: self.delay,
            ..config
        }
    }
}

impl From<&AugmentationConfig> for Augmentation {
    fn from(config: &AugmentationConfig) -> Self {
        Self { horizontal_flip: config.horizontal_flip, shift: config.shift }
    }
}

/// The folder that a text names; none for an empty one.
fn folder(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| path_text::path(text))
}

fn in_range(
    key: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) { Ok(()) } else { Err(out_of_range(key, expected, value)) }
}

fn out_of_range(key: &'static str, expected: &str, found: impl ToString) -> ConfigError {
    ConfigError::Range { key, expected: expected.to_string(), found: found.to_string() }
}

impl Config {
    /// The first key whose value differs from that of `other`.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        let table = |config: &Self| Table::try_from(config).expect("a config holds only what TOML can");
        let (ours, theirs) = (table(self), table(other));
        let value = |table: &Table, key: &str| {
            let mut parts = key.split('.');
            let first = table.get(parts.next()?)?;
            parts.try_fold(first.clone(), |value, part| value.get(part).cloned())
        };
        self.keys().into_iter().find(|key| value(&ours, key) != value(&theirs, key))
    }

    /// Every key with its sections, such as `training.batch_size`.
    fn keys(&self) -> Vec<String> {
        let table = Table::try_from(self).expect("a config holds only what TOML can");
        let mut keys = Vec::new();
        for (name, value) in table {
            match value {
                Value::Table(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
                _ => keys.push(name),
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests;
