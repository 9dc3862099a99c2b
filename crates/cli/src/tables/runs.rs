//! What runs and their models are.

use std::path::Path;

use hardgrad_lab::{Evaluation, Export, Inspection, Prediction, ProofAccuracy, RecipeEntry, Summary, Training};

use super::{grouped, notes, percent, shape, table};

pub fn summary(summary: &Summary) -> String {
    let rows = summary.rows.iter().map(|row| {
        vec![
            row.model.clone(),
            format!("W{}A{}", row.bits[0], row.bits[1]),
            percent(row.accuracy),
            grouped(row.bytes),
            format!("{:.1}", row.microseconds_per_image),
            row.arithmetic.clone(),
        ]
    });
    let header = ["model", "bits", "accuracy", "bytes on disk", "µs an image", "arithmetic"];
    let mut text = table(&header, 2, rows).to_string();
    match (summary.verified, &summary.not_packed) {
        (Some([identical, total]), _) => {
            text += &format!("\nverified: {identical} of {total} outputs identical");
            text += &summary.accuracy.as_ref().map_or_else(String::new, proof);
        }
        (None, Some(reason)) => text += &format!("\nnot packed: {reason}"),
        (None, None) => {}
    }
    let checked = if summary.data_verified { "checksums hold" } else { "not a known set" };
    text + &format!("\ndata: {} ({checked})\nrun folder: {}", summary.data, summary.folder.display())
}

/// The accuracies on both sides of a proof.
fn proof(accuracy: &ProofAccuracy) -> String {
    format!("; accuracy: trained {}, packed {}", percent(accuracy.trained), percent(accuracy.packed))
}

pub fn evaluation(evaluation: &Evaluation) -> String {
    let rows = evaluation
        .classes
        .iter()
        .map(|(name, accuracy)| vec![name.clone(), accuracy.map_or_else(|| "no image".to_string(), percent)]);
    let classes = table(&["class", "accuracy"], 1, rows);
    format!(
        "{classes}\naccuracy {} ({} of {} images of {}), loss {:.4}{}",
        percent(evaluation.accuracy),
        evaluation.correct,
        evaluation.images,
        evaluation.data,
        evaluation.loss,
        notes(&evaluation.notes)
    )
}

pub fn export(export: &Export, out: &Path) -> String {
    format!(
        "{}: {} bytes, {:.1} times smaller than the float32 model ({} bytes)\nverified: {} of {} outputs identical{}\ndata: {}{}",
        out.display(),
        grouped(export.bytes),
        export.float_bytes as f64 / export.bytes as f64,
        grouped(export.float_bytes),
        export.identical,
        export.images,
        proof(&export.accuracy),
        export.data,
        notes(&export.notes)
    )
}

pub fn predictions(predictions: &[Prediction]) -> String {
    let rows = predictions.iter().map(|prediction| {
        let classes = prediction.classes.iter();
        let classes: Vec<String> = classes.map(|(name, p)| format!("{name} {}", percent(f64::from(*p)))).collect();
        vec![prediction.image.clone(), classes.join(", ")]
    });
    table(&["image", "most likely classes"], 2, rows).to_string()
}

pub fn inspection(inspection: &Inspection) -> String {
    let rows = inspection.nodes.iter().map(|layer| {
        let bits = |bits: Option<u32>| bits.map_or_else(|| "-".to_string(), |bits| bits.to_string());
        vec![
            layer.name.clone(),
            layer.kind.to_string(),
            layer.inputs.join(", "),
            layer.arithmetic.to_string(),
            shape(&layer.output_shape),
            bits(layer.weight_bits),
            bits(layer.activation_bits),
            grouped(layer.parameters as u64),
            grouped(layer.bytes as u64),
            grouped(layer.multiply_accumulates),
        ]
    });
    let header = [
        "node",
        "operator",
        "reads",
        "runs in",
        "output shape",
        "weight bits",
        "activation bits",
        "parameters",
        "bytes on disk",
        "multiply-accumulates",
    ];
    format!(
        "{}\ntotal: {} parameters, {} bytes on disk (header {}), {} multiply-accumulates an image\nfloat32: {} bytes; \
         compression {:.2}",
        table(&header, 4, rows),
        grouped(inspection.parameters as u64),
        grouped(inspection.bytes),
        grouped(inspection.header_bytes),
        grouped(inspection.multiply_accumulates),
        grouped(inspection.float_bytes),
        inspection.compression
    ) + &inspection.training.as_ref().map_or_else(String::new, training)
}

/// On what the model of a run was trained.
fn training(training: &Training) -> String {
    let files = training.data.files.iter().map(|file| format!("\n  {}  {}", file.sha256, file.file));
    format!("\ndata: {}{}{}", training.data.name, files.collect::<String>(), notes(&training.notes))
}

pub fn recipes(recipes: &[RecipeEntry]) -> String {
    recipes.iter().map(|recipe| format!("{}: {}", recipe.name, recipe.summary)).collect::<Vec<_>>().join("\n")
}
