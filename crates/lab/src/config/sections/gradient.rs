use hardgrad::zeroth_order::GradientConfig;

use super::{ConfigError, Section};

impl Section for GradientConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        self.method().map(drop).map_err(ConfigError::Gradient)
    }
}
