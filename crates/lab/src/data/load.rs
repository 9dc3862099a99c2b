//! From what is asked for to a set.

use std::path::Path;

use super::dataset::Dataset;
use super::error::DataError;
use super::images::Images;
use super::request::{Progress, Request};
use super::{limit, sources, split};
use crate::streams::VALIDATION_SPLIT;

/// Loads the set that is asked for, or the embedded subset of Fashion-MNIST if no folder or file is named.
///
/// Every source gives its classes an order: labels of IDX and NPZ files are numbers, folders are sorted by name, the
/// values of a label column as numbers where they are whole numbers and by name where not. [`Request::classes`] names
/// them anew. The validation images are a share of each class of the training images, at least one of which is left,
/// the same ones for every run. Sets without a part for testing give a fifth of each class to it, also the same for all.
/// `tell` hears how far long work is.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// Whatever [`DataError`] lists: files that are missing, damaged, do not fit together, are too large, or, with
/// [`Request::verify`], differ from those of the known set that the folder claims to be.
///
/// ```
/// use hardgrad_lab::data::{Request, load};
/// let set = load(&Request { validation: 0.1, ..Request::of(None) }, &mut |_| {})?;
/// assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (2700, 300, 1000));
/// assert_eq!(set.train.shape, [1, 28, 28]);
/// # Ok::<(), hardgrad_lab::data::DataError>(())
/// ```
pub fn load(request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Dataset, DataError> {
    request.check()?;
    let set = match &request.directory {
        None => sources::idx::embedded()?,
        Some(path) => sources::of(path)?.read(path, request, tell)?.set,
    };
    finish(set, request)
}

/// What is done to a set whatever its source: size, channels, names of the classes, validation.
pub(super) fn finish(set: Dataset, request: &Request) -> Result<Dataset, DataError> {
    let mut set = fitted(set, request)?;
    if !request.classes.is_empty() {
        if request.classes.len() != set.class_names.len() {
            return Err(DataError::request(format!(
                "data.classes has {} names for the {} classes of {} ({}); give each class one, or leave the setting empty",
                request.classes.len(),
                set.class_names.len(),
                set.name,
                set.listed(0..set.class_names.len()).unwrap_or_default()
            )));
        }
        set.class_names.clone_from(&request.classes);
    }
    if request.validation > 0.0 {
        let held = split::held_out(&set.train.labels, request.validation, VALIDATION_SPLIT);
        [set.train, set.validation] = set.train.split(&held);
    }
    Ok(set)
}

/// The set with images of the size and the channels that are asked for.
fn fitted(mut set: Dataset, request: &Request) -> Result<Dataset, DataError> {
    if request.size.is_none() && request.channels.is_none() {
        return Ok(set);
    }
    let Ok([channels, height, width]) = <[usize; 3]>::try_from(set.train.shape.as_slice()) else {
        let problem = format!("{} is a table and has no images; leave data.size and data.channels out", set.name);
        return Err(DataError::request(problem));
    };
    let [to_height, to_width] = request.size.unwrap_or([height, width]);
    let to_channels = request.channels.unwrap_or(channels);
    if to_channels != channels && ![1, 3].contains(&channels) {
        return Err(DataError::request(format!(
            "data.channels is {to_channels}, but images of {channels} channels cannot become others; leave it out"
        )));
    }
    let shape = [to_channels, to_height, to_width];
    let path = request.directory.as_deref().unwrap_or(Path::new(&set.name));
    limit::check(path, set.train.len() + set.test.len(), &shape)?;
    set.train = set.train.fitted(shape);
    set.test = set.test.fitted(shape);
    set.validation = Images::none(&shape);
    Ok(set)
}
