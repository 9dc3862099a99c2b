use std::path::Path;
use std::time::Instant;

use hardgrad::network::Network;
use hardgrad_runtime::{Arithmetic, Comparison, PackedModel, first_difference};
use serde::Serialize;

use crate::data::Images;
use crate::files::{self, FileError};
use crate::held_out::{HeldOut, held_out};
use crate::model_file::load_trained;
use crate::outputs::{accuracy, logits};
use crate::summary::ProofAccuracy;
use crate::{InputFormat, LabError, Run};

/// What an export wrote and proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Export {
    /// Size of the packed file.
    pub bytes: u64,
    /// Size of the run's `model.safetensors`, whose weights are float32.
    pub float_bytes: u64,
    /// Name of the data set on which the two models were compared.
    pub data: String,
    /// Held-out images whose outputs equal the trained model's to the last bit.
    pub identical: usize,
    /// Held-out images compared.
    pub images: usize,
    /// Share of these images that the trained model and the packed one classify correctly, 0 to 1.
    pub accuracy: ProofAccuracy,
    /// What a reader of this must know.
    pub notes: Vec<String>,
}

/// Packs a run's model, compares it with the trained one on all held-out images, and writes it to `out` if every output is
/// identical.
pub fn export_run(folder: &Path, out: &Path, data: Option<&Path>, force: bool) -> Result<Export, LabError> {
    // Devices and pipes have no content to replace.
    let exists = std::fs::metadata(out).is_ok_and(|found| found.is_file() || found.is_dir());
    if !force && exists {
        let out = out.display();
        return Err(LabError::Usage(format!(
            "{out}: the file exists; choose another --out or replace it with --force"
        )));
    }
    let run = Run::open(folder)?;
    // Its own packed file may be made again.
    if !run.is_packed_path(out) {
        files::check_output(out)?;
    }
    let (network, model) = load_trained(&run)?;
    let HeldOut { name, images, notes } = held_out(&model, data)?;
    let packed = pack(&network, &model.input, out)?;
    let (trained, _) = logits(&network, &images, &model.input);
    let proof = verify(&packed, &trained, &images, &model.input, out)?;
    files::write(out, &packed)?;
    let path = run.model_path();
    let float_bytes = std::fs::metadata(&path).map_err(|cause| FileError::new(&path, "reading", cause))?.len();
    Ok(Export {
        bytes: packed.len() as u64,
        float_bytes,
        data: name,
        identical: proof.identical,
        images: images.len(),
        accuracy: proof.accuracy,
        notes,
    })
}

/// The packed file of a network; `path` is for errors.
pub(crate) fn pack(network: &Network, input: &InputFormat, path: &Path) -> Result<Vec<u8>, LabError> {
    let model = network.pack(input.pixels(), input.class_names.clone())?;
    model.to_bytes().map_err(|problem| LabError::Packed { path: path.to_path_buf(), problem })
}

/// Images that are classified before time is taken.
const WARM_UP: usize = 100;

/// A comparison in which nothing differed, and what the packed model needed for it.
pub(crate) struct Proof {
    /// Images with identical outputs: all of them.
    pub identical: usize,
    /// How many of them each side classifies correctly.
    pub accuracy: ProofAccuracy,
    /// Seconds in which the packed model classified all images.
    pub seconds: f64,
    /// In what its products are computed: `integer`, `float32`, or both.
    pub arithmetic: &'static str,
}

/// In what the products of a packed model are computed.
fn arithmetic(model: &PackedModel) -> &'static str {
    let products = || model.summary().into_iter().filter(|node| node.weight_bits.is_some());
    let of = |arithmetic: Arithmetic| products().any(|node| node.arithmetic == arithmetic);
    match (of(Arithmetic::Integer), of(Arithmetic::Float)) {
        (true, false) => "integer",
        (true, true) => "integer, float32",
        (false, _) => "float32",
    }
}

/// Runs the packed bytes, as a reader of the file would, and compares every output with the trained model's.
pub(crate) fn verify(
    packed: &[u8],
    trained: &[f32],
    images: &Images,
    input: &InputFormat,
    path: &Path,
) -> Result<Proof, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let model = PackedModel::from_bytes(packed).map_err(problem)?;
    let arithmetic = arithmetic(&model);
    let executor = model.plan().map_err(problem)?;
    // The first images pay for memory and threads; they are not timed.
    let first = &images.pixels[..images.pixels.len().min(WARM_UP * input.len())];
    executor.logits(first).map_err(problem)?;
    let begin = Instant::now();
    let found = executor.logits(&images.pixels).map_err(problem)?;
    let seconds = begin.elapsed().as_secs_f64();
    let accuracy = |logits: &[f32]| accuracy(logits, &images.labels, input.classes());
    let accuracy = ProofAccuracy { trained: accuracy(trained), packed: accuracy(&found) };
    let Comparison { identical_rows, total_rows, first } = first_difference(trained, &found, input.classes());
    match first {
        None => Ok(Proof { identical: identical_rows, accuracy, seconds, arithmetic }),
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
