use std::path::Path;

use burn::module::Module;
use hardgrad::quantize::StepClock;
use hardgrad_runtime::PackedError;

use super::{calibrated, own_float, quantized};
use crate::config::FLOAT_BITS;
use crate::data::Dataset;
use crate::evaluate::{accuracy, load_quantized, logits};
use crate::export::{ProofAccuracy, pack, verify};
use crate::files;
use crate::run::Row;
use crate::{Config, ConvNet, LabError, NetworkShape, Run, Summary};

/// What a network is that was quantised and not trained any more.
const AFTER_TRAINING: &str = "post-training quantisation";

/// Compares float, post-training quantisation and the trained model on the held-out images, writes the packed model after
/// its proof, and `summary.json`.
pub(super) fn report(run: &Run, config: &Config, data: &Dataset, shape: &NetworkShape) -> Result<Summary, LabError> {
    let bits = [config.quantization.weight_bits, config.quantization.activation_bits];
    let measure = Measure { data, shape };
    let float = own_float(run, config, data)?;
    let mut rows = vec![measure.float("float", [FLOAT_BITS; 2], &float, &run.float_model_path())?];

    let trained = config.training.quantized_epochs > 0;
    if trained {
        let clock = StepClock::default();
        clock.set(u64::MAX);
        let network = quantized(float.train(), config, shape, &clock)?;
        // The stage before has told what there was to tell.
        let network = calibrated(network, config, data, shape, &mut |_| ());
        let (row, _) = measure.quantized(AFTER_TRAINING, bits, &network, &run.float_model_path())?;
        rows.push(row);
    }
    let (network, _) = load_quantized(run)?;
    let name = if trained { "quantisation-aware training" } else { AFTER_TRAINING };
    let (row, packed) = measure.quantized(name, bits, &network, &run.model_path())?;
    rows.push(row);
    let (verified, accuracy, not_packed) = match packed {
        Packed::Proved(bytes, accuracy) => {
            files::write(&run.packed_path(), &bytes)?;
            (Some([data.test.len(); 2]), Some(accuracy), None)
        }
        Packed::Impossible(reason) => (None, None, Some(reason)),
    };
    let summary = Summary {
        recipe: config.recipe.clone(),
        data: data.name.clone(),
        data_verified: data.verified,
        seed: config.seed,
        rows,
        verified,
        accuracy,
        not_packed,
        folder: run.folder().to_path_buf(),
    };
    let json = serde_json::to_string_pretty(&summary).expect("a summary is a plain struct");
    files::write(&run.summary_path(), json.as_bytes())?;
    Ok(summary)
}

/// The packed form of a network.
enum Packed {
    /// The file, every output of which was compared, and the accuracies of the comparison.
    Proved(Vec<u8>, ProofAccuracy),
    /// Why there is none: a layer stays in float32, or outputs are not finite.
    Impossible(String),
}

struct Measure<'a> {
    data: &'a Dataset,
    shape: &'a NetworkShape,
}

impl Measure<'_> {
    fn row(&self, model: &str, bits: [u32; 2], outputs: &[f32], bytes: u64, seconds: f64, arithmetic: &str) -> Row {
        let images = &self.data.test;
        Row {
            model: model.to_string(),
            bits,
            accuracy: accuracy(outputs, &images.labels, self.shape.class_names.len()),
            bytes,
            microseconds_per_image: 1e6 * seconds / images.len() as f64,
            arithmetic: arithmetic.to_string(),
        }
    }

    fn float(&self, model: &str, bits: [u32; 2], network: &ConvNet, file: &Path) -> Result<Row, LabError> {
        let (outputs, seconds) = logits(network, &self.data.test, self.shape);
        let bytes = files::read(file)?.len() as u64;
        Ok(self.row(model, bits, &outputs, bytes, seconds, "float32"))
    }

    /// The row of a quantised network, measured on its packed form where it has one.
    fn quantized(
        &self,
        model: &str,
        bits: [u32; 2],
        network: &ConvNet,
        file: &Path,
    ) -> Result<(Row, Packed), LabError> {
        let bytes = match pack(network, self.shape, file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let reason = match error {
                    LabError::Packed { problem, .. } => problem.to_string(),
                    other => other.to_string(),
                };
                return Ok((self.float(model, bits, network, file)?, Packed::Impossible(reason)));
            }
        };
        let (outputs, _) = logits(network, &self.data.test, self.shape);
        let proof = match verify(&bytes, &outputs, &self.data.test, self.shape, file) {
            Err(LabError::Packed { problem: problem @ PackedError::NotFinite { .. }, .. }) => {
                return Ok((self.float(model, bits, network, file)?, Packed::Impossible(problem.to_string())));
            }
            proof => proof?,
        };
        let row = self.row(model, bits, &outputs, bytes.len() as u64, proof.seconds, "integer");
        Ok((row, Packed::Proved(bytes, proof.accuracy)))
    }
}
