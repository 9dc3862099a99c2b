//! Data sets: images or rows of a table with a class each, from a folder, from a file, or from the program itself.
//!
//! [`load`] reads what a [`Request`] names. Four kinds of data are understood, one source each:
//!
//! | what | how it is known |
//! |---|---|
//! | IDX files, those of MNIST and of the sets that took over its format | the names of the four files |
//! | images in folders, a folder a class | folders with PNG or JPEG files |
//! | a table | a `.csv` file, or a folder with `train.csv` |
//! | arrays of NumPy | an `.npz` file |
//!
//! Without a path it is the subset of Fashion-MNIST that the program carries. Whatever the source, inputs are bytes up
//! to the first layer, images are `[channels, height, width]` and of one size, and a share of the training data can be
//! split off for validation. [`check`] tells what a folder holds and what is wrong with it, file by file;
//! [`read_image`] makes single images ready in the way in which those of a set are.
//!
//! Published sets are recognised by the SHA-256 of their files ([`known_sets`]). A folder with one file of such a set
//! claims to be that set, and then all four must be right, unless the caller says that it is a set of its own; other
//! folders are taken as they are. A set knows its files by their SHA-256 ([`Dataset::identity`]) and says what is odd
//! about it ([`Dataset::notes`]).
//!
//! Everything here comes from outside and is not trusted: sizes are checked before memory is taken, and whatever is
//! wrong becomes a [`DataError`] that names the file and the mend.

mod check;
mod contact_sheet;
pub(crate) mod digits;
mod error;
mod identity;
mod images;
mod limit;
mod notes;
mod picture;
mod request;
mod sources;
mod split;

use std::path::Path;

pub use self::check::{CheckReport, FileFormat, FileReport, Verdict, check};
pub use self::contact_sheet::write_contact_sheet;
pub use self::error::DataError;
pub use self::identity::{DataIdentity, FileIdentity};
pub use self::images::Images;
pub use self::picture::{image_files, is_image, read_image, write_png};
pub use self::request::{Progress, Request};
pub use self::sources::idx::{FileRole, KnownSet, is_idx, known_sets, read_idx_images};

use crate::streams::VALIDATION_SPLIT;

/// A set of labelled images or rows, all of one shape; there are some to train on and some to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name of the known set, or else of the folder or file.
    pub name: String,
    /// Names of the classes, the label being the index.
    pub class_names: Vec<String>,
    /// What to train on.
    pub train: Images,
    /// Split off from the training data to choose and to stop by; may be empty.
    pub validation: Images,
    /// What to test on.
    pub test: Images,
    /// Whether all four files are those of a known set, by their SHA-256.
    pub verified: bool,
    /// The files by their SHA-256.
    pub identity: DataIdentity,
    /// What to say where some of the files, but not all, are those of a known set.
    pub altered: Option<String>,
    /// What was left out and what was held out when the set was read, a line each.
    pub remarks: Vec<String>,
}

/// Loads the set that is asked for, or the embedded subset of Fashion-MNIST if no folder or file is named.
///
/// Every source gives its classes an order: labels of IDX and NPZ files are numbers, folders are sorted by name, the
/// values of a label column as numbers where they are whole numbers and by name where not. [`Request::classes`] names
/// them anew. The validation images are a share of each class of the training images, at least one of which is left,
/// the same ones for the same seed. Sets without a part for testing give a fifth of each class to it, also by the seed.
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
fn finish(set: Dataset, request: &Request) -> Result<Dataset, DataError> {
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
        let held = split::held_out(&set.train.labels, request.validation, request.seed, VALIDATION_SPLIT);
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

/// The last part of a path, also for paths like `.` that do not spell it out.
fn file_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path).or_else(|| name(&path.canonicalize().ok()?)).unwrap_or_else(|| "data".to_string())
}

#[cfg(test)]
mod tests;
