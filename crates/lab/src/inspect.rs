use std::path::Path;

use hardgrad_runtime::{Arithmetic, NodeSummary, PackedModel, Rule};
use serde::Serialize;

use crate::chart::graph::{Graph, GraphNode, Kind};
use crate::data::{self, DataIdentity};
use crate::evaluate::read_packed;
use crate::export::pack;
use crate::model_file::{ModelHeader, Origin, load_trained};
use crate::{LabError, Run, files};

/// What a packed model consists of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// A row a node.
    pub nodes: Vec<NodeSummary>,
    /// Weights, biases and other values of the network.
    pub parameters: usize,
    /// Size of the packed file, with its header.
    pub bytes: u64,
    /// Size of the header: names, shapes, descriptions of the nodes.
    pub header_bytes: u64,
    /// Size of the same values as float32.
    pub float_bytes: u64,
    /// `float_bytes / bytes`.
    pub compression: f64,
    /// Multiplications with addition for one image.
    pub multiply_accumulates: u64,
    /// What only a run folder knows.
    pub training: Option<Training>,
}

/// How the model of a run was trained, by its model file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
    /// Name of the recipe.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// The rules by which it was quantised.
    pub rules: Vec<Rule>,
    /// The files of the images, with their checksums.
    pub data: DataIdentity,
    /// What became of these images: unchanged, changed or gone; and what came before training.
    pub notes: Vec<String>,
}

/// Inspects a packed file, or packs the model of a run folder in memory and inspects that.
///
/// # Errors
/// If there is no such model, or it is damaged.
pub fn inspect(path: &Path) -> Result<Inspection, LabError> {
    let Packed { model, bytes, header } = packed(path)?;
    let nodes = model.summary();
    let parameters = nodes.iter().map(|node| node.parameters).sum();
    let stored: usize = nodes.iter().map(|node| node.bytes).sum();
    let float_bytes = 4 * parameters as u64;
    Ok(Inspection {
        parameters,
        bytes,
        header_bytes: bytes.saturating_sub(stored as u64),
        float_bytes,
        compression: float_bytes as f64 / bytes as f64,
        multiply_accumulates: nodes.iter().map(|node| node.multiply_accumulates).sum(),
        nodes,
        training: header.map(training),
    })
}

/// The graph of a model, as [`inspect`] takes it, as an SVG picture: its nodes as boxes with shapes and bits, those that compute
/// with whole numbers and those that compute with floats in two colours.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_svg(path: &Path) -> Result<String, LabError> {
    let model = packed(path)?.model;
    let nodes = model.summary();
    let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    let boxes = nodes.iter().map(|node| {
        let weight = match node.weight_bits {
            Some(32) => Some("float weights".to_string()),
            bits => bits.map(|bits| format!("{bits}-bit weights")),
        };
        let input = node.activation_bits.map(|bits| format!("{bits}-bit input"));
        let details: Vec<String> = weight.into_iter().chain(input).collect();
        GraphNode {
            title: if node.name == node.kind { node.name.clone() } else { format!("{}: {}", node.name, node.kind) },
            lines: [shape(&node.output_shape), details.join(", ")]
                .into_iter()
                .filter(|line| !line.is_empty())
                .collect(),
            kind: match node.arithmetic {
                Arithmetic::Integer => Kind::Integer,
                Arithmetic::Float => Kind::Float,
            },
            // Place 0 is that of the image.
            inputs: node
                .inputs
                .iter()
                .map(|input| nodes.iter().position(|node| node.name == *input).map_or(0, |place| place + 1))
                .collect(),
        }
    });
    let image = GraphNode {
        title: "input".to_string(),
        lines: vec![shape(&model.description.input.shape), "8-bit pixels".to_string()],
        kind: Kind::Integer,
        inputs: Vec::new(),
    };
    Ok(Graph { nodes: [image].into_iter().chain(boxes).collect() }.to_svg())
}

/// A packed model, its size, and what its run knows of it.
struct Packed {
    model: PackedModel,
    bytes: u64,
    header: Option<ModelHeader>,
}

fn packed(path: &Path) -> Result<Packed, LabError> {
    if !path.is_dir() {
        let model = read_packed(path)?;
        let bytes = std::fs::metadata(path).map_err(|cause| files::FileError::new(path, "reading", cause))?.len();
        return Ok(Packed { model, bytes, header: None });
    }
    let run = Run::open(path)?;
    let (network, header) = load_trained(&run)?;
    let bytes = pack(&network, &header.input, path)?;
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let model = PackedModel::from_bytes(&bytes).map_err(problem)?;
    Ok(Packed { model, bytes: bytes.len() as u64, header: Some(header) })
}

fn training(header: ModelHeader) -> Training {
    let images = match data::load(&header.request(None), &mut |_| ()) {
        Ok(set) => match header.data.first_difference(&set.identity) {
            None => "the data are unchanged since training".to_string(),
            Some(file) => format!("the images are not those of the training any more: {file} differs"),
        },
        Err(problem) => format!("whether the images are those of the training could not be seen: {problem}"),
    };
    let before = header.before.iter().map(|origin| match origin {
        Origin::Run { seed, data } => {
            let other = header.data.first_difference(data);
            let other = other.map_or_else(String::new, |file| format!(", other images: {file} differs"));
            format!("it began with the network of a run with seed {seed} on {}{other}", data.name)
        }
        Origin::Weights { file, sha256 } => format!("it began with the weights of {file} (SHA-256 {sha256})"),
    });
    let notes = before.chain([images]).collect();
    let ModelHeader { recipe, seed, rules, data, .. } = header;
    Training { recipe, seed, rules: rules.unwrap_or_default(), data, notes }
}
