use serde::{Deserialize, Serialize};

use super::{ConfigError, Section, counts, in_range};

/// Measurements of gradients and hard values during the quantised stage, written to metrics.csv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagnoseConfig {
    /// Steps between measurements, each of which takes two; 0 for none.
    pub every: u64,
    /// Pairs of random directions of the zeroth-order reference; each costs four forward passes.
    pub probes: u32,
}

impl Default for DiagnoseConfig {
    fn default() -> Self {
        Self { every: 0, probes: 8 }
    }
}

impl Section for DiagnoseConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        counts("diagnose.every", self.every, 0)?;
        in_range("diagnose.probes", f64::from(self.probes), 1.0..=10_000.0, "a whole number from 1 to 10000")
    }
}
