//! What networks are made of.

use hardgrad_lab::models::{ModelReport, Preset};

use super::{grouped, shape, table};

pub fn presets(presets: &[Preset]) -> String {
    presets.iter().map(|preset| format!("{}: {}", preset.name, preset.summary)).collect::<Vec<_>>().join("\n")
}

pub fn model(report: &ModelReport) -> String {
    let rows = report.nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            node.kind.to_string(),
            node.inputs.join(", "),
            shape(&node.output),
            grouped(node.parameters as u64),
            grouped(node.multiply_accumulates),
        ]
    });
    let header = ["node", "operator", "reads", "output shape", "parameters", "multiply-accumulates"];
    format!(
        "{}\ninput: {}\ntotal: {} parameters, {} multiply-accumulates for one input",
        table(&header, 3, rows),
        shape(&report.input),
        grouped(report.parameters as u64),
        grouped(report.multiply_accumulates)
    )
}
