use serde::{Deserialize, Serialize};

use super::{ConfigError, Section, counts, in_range};

/// Epochs, rates, checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Images a step.
    pub batch_size: usize,
    /// Where training begins: the folder of a run whose float network is taken, or a safetensors file of weights that
    /// were trained elsewhere; empty for random weights.
    pub init: String,
    /// File of two columns, names of the tensors in `init` and names here; empty where the names are the same.
    pub rename: String,
    /// Passes over the training images in float32; 0 takes the network of `init` as it is.
    pub float_epochs: u64,
    /// Passes with quantisation, after the float ones; 0 for quantisation after training alone.
    pub quantized_epochs: u64,
    /// Which network a stage ends with: that of the last epoch, or of the epoch that was best on the validation data.
    pub keep: Keep,
    /// Epochs without a better result on the validation data after which a stage ends early; 0 for never.
    pub patience: u64,
    /// Highest learning rate of the float stage (Adam, linear warm-up, then cosine to 0).
    pub float_learning_rate: f64,
    /// Highest learning rate of the quantised stage.
    pub quantized_learning_rate: f64,
    /// Learning rate of quantiser ranges as a share of the rate of weights; ranges are learned as logarithms, so a step
    /// of Adam at a rate of 0.001 moves them by 0.1 %.
    pub range_rate_factor: f64,
    /// Steps at the start of each stage in which the rate rises from 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay of weights, as a share of the rate.
    pub weight_decay: f64,
    /// Largest length of the gradient of all parameters together, to which longer ones are shortened; 0 for any length.
    pub clip_norm: f64,
    /// Share of each target that is spread over all classes.
    pub label_smoothing: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Which network a stage ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// That of the last epoch.
    #[default]
    Last,
    /// That of the epoch with the best result on the validation data.
    Best,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            batch_size: 128,
            init: String::new(),
            rename: String::new(),
            float_epochs: 10,
            quantized_epochs: 5,
            keep: Keep::Last,
            patience: 0,
            float_learning_rate: 0.002,
            quantized_learning_rate: 0.001,
            range_rate_factor: 1.0,
            warmup_steps: 50,
            weight_decay: 0.05,
            clip_norm: 0.0,
            label_smoothing: 0.1,
            checkpoint_every: 200,
        }
    }
}

impl Section for TrainingConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        in_range("training.batch_size", self.batch_size as f64, 2.0..=65_536.0, "a whole number from 2 to 65536")?;
        counts("training.float_epochs", self.float_epochs, 0)?;
        counts("training.quantized_epochs", self.quantized_epochs, 0)?;
        counts("training.patience", self.patience, 0)?;
        counts("training.checkpoint_every", self.checkpoint_every, 1)?;
        counts("training.warmup_steps", self.warmup_steps, 0)?;
        for (key, value) in [
            ("training.float_learning_rate", self.float_learning_rate),
            ("training.quantized_learning_rate", self.quantized_learning_rate),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ConfigError::range(key, "above 0 and finite", value));
            }
        }
        in_range("training.range_rate_factor", self.range_rate_factor, 0.0..=100.0, "from 0 to 100")?;
        in_range("training.weight_decay", self.weight_decay, 0.0..=1.0, "from 0 to 1")?;
        in_range("training.clip_norm", self.clip_norm, 0.0..=1e30, "from 0 to 1e30, 0 for none")?;
        in_range("training.label_smoothing", self.label_smoothing, 0.0..=0.99, "from 0 to 0.99")
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        if self.float_epochs == 0 && self.init.is_empty() {
            let expected = "at least 1 where the network begins with random weights; give a trained one with --init";
            return Err(ConfigError::range("training.float_epochs", expected, self.float_epochs));
        }
        if self.init.is_empty() && !self.rename.is_empty() {
            let expected = "empty where training.init is; it renames the tensors of that file";
            return Err(ConfigError::range("training.rename", expected, format!("{:?}", self.rename)));
        }
        Ok(())
    }
}
