use std::path::{Path, PathBuf};

use hardgrad_runtime::PackedModel;
use serde::Serialize;

use crate::data::{self, Images};
use crate::{LabError, Run};

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
/// An image is the path of a PNG file, `PATH:INDEX` for an image of an IDX file, or a number: an image of the held-out set
/// in `data` (the embedded set without it).
pub fn predict(model: &Path, images: &[String], data: Option<&Path>) -> Result<Vec<Prediction>, LabError> {
    let file = if model.is_dir() { Run::open(model)?.packed_path() } else { model.to_path_buf() };
    let problem = |problem| LabError::Packed { path: file.clone(), problem };
    let packed = PackedModel::read(&file).map_err(problem)?;
    let executor = packed.plan().map_err(problem)?;
    let size = (packed.input.channels, packed.input.height, packed.input.width);
    let numbered = images.iter().any(|image| image.parse::<usize>().is_ok());
    let held_out = numbered.then(|| data::load(data)).transpose()?.map(|set| set.test);
    let mut pixels = Vec::new();
    for image in images {
        pixels.extend(read_image(image, size, held_out.as_ref())?);
    }
    let probabilities = executor.predict(&pixels).map_err(problem)?;
    let classes = packed.class_names.len();
    let predictions = images.iter().zip(probabilities.chunks(classes)).map(|(image, probabilities)| {
        let mut classes: Vec<(String, f32)> =
            packed.class_names.iter().cloned().zip(probabilities.iter().copied()).collect();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        Prediction { image: image.clone(), classes }
    });
    Ok(predictions.collect())
}

fn read_image(name: &str, size: (usize, usize, usize), held_out: Option<&Images>) -> Result<Vec<u8>, LabError> {
    if let (Ok(index), Some(images)) = (name.parse::<usize>(), held_out) {
        return pick(&images.pixels, (1, images.height, images.width), index, size, name);
    }
    if let Some((file, index)) = name.rsplit_once(':').and_then(|(file, index)| Some((file, index.parse().ok()?))) {
        let (pixels, height, width) = data::read_idx_images(&PathBuf::from(file))?;
        return pick(&pixels, (1, height, width), index, size, name);
    }
    Ok(data::read_png(Path::new(name), size)?)
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
