use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use hardgrad_runtime::PackedError;
use serde::Serialize;

use crate::config::path_text;
use crate::data::{self, Images};
use crate::evaluate::{check_images, input_size, load_quantized, read_packed};
use crate::export::pack;
use crate::tensor_file::ModelDescription;
use crate::{LabError, Run, Summary, files};

/// What a packed model says of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The image as it was named.
    pub image: String,
    /// Class names with their probabilities, the most likely first.
    pub classes: Vec<(String, f32)>,
}

/// The class probabilities of images by a packed model, or by that of a run folder.
///
/// An image is the path of a PNG file, `PATH:INDEX` for an image of an IDX file, or a number: a held-out image of the set in
/// `data`, or of the run's own. A packed file knows no set, so that numbers want `data`.
pub fn predict(model: &Path, images: &[OsString], data: Option<&Path>) -> Result<Vec<Prediction>, LabError> {
    let run = model.is_dir().then(|| Run::open(model)).transpose()?;
    let file = run.as_ref().map_or_else(|| Ok(model.to_path_buf()), packed_path)?;
    let problem = |problem| LabError::Packed { path: file.clone(), problem };
    let packed = read_packed(&file)?;
    let trained = run.as_ref().map(|run| trained_form(run, &file)).transpose()?;
    let executor = packed.plan().map_err(problem)?;
    let size = input_size(&packed, &file)?;
    let numbered = images.iter().find(|image| number(image).is_some());
    let held_out = match (numbered, data, run.as_ref().zip(trained)) {
        (None, Some(_), _) => {
            return Err(LabError::Usage("--data is for images by number; give numbers, or leave it out".to_string()));
        }
        (None, None, _) => None,
        (Some(_), Some(folder), _) => {
            let set = data::load(Some(folder), false)?;
            check_images(&set, size, &packed.class_names)?;
            Some(set.test)
        }
        (Some(_), None, Some((run, trained))) => Some(trained.held_out(run, None)?.images),
        (Some(image), None, None) => {
            let (image, file) = (image.display(), file.display());
            return Err(LabError::Usage(format!(
                "{image}: a number is a held-out image, and {file} does not say of which set; give it with --data DIR"
            )));
        }
    };
    let mut pixels = Vec::new();
    for image in images {
        pixels.extend(read_image(image, size, held_out.as_ref())?);
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
    let classes = packed.class_names.len();
    let predictions = images.iter().zip(probabilities.chunks(classes)).map(|(image, probabilities)| {
        let mut classes: Vec<(String, f32)> =
            packed.class_names.iter().cloned().zip(probabilities.iter().copied()).collect();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        Prediction { image: image.to_string_lossy().into_owned(), classes }
    });
    Ok(predictions.collect())
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
fn trained_form(run: &Run, file: &Path) -> Result<ModelDescription, LabError> {
    let (network, model) = load_quantized(run)?;
    if pack(&network, &model.shape, file)? == files::read(file)? {
        return Ok(model);
    }
    let problem = "it is not the packed form of model.safetensors; make it again with `hardgrad export --force`";
    Err(LabError::Damaged { path: file.to_path_buf(), problem: problem.to_string() })
}

fn number(image: &OsStr) -> Option<usize> {
    image.to_str()?.parse().ok()
}

fn read_image(name: &OsStr, size: (usize, usize, usize), held_out: Option<&Images>) -> Result<Vec<u8>, LabError> {
    let text = name.to_string_lossy();
    if let (Some(index), Some(images)) = (number(name), held_out) {
        return pick(&images.pixels, (1, images.height, images.width), index, size, &text);
    }
    if let Some((file, index)) = file_and_index(name) {
        let (pixels, height, width) = data::read_idx_images(&file)?;
        return pick(&pixels, (1, height, width), index, size, &text);
    }
    if data::is_idx(Path::new(name)) {
        return Err(LabError::Usage(format!("{text}: an IDX file holds many images; name one of them as {text}:0")));
    }
    Ok(data::read_png(Path::new(name), size)?)
}

/// The two sides of `FILE:INDEX`, where the file's name may have any bytes.
fn file_and_index(name: &OsStr) -> Option<(PathBuf, usize)> {
    let bytes = name.as_encoded_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':')?;
    let index = std::str::from_utf8(&bytes[colon + 1..]).ok()?.parse().ok()?;
    Some((PathBuf::from(path_text::os_string(bytes[..colon].to_vec())), index))
}

fn pick(
    pixels: &[u8],
    found: (usize, usize, usize),
    index: usize,
    expected: (usize, usize, usize),
    name: &str,
) -> Result<Vec<u8>, LabError> {
    if found != expected {
        let ((_, height, width), (channels, model_height, model_width)) = (found, expected);
        return Err(LabError::Usage(format!(
            "{name}: images of {height} x {width} pixels with 1 channel, the model takes {model_height} x {model_width} with \
             {channels}; give its own images, for numbers with --data DIR"
        )));
    }
    let length = found.0 * found.1 * found.2;
    let count = pixels.len() / length;
    if index >= count {
        return Err(LabError::Usage(format!(
            "{name}: there are {count} images, give an index from 0 to {}",
            count - 1
        )));
    }
    Ok(pixels[index * length..][..length].to_vec())
}
