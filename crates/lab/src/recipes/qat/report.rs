//! The table at the end of a run, and the packed model with its proof. Nothing looked at the test data before.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use hardgrad::network::Network;
use hardgrad_runtime::PackedError;

use super::{FLOAT, QUANTIZED, Qat};
use crate::config::{FLOAT_BITS, merged};
use crate::export::{pack, verify};
use crate::outputs::{accuracy, logits};
use crate::recipes::Recipe;
use crate::summary::{ProofAccuracy, Row};
use crate::tasks::classify::Classify;
use crate::{LabError, Run, Summary, files};

/// What a network is that was quantised and not trained any more.
const AFTER_TRAINING: &str = "post-training quantisation";

/// Compares float, post-training quantisation and the trained model on the test data, writes the packed model after its proof,
/// and `summary.json`.
pub(super) fn report(recipe: &Qat, run: &Run) -> Result<Summary, LabError> {
    let (config, data) = (&recipe.premise.config, &recipe.task.data);
    let bits = usual_bits(recipe);
    let measure = Measure { task: &recipe.task };
    let float = recipe.read(run, FLOAT)?;
    let mut rows = vec![measure.float("float", [FLOAT_BITS; 2], &float, &run.float_model_path())?];

    let trained = config.training.quantized_epochs > 0;
    if trained {
        // The stage before has told what there was to tell.
        let network = recipe.quantized(float.train(), &mut |_| ())?;
        let (row, _) = measure.quantized(AFTER_TRAINING, bits, &network, &run.float_model_path())?;
        rows.push(row);
    }
    let network = recipe.read(run, QUANTIZED)?;
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

/// Bits of weights, and of what their layers read, between the first and the last layer; where rules differ there, those of most
/// weights.
fn usual_bits(recipe: &Qat) -> [u32; 2] {
    let network = &recipe.premise.network;
    let reports = network.check().unwrap_or_default();
    let weighted: Vec<_> = network.nodes.iter().zip(&reports).filter(|(node, _)| node.op.has_weights()).collect();
    let between = match &weighted[..] {
        [_, between @ .., _] if !between.is_empty() => between,
        all => all,
    };
    let mut weights: BTreeMap<[u32; 2], usize> = BTreeMap::new();
    for (node, report) in between {
        // The rules of the network come after those of the settings.
        let rule = merged(recipe.rules.iter().chain(&network.rules), &node.name);
        let bits = [rule.weight_bits, rule.activation_bits].map(|bits| bits.unwrap_or(FLOAT_BITS));
        *weights.entry(bits).or_default() += report.parameters;
    }
    weights.into_iter().max_by_key(|(_, count)| *count).map_or([FLOAT_BITS; 2], |(bits, _)| bits)
}

/// The packed form of a network.
enum Packed {
    /// The file, every output of which was compared, and the accuracies of the comparison.
    Proved(Vec<u8>, ProofAccuracy),
    /// Why there is none: codes and floats that do not go together, or outputs that are not finite.
    Impossible(String),
}

struct Measure<'a> {
    task: &'a Classify,
}

impl Measure<'_> {
    fn row(&self, model: &str, bits: [u32; 2], outputs: &[f32], bytes: u64, seconds: f64, arithmetic: &str) -> Row {
        let images = &self.task.data.test;
        Row {
            model: model.to_string(),
            bits,
            accuracy: accuracy(outputs, &images.labels, self.task.input.classes()),
            bytes,
            microseconds_per_image: 1e6 * seconds / images.len() as f64,
            arithmetic: arithmetic.to_string(),
        }
    }

    fn float(&self, model: &str, bits: [u32; 2], network: &Network, file: &Path) -> Result<Row, LabError> {
        let (outputs, seconds) = logits(network, &self.task.data.test, &self.task.input);
        let bytes = files::read(file)?.len() as u64;
        Ok(self.row(model, bits, &outputs, bytes, seconds, "float32"))
    }

    /// The row of a quantised network, measured on its packed form where it has one.
    fn quantized(
        &self,
        model: &str,
        bits: [u32; 2],
        network: &Network,
        file: &Path,
    ) -> Result<(Row, Packed), LabError> {
        let (test, input) = (&self.task.data.test, &self.task.input);
        let bytes = match pack(network, input, file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let reason = match error {
                    LabError::Packed { problem, .. } => problem.to_string(),
                    other => other.to_string(),
                };
                return Ok((self.float(model, bits, network, file)?, Packed::Impossible(reason)));
            }
        };
        let (outputs, _) = logits(network, test, input);
        let proof = match verify(&bytes, &outputs, test, input, file) {
            Err(LabError::Packed { problem: problem @ PackedError::NotFinite { .. }, .. }) => {
                return Ok((self.float(model, bits, network, file)?, Packed::Impossible(problem.to_string())));
            }
            proof => proof?,
        };
        let row = self.row(model, bits, &outputs, bytes.len() as u64, proof.seconds, proof.arithmetic);
        Ok((row, Packed::Proved(bytes, proof.accuracy)))
    }
}
