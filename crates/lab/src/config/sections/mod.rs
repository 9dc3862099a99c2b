//! The sections of a config, a file each: what they hold, their defaults, their check.

mod augmentation;
mod data;
mod diagnose;
mod gradient;
mod model;
mod quantization;
mod training;

pub use augmentation::AugmentationConfig;
pub use data::DataConfig;
pub(super) use data::LARGEST_SIDE;
pub use diagnose::DiagnoseConfig;
pub use model::{ConvNetSizes, LeNetSizes, MlpSizes, ModelConfig, ResNet20Sizes, VitSizes};
pub(crate) use quantization::merged;
pub use quantization::{FLOAT_BITS, QuantizationConfig};
pub(super) use quantization::{check_quantizers, check_rule};
pub use training::{Keep, TrainingConfig};

use super::ConfigError;

/// A table of settings that belong together. The settings of a recipe are a struct of sections, its own and shared
/// ones.
pub(crate) trait Section: Default {
    /// Fails where a value on its own is out of its range.
    fn check_values(&self) -> Result<(), ConfigError>;

    /// Fails where values of the section do not go together; each of them is in its range.
    fn check_together(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// Fails where a number is outside of a range; `expected` is the range in words.
fn in_range(
    key: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) { Ok(()) } else { Err(ConfigError::range(key, expected, value)) }
}

/// Fails where a count is more than a thousand million, or less than `least`.
fn counts(key: &'static str, value: u64, least: u64) -> Result<(), ConfigError> {
    let most = 1_000_000_000;
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::range(key, format!("a whole number from {least} to {most}"), value))
}

/// Fails where the size of a layer is 0 or larger than any that fits.
fn sizes<'a>(key: &'static str, values: impl IntoIterator<Item = &'a usize>) -> Result<(), ConfigError> {
    match values.into_iter().find(|value| !(1..=65_536).contains(*value)) {
        Some(value) => Err(ConfigError::range(key, "whole numbers from 1 to 65536", value)),
        None => Ok(()),
    }
}
