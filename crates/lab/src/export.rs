use std::path::Path;
use std::time::Instant;

use hardgrad_runtime::{Comparison, PackedModel, first_difference};
use serde::Serialize;

use crate::data::Images;
use crate::evaluate::{held_out, load_quantized, logits};
use crate::network::packed_input;
use crate::{ConvNet, LabError, NetworkShape, Run, files};

/// What an export wrote and proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Export {
    /// Size of the packed file.
    pub bytes: u64,
    /// Size of the run's `model.safetensors`, whose weights are float32.
    pub float_bytes: u64,
    /// Held-out images whose outputs equal the trained model's to the last bit.
    pub identical: usize,
    /// Held-out images compared.
    pub images: usize,
}

/// Packs a run's model, compares it with the trained one on all held-out images, and writes it to `out` if every output is
/// identical.
pub fn export_run(folder: &Path, out: &Path, data: Option<&Path>, force: bool) -> Result<Export, LabError> {
    if !force && std::fs::symlink_metadata(out).is_ok() {
        let out = out.display();
        return Err(LabError::Usage(format!(
            "{out}: the file exists; choose another --out or replace it with --force"
        )));
    }
    let run = Run::open(folder)?;
    if run.owns(out) {
        let out = out.display();
        return Err(LabError::Usage(format!("{out}: the run itself needs this file; choose another --out")));
    }
    let config = run.config()?;
    let (network, shape) = load_quantized(&run, &config)?;
    let images = held_out(&config, data, &shape)?;
    let packed = pack(&network, &shape, out)?;
    let (trained, _) = logits(&network, &images, &shape);
    let proof = verify(&packed, &trained, &images, &shape, out)?;
    files::write_atomically(out, &packed)?;
    let float_bytes = files::read(&run.model_path())?.len() as u64;
    Ok(Export { bytes: packed.len() as u64, float_bytes, identical: proof.identical, images: images.len() })
}

/// The packed file of a network; `path` is for errors.
pub(crate) fn pack(network: &ConvNet, shape: &NetworkShape, path: &Path) -> Result<Vec<u8>, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let model = PackedModel::new(packed_input(shape), shape.class_names.clone(), network.pack()?).map_err(problem)?;
    model.to_bytes().map_err(problem)
}

/// Images that are classified before time is taken.
const WARM_UP: usize = 100;

/// A comparison in which nothing differed, and what the packed model needed for it.
pub(crate) struct Proof {
    /// Images with identical outputs: all of them.
    pub identical: usize,
    /// Seconds in which the packed model classified all images.
    pub seconds: f64,
}

/// Runs the packed bytes, as a reader of the file would, and compares every output with the trained model's.
pub(crate) fn verify(
    packed: &[u8],
    trained: &[f32],
    images: &Images,
    shape: &NetworkShape,
    path: &Path,
) -> Result<Proof, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let executor = PackedModel::from_bytes(packed).and_then(|model| model.plan()).map_err(problem)?;
    // The first images pay for memory and threads; they are not timed.
    let first = &images.pixels[..images.pixels.len().min(WARM_UP * images.height * images.width)];
    executor.logits(first).map_err(problem)?;
    let begin = Instant::now();
    let found = executor.logits(&images.pixels).map_err(problem)?;
    let seconds = begin.elapsed().as_secs_f64();
    let Comparison { identical_rows, total_rows, first } = first_difference(trained, &found, shape.class_names.len());
    match first {
        None => Ok(Proof { identical: identical_rows, seconds }),
        Some(first) => Err(LabError::NotIdentical {
            different: total_rows - identical_rows,
            total: total_rows,
            image: first.row,
            class: first.column,
            trained: first.a,
            packed: first.b,
        }),
    }
}
