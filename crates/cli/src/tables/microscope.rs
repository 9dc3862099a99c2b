//! How good gradients are: estimators, operators, theory, experiments.

use hardgrad_lab::compare::Comparison;
use hardgrad_lab::diagnose::{Diagnosis, Interval, operator_methods};
use hardgrad_lab::experiments::{Experiment, Finished};
use hardgrad_lab::objectives::OBJECTIVES;
use hardgrad_lab::operators::{Key, Operator};
use hardgrad_lab::theory::TwoLayerReport;
use hardgrad_lab::{ESTIMATORS, Setting};
use serde_json::{Value, json};

use super::{grouped, table};

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
