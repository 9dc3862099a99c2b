//! The images on which a model is judged, with what a reader of the result must know.

use std::path::Path;

use hardgrad_runtime::PackedModel;

use crate::LabError;
use crate::data::{self, DataIdentity, Dataset, FileIdentity, Images, Request};
use crate::input_format::shape_text;
use crate::model_file::ModelHeader;

/// Held-out images.
pub(crate) struct HeldOut {
    /// Name of their set.
    pub name: String,
    /// The images.
    pub images: Images,
    /// What a reader of results on them must know.
    pub notes: Vec<String>,
}

/// The held-out images of the run of this model, which must be those of its training still; or those in another folder, made
/// ready as in training.
pub(crate) fn held_out(model: &ModelHeader, data: Option<&Path>) -> Result<HeldOut, LabError> {
    let request = model.request(data);
    let set = match data {
        Some(_) => load(&request)?,
        None => data::load(&request, &mut |_| ()).map_err(|problem| LabError::RunData { problem })?,
    };
    check_images(&set, &model.input.shape, &model.input.class_names)?;
    check_columns(&set, &model.data)?;
    let mut notes = Vec::new();
    if let Some(file) = model.data.first_difference(&set.identity) {
        let (name, file) = (set.name.clone(), file.to_string());
        if data.is_none() {
            let mend = "put the old file back, or name the folder with --data to take it as other data";
            return Err(LabError::OtherData { name, file, mend });
        }
        notes.push(format!("{file} of {name} is not that with which the run was trained"));
    }
    notes.extend(data.and(set.altered.clone()));
    Ok(judged(set, &model.input.class_names, notes))
}

/// The held-out images in a folder, made ready for a packed model, which does not say how those of its training were.
pub(crate) fn held_out_of(packed: &PackedModel, folder: &Path) -> Result<HeldOut, LabError> {
    let shape = &packed.description.input.shape;
    let mut request = Request { verify: false, ..Request::of(Some(folder)) };
    if let [channels, height, width] = shape[..] {
        // Images are taken in two kinds, grey and colour; others as they are.
        (request.size, request.channels) = (Some([height, width]), [1, 3].contains(&channels).then_some(channels));
    }
    let set = load(&request)?;
    check_images(&set, shape, &packed.class_names)?;
    let mut notes: Vec<String> = set.altered.clone().into_iter().collect();
    if let Some(table) = table(&set.identity) {
        notes.push(format!(
            "the columns of {} became bytes by the rows of {}; where those are not the rows to train on, the numbers are wrong",
            set.name, table.file
        ));
    }
    Ok(judged(set, &packed.class_names, notes))
}

fn load(request: &Request) -> Result<Dataset, LabError> {
    Ok(data::load(request, &mut |_| ())?)
}

/// Fails where a model cannot take the images of a set, or has no output for one of its classes.
fn check_images(set: &Dataset, shape: &[usize], class_names: &[String]) -> Result<(), LabError> {
    if set.test.shape == shape && set.class_names.len() <= class_names.len() {
        return Ok(());
    }
    Err(LabError::Usage(format!(
        "{}: images of {} in {} classes, the model takes {} in {}; give the data it was trained on",
        set.name,
        shape_text(&set.test.shape),
        set.class_names.len(),
        shape_text(shape),
        class_names.len()
    )))
}

/// The file whose rows say how the columns of a table become bytes.
fn table(data: &DataIdentity) -> Option<&FileIdentity> {
    data.files
        .first()
        .filter(|file| Path::new(&file.file).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")))
}

/// Fails where the columns of a table become bytes in another way than in training.
fn check_columns(set: &Dataset, trained: &DataIdentity) -> Result<(), LabError> {
    match (table(&set.identity), table(trained)) {
        (Some(table), Some(own)) if table.sha256 != own.sha256 => Err(LabError::Usage(format!(
            "{}: columns become bytes by the rows of {}, which are not those of the training; give a folder with the table of the \
             training as train.csv and other rows as test.csv",
            set.name, table.file
        ))),
        _ => Ok(()),
    }
}

/// The test images, with the labels of the model: by the names of the classes where it knows all of them, else by number.
fn judged(set: Dataset, class_names: &[String], mut notes: Vec<String>) -> HeldOut {
    let place =
        |name: &String| class_names.iter().position(|own| own == name).and_then(|place| u8::try_from(place).ok());
    let places: Option<Vec<u8>> = set.class_names.iter().map(place).collect();
    let mut images = set.test;
    match places {
        Some(places) => images.labels.iter_mut().for_each(|label| *label = places[usize::from(*label)]),
        None => notes.extend(other_classes(&set.name, &set.class_names, class_names)),
    }
    HeldOut { name: set.name, images, notes }
}

/// What to say where the classes of a set are called otherwise than a model's.
fn other_classes(name: &str, class_names: &[String], of_model: &[String]) -> Option<String> {
    let (ours, theirs) = of_model.iter().zip(class_names).find(|(ours, theirs)| ours != theirs)?;
    Some(format!("{name} calls {theirs:?} what the model calls {ours:?}; classes were compared by their numbers"))
}
