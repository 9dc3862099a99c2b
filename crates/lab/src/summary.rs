use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::path_text;

/// What training prints at its end, and `summary.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the data set.
    pub data: String,
    /// True if the files of the set have their published checksums.
    pub data_verified: bool,
    /// Seed of the run.
    pub seed: u64,
    /// Float, post-training quantisation, and quantisation-aware training where there was some.
    pub rows: Vec<Row>,
    /// Outputs of the packed model that equal the trained model's, and outputs compared; none if it could not be packed.
    pub verified: Option<[usize; 2]>,
    /// Accuracy of the two models of this comparison.
    pub accuracy: Option<ProofAccuracy>,
    /// Why there is no packed model.
    pub not_packed: Option<String>,
    /// The run folder.
    #[serde(with = "path_text")]
    pub folder: PathBuf,
}

/// One model of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub model: String,
    /// Bits of weights and activations between the first and the last layer.
    pub bits: [u32; 2],
    /// Share of held-out images that are classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Size of its file.
    pub bytes: u64,
    /// Time for one image, in microseconds, when the held-out set is classified on all threads.
    pub microseconds_per_image: f64,
    /// What computed the outputs: the packed model's integers, or float32.
    pub arithmetic: String,
}

/// Accuracy on both sides of a proof: equal outputs of a wrong model would show here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofAccuracy {
    /// Of the trained model.
    pub trained: f64,
    /// Of the packed file.
    pub packed: f64,
}
