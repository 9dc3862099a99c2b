use std::path::Path;

use hardgrad_runtime::PackedModel;

use crate::held_out::{HeldOut, held_out, held_out_of};
use crate::model_file::load_trained;
pub(crate) use crate::outputs::best_classes;
use crate::outputs::{Evaluation, evaluation, logits};
use crate::{LabError, Run, files};

/// The accuracy of the model of a run folder, or of a packed file, on held-out images: those of the run, or those in the folder
/// `data`, which a packed file needs.
pub fn evaluate(path: &Path, data: Option<&Path>) -> Result<Evaluation, LabError> {
    if path.is_file() {
        return evaluate_packed(path, data);
    }
    let (network, model) = load_trained(&Run::open(path)?)?;
    let HeldOut { name, images, notes } = held_out(&model, data)?;
    let (logits, _) = logits(&network, &images, &model.input);
    Ok(evaluation(name, &logits, &images.labels, &model.input.class_names, notes))
}

fn evaluate_packed(path: &Path, data: Option<&Path>) -> Result<Evaluation, LabError> {
    let packed = read_packed(path)?;
    let Some(folder) = data else {
        let path = path.display();
        return Err(LabError::Usage(format!(
            "{path}: a packed file does not name its images; give them with --data DIR"
        )));
    };
    let HeldOut { name, images, notes } = held_out_of(&packed, folder)?;
    let logits = packed
        .plan()
        .and_then(|executor| executor.logits(&images.pixels))
        .map_err(|problem| LabError::Packed { path: path.to_path_buf(), problem })?;
    Ok(evaluation(name, &logits, &images.labels, &packed.class_names, notes))
}

/// The packed model in a file.
pub(crate) fn read_packed(path: &Path) -> Result<PackedModel, LabError> {
    PackedModel::read(path).map_err(|problem| match files::is_of_a_run(path) {
        true => {
            LabError::Usage(format!("{}: a file of a run, not a packed model; give the run folder", path.display()))
        }
        false => LabError::Packed { path: path.to_path_buf(), problem },
    })
}
