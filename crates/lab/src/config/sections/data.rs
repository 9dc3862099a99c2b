use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Section};

/// Where the images come from, and what becomes of them before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// Folder or file of the data; empty for the embedded subset of Fashion-MNIST. A path that is not Unicode stands
    /// here as `percent:` and its bytes, see [`Config::set_data_folder`](crate::Config::set_data_folder).
    pub directory: String,
    /// Refuse files that differ from those of the known set to which another file of the folder belongs.
    pub verify: bool,
    /// Height and width to which images are resized; empty to take them as they are.
    pub size: Vec<usize>,
    /// Channels to which images are converted: 1 for grey, 3 for colour, 0 to take them as they are.
    pub channels: usize,
    /// Share of the training data that is split off for the choice of the best model and for early stopping; 0 for
    /// none.
    pub validation: f64,
    /// Names of the classes, in the order of their numbers; empty to take those that the data have.
    pub classes: Vec<String>,
    /// Column of a table that holds the class; empty for `label`, or the last one where there is none of that name.
    pub label: String,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            directory: String::new(),
            verify: true,
            size: Vec::new(),
            channels: 0,
            validation: 0.1,
            classes: Vec::new(),
            label: String::new(),
        }
    }
}

/// Most pixels of a side of an image.
pub(in crate::config) const LARGEST_SIDE: usize = 4096;

impl Section for DataConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        let sides = 1..=LARGEST_SIDE;
        if !(self.size.is_empty() || self.size.len() == 2 && self.size.iter().all(|side| sides.contains(side))) {
            let expected = format!("height and width, two whole numbers from 1 to {LARGEST_SIDE}, or [] for none");
            return Err(ConfigError::range("data.size", expected, format!("{:?}", self.size)));
        }
        if ![0, 1, 3].contains(&self.channels) {
            return Err(ConfigError::range("data.channels", "1 (grey), 3 (colour) or 0 (as they are)", self.channels));
        }
        if !(0.0..=0.9).contains(&self.validation) {
            return Err(ConfigError::range("data.validation", "from 0 to 0.9", self.validation));
        }
        let mut names = BTreeSet::new();
        match self.classes.iter().find(|name| name.is_empty() || !names.insert(name.as_str())) {
            Some(name) => Err(ConfigError::range("data.classes", "names, each of them once", format!("{name:?}"))),
            None => Ok(()),
        }
    }
}
