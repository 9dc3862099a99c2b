//! What tells the files of runs from others: their names, and the entry in the headers of models and checkpoints.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::Claim;

/// Every setting, as training started.
pub(crate) const CONFIG: &str = "config.toml";
/// The network as a description.
pub(crate) const DESCRIPTION: &str = "model.toml";
/// A row an epoch.
pub(crate) const METRICS: &str = "metrics.csv";
/// The table for machines.
pub(crate) const SUMMARY: &str = "summary.json";
/// The picture of the metrics.
pub(crate) const CURVE: &str = "curve.svg";
/// The network after the float stage.
pub(crate) const FLOAT_MODEL: &str = "float.safetensors";
/// The network after the last stage.
pub(crate) const MODEL: &str = "model.safetensors";
/// The packed model.
pub(crate) const PACKED: &str = "model.packed.safetensors";
/// The folder of the checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// What a run makes, besides its config and its checkpoints.
pub(crate) const MADE: [&str; 7] = [DESCRIPTION, METRICS, SUMMARY, CURVE, FLOAT_MODEL, MODEL, PACKED];

/// True for a folder with a config and anything that training made of it.
pub(crate) fn is_run(folder: &Path) -> bool {
    let mut made = MADE.iter().filter(|name| **name != DESCRIPTION).chain([&CHECKPOINTS]);
    folder.join(CONFIG).is_file() && made.any(|name| folder.join(name).exists())
}

/// True for the names that a run gives to its files.
pub(super) fn is_name(name: &str) -> bool {
    name == CONFIG || name == Claim::NAME || MADE.contains(&name)
}

/// The key of the JSON description in a safetensors header.
pub(crate) const KEY: &str = "hardgrad";

/// How all formats of model files begin.
pub(crate) const MODEL_FORMATS: &str = "hardgrad model";
/// How all formats of checkpoints begin.
pub(crate) const CHECKPOINT_FORMATS: &str = "hardgrad checkpoint";

/// The format that the header of a model or a checkpoint names, whatever its version.
pub(crate) fn format_in(header: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: HashMap<String, String>,
    }
    #[derive(Deserialize)]
    struct Sealed {
        description: Format,
    }
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let Header { metadata } = serde_json::from_slice(header).ok()?;
    let sealed: Sealed = serde_json::from_str(metadata.get(KEY)?).ok()?;
    Some(sealed.description.format)
}

/// Whether this header of a safetensors file is that of a model or a checkpoint of a run, whatever its version.
pub(crate) fn is_header_of_a_run(header: &[u8]) -> bool {
    format_in(header).is_some_and(|format| format.starts_with(MODEL_FORMATS) || format.starts_with(CHECKPOINT_FORMATS))
}
