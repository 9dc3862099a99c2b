use std::path::Path;

use hardgrad_runtime::{LayerSummary, PackedModel};
use serde::Serialize;

use crate::evaluate::load_quantized;
use crate::export::pack;
use crate::{LabError, Run, files};

/// What a packed model consists of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// A row a layer.
    pub layers: Vec<LayerSummary>,
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
}

/// Inspects a packed file, or packs the model of a run folder in memory and inspects that.
pub fn inspect(path: &Path) -> Result<Inspection, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let (model, bytes) = if path.is_dir() {
        let run = Run::open(path)?;
        let (network, shape) = load_quantized(&run, &run.config()?)?;
        let bytes = pack(&network, &shape, path)?;
        (PackedModel::from_bytes(&bytes).map_err(problem)?, bytes.len() as u64)
    } else {
        let model = PackedModel::read(path).map_err(problem)?;
        let size = std::fs::metadata(path).map_err(|cause| files::FileError::new(path, "reading", cause))?.len();
        (model, size)
    };
    let layers = model.summary();
    let parameters = layers.iter().map(|layer| layer.parameters).sum();
    let stored: usize = layers.iter().map(|layer| layer.bytes).sum();
    let float_bytes = 4 * parameters as u64;
    Ok(Inspection {
        parameters,
        bytes,
        header_bytes: bytes.saturating_sub(stored as u64),
        float_bytes,
        compression: float_bytes as f64 / bytes as f64,
        multiply_accumulates: layers.iter().map(|layer| layer.multiply_accumulates).sum(),
        layers,
    })
}
