use hardgrad_kernels::images::Augmentation;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Section, in_range};

/// Random changes of training images; tables are not changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AugmentationConfig {
    /// Mirror half of the images left to right; switch it off for digits.
    pub horizontal_flip: bool,
    /// Shift by up to this many pixels in each direction.
    pub shift: u32,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self { horizontal_flip: true, shift: 0 }
    }
}

impl Section for AugmentationConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        in_range("augmentation.shift", f64::from(self.shift), 0.0..=64.0, "a whole number from 0 to 64")
    }
}

impl From<&AugmentationConfig> for Augmentation {
    fn from(config: &AugmentationConfig) -> Self {
        Self { horizontal_flip: config.horizontal_flip, shift: config.shift }
    }
}
