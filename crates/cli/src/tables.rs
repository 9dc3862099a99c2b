//! Results as people read them.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use hardgrad_lab::bench::{Profile, Sweep, Timings};
use hardgrad_lab::compare::Comparison;
use hardgrad_lab::data::{CheckReport, Dataset, KnownSet};
use hardgrad_lab::diagnose::{Diagnosis, Interval, operator_methods};
use hardgrad_lab::experiments::{Experiment, Finished};
use hardgrad_lab::objectives::OBJECTIVES;
use hardgrad_lab::operators::{Key, Operator};
use hardgrad_lab::theory::TwoLayerReport;
use hardgrad_lab::{
    ESTIMATORS, Evaluation, Export, Inspection, Prediction, ProofAccuracy, Recipe, Setting, Summary, Training,
};
use serde_json::{Value, json};

/// Class probabilities that are printed for each image.
const BEST: usize = 3;

/// A table with a header; the columns from `first_number` on hold numbers.
fn table(header: &[&str], first_number: usize, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(header);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

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

/// Lines that a reader must know, below a result.
fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("\nnote: {note}")).collect()
}

pub fn two_layer(report: &TwoLayerReport) -> String {
    let statements = report.statements.iter().map(|statement| {
        vec![statement.statement.clone(), format!("{:.6}", statement.formula), format!("{:.6}", statement.found)]
    });
    let statements = table(&["statement", "formula", "found"], 1, statements);
    let descents = report.descents.iter().map(|row| {
        vec![
            row.start.to_string(),
            row.surrogate.to_string(),
            row.samples.map_or_else(|| "expected".to_string(), |samples| format!("{samples} samples")),
            format!("{:.4}", row.losses[0]),
            format!("{:.2e}", row.losses[1]),
            format!("{:.4}", row.highest_loss),
            format!("{} of {}", row.rising_steps[0], row.rising_steps[1]),
            format!("{:.1}°", row.angles[0]),
            format!("{:.1}°", row.angles[1]),
            format!("{:.3}", row.least_norm),
        ]
    });
    let header = [
        "start",
        "surrogate",
        "gradient",
        "loss",
        "at the end",
        "highest",
        "rising steps",
        "angle",
        "at the end",
        "least |w|",
    ];
    let critical = match (report.saddle_angle, report.spurious_minimum) {
        (Some(saddle), true) => format!("saddle at {saddle:.1}°, spurious minimum at 180°"),
        (Some(saddle), false) => format!("saddle at {saddle:.1}°, no spurious minimum"),
        (None, _) => "this teacher has neither saddles nor spurious minima".to_string(),
    };
    format!("{statements}\n{}\n{critical}", table(&header, 3, descents))
}

pub fn experiments(list: &[Experiment]) -> String {
    let rows = list.iter().map(|experiment| vec![experiment.name.to_string(), experiment.summary.to_string()]);
    table(&["experiment", "what it asks"], 2, rows).to_string()
}

/// The first table; the others go to files.
pub fn experiment(finished: &Finished) -> String {
    let mut text = String::new();
    if let Some(found) = finished.report.tables.first() {
        let header: Vec<&str> = found.header.iter().map(String::as_str).collect();
        text += &table(&header, 1, found.rows.iter().cloned()).to_string();
    }
    let notes: String = finished.report.notes.iter().map(|note| format!("\n{note}")).collect();
    format!("{text}{notes}\ndata: {}", finished.data)
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
        let best = prediction.classes.iter().take(BEST);
        let classes: Vec<String> = best.map(|(name, p)| format!("{name} {}", percent(f64::from(*p)))).collect();
        vec![prediction.image.clone(), classes.join(", ")]
    });
    table(&["image", "most likely classes"], 2, rows).to_string()
}

