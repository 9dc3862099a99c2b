//! What a description says about its nodes: shapes, parameters, work.

use std::path::Path;

use hardgrad_runtime::{Description, DescriptionError};
use serde::Serialize;

use super::error::ModelError;
use super::file::read_description;
use crate::LabError;

/// What a description makes of its input, node by node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelReport {
    /// Shape of the input.
    pub input: Vec<usize>,
    /// The nodes.
    pub nodes: Vec<ModelNode>,
    /// Parameters of all nodes.
    pub parameters: usize,
    /// Multiplications that are added up, of all nodes, for one input.
    pub multiply_accumulates: u64,
}

/// A node of a description.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelNode {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub kind: &'static str,
    /// The names of what it reads.
    pub inputs: Vec<String>,
    /// Shape of what it gives.
    pub output: Vec<usize>,
    /// Its parameters.
    pub parameters: usize,
    /// Multiplications that it adds up for one input.
    pub multiply_accumulates: u64,
}

/// The report of a description.
///
/// # Errors
/// If it describes no network: names the node that is wrong, and why.
pub fn report(description: &Description) -> Result<ModelReport, DescriptionError> {
    let reports = description.check()?;
    let nodes: Vec<ModelNode> = description
        .nodes
        .iter()
        .zip(reports)
        .map(|(node, report)| ModelNode {
            name: report.name,
            kind: report.kind,
            inputs: node.inputs.clone(),
            output: report.output,
            parameters: report.parameters,
            multiply_accumulates: report.multiply_accumulates,
        })
        .collect();
    Ok(ModelReport {
        input: description.input.shape.clone(),
        parameters: nodes.iter().map(|node| node.parameters).sum(),
        multiply_accumulates: nodes.iter().fold(0, |sum: u64, node| sum.saturating_add(node.multiply_accumulates)),
        nodes,
    })
}

/// The report of the description in a file.
///
/// # Errors
/// If the file cannot be read, or describes no network.
pub fn check_file(path: &Path) -> Result<ModelReport, LabError> {
    let description = read_description(path)?;
    report(&description).map_err(|problem| {
        let source_name = path.display().to_string();
        ModelError::Description { source_name, problem: problem.to_string() }.into()
    })
}
