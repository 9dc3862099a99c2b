//! A data set.

use super::identity::DataIdentity;
use super::images::Images;

/// A set of labelled images or rows, all of one shape; there are some to train on and some to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name of the known set, or else of the folder or file.
    pub name: String,
    /// Names of the classes, the label being the index.
    pub class_names: Vec<String>,
    /// What to train on.
    pub train: Images,
    /// Split off from the training data to choose and to stop by; may be empty.
    pub validation: Images,
    /// What to test on.
    pub test: Images,
    /// Whether all four files are those of a known set, by their SHA-256.
    pub verified: bool,
    /// The files by their SHA-256.
    pub identity: DataIdentity,
    /// What to say where some of the files, but not all, are those of a known set.
    pub altered: Option<String>,
    /// What was left out and what was held out when the set was read, a line each.
    pub remarks: Vec<String>,
}
