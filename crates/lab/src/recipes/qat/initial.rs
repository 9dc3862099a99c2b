use std::path::Path;

use burn::module::Module;
use hardgrad::network::Network;

use crate::input_format::shape_text;
use crate::model_file::{ModelHeader, Origin, load};
use crate::models::{Imported, import};
use crate::premise::Premise;
use crate::recipes::{First, Tell};
use crate::tensor_file::sha256;
use crate::train::event::Event;
use crate::{LabError, Run, files};

/// The network with which training begins: the one whose weights were drawn, that of another run, or one with the weights of a
/// file.
pub(super) fn network(premise: &Premise, drawn: Network, tell: &mut Tell<'_>) -> Result<First<Network>, LabError> {
    let Some(path) = premise.config.init_path() else {
        return Ok(First { network: drawn, before: Vec::new() });
    };
    let rename = premise.config.rename_path();
    if path.is_dir() {
        if rename.is_some() {
            let problem = "training.rename: a run has the names of its network; leave it out".to_string();
            return Err(LabError::Usage(problem));
        }
        return of_run(premise, &path);
    }
    if files::is_of_a_run(&path) {
        let path = path.display();
        return Err(LabError::Usage(format!("training.init: {path}: a file of a run; give the run folder")));
    }
    let (network, imported) = import(drawn, &path, rename.as_deref())?;
    tell_imported(&imported, tell);
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let before = vec![Origin::Weights { file, sha256: sha256(&files::read(&path)?) }];
    Ok(First { network, before })
}

/// The float network of another run.
fn of_run(premise: &Premise, folder: &Path) -> Result<First<Network>, LabError> {
    let run = Run::open(folder)?;
    let (network, model) = load(&run, &run.float_model_path(), "float")?;
    if let Some(problem) = difference(premise, &model, &run) {
        return Err(LabError::Usage(format!("training.init: {}: {problem}", folder.display())));
    }
    let own = Origin::Run { seed: model.seed, data: model.data };
    Ok(First { network: network.train(), before: model.before.into_iter().chain([own]).collect() })
}

/// What keeps a run from going on with the network of another one. How each is quantised is its own affair.
fn difference(premise: &Premise, model: &ModelHeader, run: &Run) -> Option<String> {
    let (ours, theirs) = (&premise.input, &model.input);
    if (&ours.shape, ours.classes()) != (&theirs.shape, theirs.classes()) {
        let (shape, classes) = (shape_text(&theirs.shape), theirs.classes());
        return Some(format!("its network takes inputs of {shape} in {classes} classes; give such data"));
    }
    let (ours, theirs) = (&premise.network.nodes, &model.network.nodes);
    if ours == theirs {
        return None;
    }
    let differs = theirs.iter().zip(ours).find(|(theirs, ours)| theirs != ours).map(|(node, _)| &node.name);
    let node = differs.or_else(|| Some(&theirs.get(ours.len())?.name));
    let what = node.map_or("has fewer nodes".to_string(), |node| format!("has another node {node}"));
    let file = run.description_path();
    Some(format!("its network {what}; give the same network, with --model {}", file.display()))
}

/// Lists what became of the tensors of a file.
fn tell_imported(imported: &Imported, tell: &mut Tell<'_>) {
    let Imported { loaded, missing, left_over } = imported;
    for (what, names) in [
        ("loaded", loaded),
        ("kept as the network begins", missing),
        ("left over, without a place in the network", left_over),
    ] {
        if !names.is_empty() {
            tell(Event::Note(format!("training.init: {what}: {}", names.join(", "))));
        }
    }
}
