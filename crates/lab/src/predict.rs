use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use hardgrad_runtime::PackedError;
use serde::Serialize;

use crate::config::path_text;
use crate::data::{self, Images};
use crate::evaluate::read_packed;
use crate::export::pack;
use crate::held_out::{held_out, held_out_of};
use crate::input_format::shape_text;
use crate::model_file::{ModelHeader, load_trained};
use crate::{LabError, Run, Summary, files};

/// What a packed model says of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The image as it was named.
    pub image: String,
    /// Class names with their probabilities, the most likely first.
    pub classes: Vec<(String, f32)>,
}

/// Images that are classified together.
const TOGETHER: usize = 256;

/// The `top` most likely classes (all of them for 0) of images by a packed model, or by that of a run folder.
///
/// An image is the path of an image file of any size and kind, a folder whose image files are taken in the order of their names,
/// `PATH:INDEX` for an image of an IDX file, or a number: a held-out image of the set in `data`, or of the run's own. A packed file
/// knows no set, so that numbers want `data`. Images are made as large as the model takes them, as in training.
///
/// # Errors
/// If there is no such model or image.
pub fn predict(
    model: &Path,
    images: &[OsString],
    data: Option<&Path>,
    top: usize,
) -> Result<Vec<Prediction>, LabError> {
    let run = model.is_dir().then(|| Run::open(model)).transpose()?;
    let file = run.as_ref().map_or_else(|| Ok(model.to_path_buf()), packed_path)?;
    let problem = |problem| LabError::Packed { path: file.clone(), problem };
    let packed = read_packed(&file)?;
    let trained = run.as_ref().map(|run| trained_form(run, &file)).transpose()?;
    let executor = packed.plan().map_err(problem)?;
    let shape = &packed.description.input.shape;
    let numbered = images.iter().find(|image| number(image).is_some());
    let held_out = match (numbered, data, trained) {
        (None, Some(_), _) => {
            return Err(LabError::Usage("--data is for images by number; give numbers, or leave it out".to_string()));
        }
        (None, None, _) => None,
        (Some(_), _, Some(trained)) => Some(held_out(&trained, data)?.images),
        (Some(_), Some(folder), None) => Some(held_out_of(&packed, folder)?.images),
        (Some(image), None, None) => {
            let (image, file) = (image.display(), file.display());
            return Err(LabError::Usage(format!(
                "{image}: a number is a held-out image, and {file} does not say of which set; give it with --data DIR"
            )));
        }
    };
    let images = with_folders(images)?;
    let classes = packed.class_names.len();
    let mut predictions = Vec::with_capacity(images.len());
    for images in images.chunks(TOGETHER) {
        let mut pixels = Vec::new();
        for image in images {
            pixels.extend(read_image(image, shape, held_out.as_ref())?);
        }
        let probabilities = executor.predict(&pixels).map_err(|failure| match failure {
            PackedError::NotFinite { image, .. } => {
                let name = images[image].display();
                let file = file.display();
                LabError::Usage(format!(
                    "{name}: {file} gives values that are not finite for this image; its scales are too large, export the model again"
                ))
            }
            other => problem(other),
        })?;
        predictions.extend(images.iter().zip(probabilities.chunks(classes)).map(|(image, probabilities)| {
            let mut classes: Vec<(String, f32)> =
                packed.class_names.iter().cloned().zip(probabilities.iter().copied()).collect();
            classes.sort_by(|a, b| b.1.total_cmp(&a.1));
            classes.truncate(if top == 0 { classes.len() } else { top });
            Prediction { image: image.to_string_lossy().into_owned(), classes }
        }));
    }
    Ok(predictions)
}

/// The packed file of a run that has one.
fn packed_path(run: &Run) -> Result<PathBuf, LabError> {
    let (packed, path) = (run.packed_path(), run.folder().to_path_buf());
    if packed.exists() {
        return Ok(packed);
    }
    // The summary is written last, and says why there is no packed file.
    let summary = files::read(&run.summary_path()).ok().and_then(|json| serde_json::from_slice::<Summary>(&json).ok());
    if let Some(reason) = summary.and_then(|summary| summary.not_packed) {
        return Err(LabError::NotPacked { path, reason });
    }
    if run.model_path().is_file() {
        let problem = format!("{} is gone; make it again with `hardgrad export`", packed.display());
        return Err(LabError::NotARun { path, problem });
    }
    Err(LabError::Unfinished { path })
}

/// What the trained model of a run is, after making sure that the packed file is its packed form.
fn trained_form(run: &Run, file: &Path) -> Result<ModelHeader, LabError> {
    let (network, model) = load_trained(run)?;
    if pack(&network, &model.input, file)? == files::read(file)? {
        return Ok(model);
    }
    let problem = "it is not the packed form of model.safetensors; make it again with `hardgrad export --force`";
    Err(LabError::Damaged { path: file.to_path_buf(), problem: problem.to_string() })
}

fn number(image: &OsStr) -> Option<usize> {
    image.to_str()?.parse().ok()
}

/// The images with the image files of a folder in its place.
fn with_folders(images: &[OsString]) -> Result<Vec<OsString>, LabError> {
    let mut all = Vec::new();
    for image in images {
        let path = Path::new(image);
        match number(image).is_none() && path.is_dir() {
            true => all.extend(data::image_files(path)?.into_iter().map(PathBuf::into_os_string)),
            false => all.push(image.clone()),
        }
    }
    Ok(all)
}

fn read_image(name: &OsStr, shape: &[usize], held_out: Option<&Images>) -> Result<Vec<u8>, LabError> {
    let text = name.to_string_lossy();
    if let (Some(index), Some(images)) = (number(name), held_out) {
        return pick(&images.pixels, index, shape, &text);
    }
    if shape.len() != 3 {
        return Err(LabError::Usage(format!(
            "{text}: the model takes rows of {}, not images; give held-out rows by their numbers",
            shape_text(shape)
        )));
    }
    if let Some((file, index)) = file_and_index(name) {
        return pick(&data::read_idx_images(&file, shape)?, index, shape, &text);
    }
    if data::is_idx(Path::new(name)) {
        return Err(LabError::Usage(format!("{text}: an IDX file holds many images; name one of them as {text}:0")));
    }
    Ok(data::read_image(Path::new(name), shape)?)
}

/// The two sides of `FILE:INDEX`, where the file's name may have any bytes; none where a file is called just so.
fn file_and_index(name: &OsStr) -> Option<(PathBuf, usize)> {
    let bytes = name.as_encoded_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':')?;
    let index = std::str::from_utf8(&bytes[colon + 1..]).ok()?.parse().ok()?;
    let file = PathBuf::from(path_text::os_string(bytes[..colon].to_vec()));
    (!Path::new(name).is_file()).then_some((file, index))
}

/// One of the images of this shape.
fn pick(pixels: &[u8], index: usize, shape: &[usize], name: &str) -> Result<Vec<u8>, LabError> {
    let length = shape.iter().product::<usize>().max(1);
    let count = pixels.len() / length;
    if index >= count {
        return Err(LabError::Usage(format!(
            "{name}: there are {count} images, give an index from 0 to {}",
            count.saturating_sub(1)
        )));
    }
    Ok(pixels[index * length..][..length].to_vec())
}
