use std::path::Path;

use hardgrad_runtime::{NodeSummary, PackedModel};
use serde::Serialize;

use crate::config::{ModelConfig, QuantizationConfig};
use crate::data::{self, DataIdentity};
use crate::evaluate::{load_quantized, read_packed};
use crate::export::pack;
use crate::tensor_file::ModelDescription;
use crate::{LabError, Run, files};

/// What a packed model consists of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// A row a node.
    pub nodes: Vec<NodeSummary>,
    /// Weights, biases and other values of the network.
    pub parameters: usize,
    /// Size of the packed file, with its header.
    pub bytes: u64,
    /// Size of the header: names, shapes, layer descriptions.
    pub header_bytes: u64,
    /// Size of the same values as float32.
    pub float_bytes: u64,
    /// `float_bytes / bytes`.
    pub compression: f64,
    /// Multiplications with addition for one image.
    pub multiply_accumulates: u64,
    /// What only a run folder knows.
    pub training: Option<Training>,
}

/// How the model of a run was trained, by its model file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
    /// Name of the recipe.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// The network.
    pub model: ModelConfig,
    /// Its quantisers.
    pub quantization: Option<QuantizationConfig>,
    /// The files of the images, with their checksums.
    pub data: DataIdentity,
    /// What became of these images: unchanged, changed or gone; and whether `config.toml` was changed.
    pub notes: Vec<String>,
}

/// Inspects a packed file, or packs the model of a run folder in memory and inspects that.
pub fn inspect(path: &Path) -> Result<Inspection, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let (model, bytes, training) = if path.is_dir() {
        let run = Run::open(path)?;
        let (network, description) = load_quantized(&run)?;
        let bytes = pack(&network, &description.shape, path)?;
        let training = training(&run, description);
        (PackedModel::from_bytes(&bytes).map_err(problem)?, bytes.len() as u64, Some(training))
    } else {
        let model = read_packed(path)?;
        let size = std::fs::metadata(path).map_err(|cause| files::FileError::new(path, "reading", cause))?.len();
        (model, size, None)
    };
    let nodes = model.summary();
    let parameters = nodes.iter().map(|node| node.parameters).sum();
    let stored: usize = nodes.iter().map(|node| node.bytes).sum();
    let float_bytes = 4 * parameters as u64;
    Ok(Inspection {
        parameters,
        bytes,
        header_bytes: bytes.saturating_sub(stored as u64),
        float_bytes,
        compression: float_bytes as f64 / bytes as f64,
        multiply_accumulates: nodes.iter().map(|node| node.multiply_accumulates).sum(),
        nodes,
        training,
    })
}

fn training(run: &Run, description: ModelDescription) -> Training {
    let images = match run.config().and_then(|config| Ok(data::load(config.data_folder().as_deref(), false)?)) {
        Ok(set) => match description.data.first_difference(&set.identity) {
            None => "the images are those of the training still".to_string(),
            Some(file) => format!("the images that config.toml names are not those of the training: {file} differs"),
        },
        Err(problem) => format!("whether the images are those of the training could not be seen: {problem}"),
    };
    let before = description.before.iter().map(|origin| {
        let other = description.data.first_difference(&origin.data);
        let other = other.map_or_else(String::new, |file| format!(", other images: {file} differs"));
        format!("it began with the network of a run with seed {} on {}{other}", origin.seed, origin.data.name)
    });
    let notes = before.chain([images]).chain(description.changed_settings(run)).collect();
    let ModelDescription { recipe, seed, model, quantization, data, .. } = description;
    Training { recipe, seed, model, quantization, data, notes }
}