pub fn inspection(inspection: &Inspection) -> String {
    let rows = inspection.layers.iter().map(|layer| {
        let bits = |bits: Option<u32>| bits.map_or_else(|| "-".to_string(), |bits| bits.to_string());
        let shape: Vec<String> = layer.output_shape.iter().map(usize::to_string).collect();
        vec![
            layer.name.clone(),
            layer.kind.to_string(),
            layer.arithmetic.to_string(),
            shape.join(" x "),
            bits(layer.weight_bits),
            bits(layer.activation_bits),
            grouped(layer.parameters as u64),
            grouped(layer.bytes as u64),
            grouped(layer.multiply_accumulates),
        ]
    });
    let header = [
        "layer",
        "kind",
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
        table(&header, 3, rows),
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

pub fn recipes(recipes: &[Recipe]) -> String {
    recipes.iter().map(|recipe| format!("{}: {}", recipe.name, recipe.description)).collect::<Vec<_>>().join("\n")
}

pub fn operators(operators: &[&Operator]) -> String {
    let lines = operators.iter().map(|operator| {
        let inputs = operator.inputs.iter().map(|input| input.to_string());
        let optional = operator.optional_inputs.iter().map(|input| format!("[{input}]"));
        let keys: Vec<String> = (operator.keys)().iter().map(key).collect();
        let inputs: Vec<String> = inputs.chain(optional).collect();
        let keys = if keys.is_empty() { String::new() } else { format!("; keys {}", keys.join(", ")) };
        format!("{}: {} (inputs {}{keys})", operator.name, operator.summary, inputs.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `name=default (what it must be)`.
fn key(key: &Key) -> String {
    let default = key.default.as_ref().map_or_else(String::new, |default| format!("={default}"));
    let with = key.only_with.map_or_else(String::new, |[other, word]| format!(", only with {other}={word}"));
    format!("{}{default} ({}{with})", key.name, key.expected)
}

/// A value with the half width of its interval, or with its ends where they lie unevenly.
fn interval(Interval { value, low, high }: Interval) -> String {
    let (below, above) = (value - low, high - value);
    match (below - above).abs() <= 0.1 * (below + above) {
        true => format!("{} ± {}", short(value), short((below + above) / 2.0)),
        false => format!("{} ({} to {})", short(value), short(low), short(high)),
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0" } else { "-" }.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    match exponent {
        -3..=4 => format!("{value:.*}", (2 - exponent).max(0) as usize),
        _ => format!("{value:.2e}"),
    }
}

pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let rows = diagnosis.rows.iter().map(|row| {
        vec![
            row.method.clone(),
            row.temperature.map_or_else(|| "-".to_string(), |temperature| short(f64::from(temperature))),
            interval(row.bias),
            row.relative_bias.map_or_else(|| "-".to_string(), interval),
            interval(row.variance),
            interval(row.mean_squared_error),
            interval(row.cosine),
            interval(row.cosine_of_mean),
            interval(row.sign_agreement),
        ]
    });
    let header = [
        "method",
        "temperature",
        "bias",
        "bias / norm",
        "variance",
        "mean squared error",
        "cosine",
        "cosine of mean",
        "sign agreement",
    ];
    let omitted: String = diagnosis.omitted.iter().map(|reason| format!("\nleft out: {reason}")).collect();
    let norm = diagnosis.gradient_norm.map_or_else(String::new, |norm| format!(", norm {}", short(norm)));
    format!(
        "{}\n{}, {} variables with {} categories; true gradient: {}{norm}; {} estimates each, intervals of 95 %{omitted}",
        table(&header, 1, rows),
        diagnosis.objective,
        diagnosis.variables,
        diagnosis.categories,
        diagnosis.reference,
        grouped(diagnosis.samples as u64)
    )
}

pub fn comparison(comparison: &Comparison) -> String {
    let rows = comparison.rows.iter().map(|row| {
        vec![
            row.estimator.clone(),
            format!("{:.6}", row.mean),
            format!("{:.6}", row.standard_deviation),
            row.above_floor.map_or_else(|| "-".to_string(), |share| format!("{:.2} %", 100.0 * share)),
        ]
    });
    let floor = comparison.floor.map_or_else(String::new, |floor| format!("; least cost {floor:.6}"));
    format!(
        "{}\n{}, {} variables with {} categories; {} steps of {} rows, Adam {}, {} runs{floor}; expected cost: {}",
        table(&["estimator", "expected cost", "deviation of runs", "above the least cost"], 1, rows),
        comparison.objective,
        comparison.variables,
        comparison.categories,
        grouped(comparison.steps),
        comparison.batch_size,
        comparison.learning_rate,
        comparison.rows.first().map_or(0, |row| row.costs.len()),
        comparison.evaluation
    )
}

pub fn timings(timings: &Timings) -> String {
    let rows = timings.results.iter().map(|timing| {
        let milliseconds = |value: f64| format!("{value:.3}");
        vec![
            timing.name.to_string(),
            milliseconds(timing.median_ms),
            milliseconds(timing.min_ms),
            timing.iterations.to_string(),
        ]
    });
    format!(
        "{}\n{} threads, {}",
        table(&["workload", "median ms", "fastest ms", "calls"], 1, rows),
        timings.threads,
        timings.cpu
    )
}

pub fn sweeps(sweeps: &[Sweep]) -> String {
    let rows = sweeps.iter().map(|sweep| {
        let points = sweep.points.iter().map(|(size, time)| format!("{size}: {time:.3}"));
        vec![sweep.name.to_string(), points.collect::<Vec<_>>().join("  "), format!("{:.2}", sweep.exponent)]
    });
    table(&["size", "size: fastest ms", "exponent"], 2, rows).to_string()
}

pub fn profiles(profiles: &[Profile]) -> String {
    let one = |profile: &Profile| {
        let rows = profile.rows.iter().map(|row| {
            vec![
                row.operator.to_string(),
                row.pass.to_string(),
                format!("{:.1}", row.calls),
                format!("{:.3}", row.ms),
                percent(row.ms / profile.step_ms),
            ]
        });
        let rows = table(&["operator", "pass", "calls a step", "ms a step", "share"], 2, rows);
        format!("{}: {:.3} ms a step\n{rows}", profile.name, profile.step_ms)
    };
    profiles.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// `key=default (what it must be)` of each setting behind a name.
fn settings(settings: &[Setting]) -> String {
    let settings =
        settings.iter().map(|setting| format!(":{}={} ({})", setting.key, setting.default, setting.expected));
    settings.collect::<Vec<_>>().join(" ")
}

pub fn estimators() -> String {
    let yes = |value: bool| if value { "yes" } else { "no" }.to_string();
    let estimators = ESTIMATORS.iter().map(|entry| {
        vec![
            entry.name.to_string(),
            yes(entry.unbiased),
            yes(entry.uses_temperature),
            if entry.binary { "2" } else { "any" }.to_string(),
            settings(entry.settings),
            entry.summary.to_string(),
        ]
    });
    let objectives = OBJECTIVES.iter().map(|entry| {
        vec![entry.name.to_string(), entry.variables.to_string(), settings(entry.settings), entry.summary.to_string()]
    });
    let header = ["estimator", "unbiased", "temperature", "categories", "settings", "what it does"];
    format!(
        "{}\n{}\nhard operators for diagnose: {}",
        table(&header, usize::MAX, estimators),
        table(&["objective", "variables", "settings", "what it is"], usize::MAX, objectives),
        operator_methods().join(", ")
    )
}

/// The same for machines.
pub fn estimators_json() -> Value {
    let settings = |settings: &[Setting]| {
        let settings = settings
            .iter()
            .map(|setting| json!({"key": setting.key, "default": setting.default, "expected": setting.expected}));
        settings.collect::<Vec<_>>()
    };
    let estimators = ESTIMATORS.iter().map(|entry| {
        json!({
            "name": entry.name,
            "summary": entry.summary,
            "unbiased": entry.unbiased,
            "uses_temperature": entry.uses_temperature,
            "least_temperature": entry.least_temperature,
            "binary": entry.binary,
            "relaxed": entry.relaxed,
            "settings": settings(entry.settings),
        })
    });
    let objectives = OBJECTIVES.iter().map(|entry| {
        json!({
            "name": entry.name,
            "summary": entry.summary,
            "variables": entry.variables,
            "settings": settings(entry.settings),
        })
    });
    json!({
        "estimators": estimators.collect::<Vec<_>>(),
        "objectives": objectives.collect::<Vec<_>>(),
        "operators": operator_methods(),
    })
}

pub fn known_sets(sets: &[KnownSet]) -> String {
    let blocks = sets.iter().map(|set| {
        format!("{}\n  {}\n  licence: {}\n  source: {}", set.name, set.description, set.licence, set.source)
    });
    blocks.collect::<Vec<_>>().join("\n")
}

pub fn check(report: &CheckReport) -> String {
    let rows = report.files.iter().map(|file| {
        vec![
            file.name.clone(),
            file.format.map_or_else(|| "-".to_string(), |format| format.to_string()),
            file.shape(),
            file.sha256
                .as_ref()
                .map_or_else(|| "-".to_string(), |sha256| format!("{}…", &sha256[..12.min(sha256.len())])),
            file.verdict.to_string(),
        ]
    });
    let set = match (report.known_set, report.verified()) {
        (Some(set), true) => format!("{}: all checksums hold", set.name),
        (Some(set), false) => format!("claims to be {}, but is not", set.name),
        (None, _) if report.problem.is_none() => "not a known set; it can be used".to_string(),
        (None, _) => "cannot be used".to_string(),
    };
    let files = table(&["file", "format", "size", "sha256", "verdict"], 5, rows);
    let classes = report.dataset.as_ref().map_or_else(String::new, |set| format!("\n{}", classes(set)));
    format!("{files}\n{set}{classes}{}", notes(&report.notes))
}

/// How many images each class has.
fn classes(set: &Dataset) -> Table {
    let rows = set.class_names.iter().zip(set.class_counts()).enumerate().map(|(class, (name, [train, test]))| {
        vec![class.to_string(), name.clone(), grouped(train as u64), grouped(test as u64)]
    });
    table(&["class", "name", "training images", "test images"], 2, rows)
}

/// The check of a folder for machines.
pub fn check_json(report: &CheckReport) -> Value {
    let files = report.files.iter().map(|file| {
        json!({
            "name": file.name,
            "format": file.format.map(|format| format.to_string()),
            "dims": file.dims,
            "sha256": file.sha256,
            "verdict": file.verdict.to_string(),
        })
    });
    json!({
        "files": files.collect::<Vec<_>>(),
        "known_set": report.known_set.map(|set| set.name),
        "verified": report.verified(),
        "problem": report.problem.as_ref().map(ToString::to_string),
        "classes": report.dataset.as_ref().map(classes_json),
        "notes": report.notes,
    })
}

fn classes_json(set: &Dataset) -> Vec<Value> {
    let counts = set.class_names.iter().zip(set.class_counts()).enumerate();
    let classes = counts.map(|(class, (name, [train, test]))| {
        json!({"class": class, "name": name, "training_images": train, "test_images": test})
    });
    classes.collect()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
