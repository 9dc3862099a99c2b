//! Data sets: grey images with a label each, from a folder or from the program itself.
//!
//! A set is four IDX files, those of MNIST and of the sets that took over its format: images and labels to train on, images
//! and labels to test on. [`load`] reads a folder with such files, raw or compressed with gzip, or the subset of
//! Fashion-MNIST that the program carries. [`check`] tells what a folder holds and what is wrong with it, file by file.
//!
//! Published sets are recognised by the SHA-256 of their files ([`known_sets`]). A folder with one file of such a set claims
//! to be that set, and then all four must be right, unless the caller says that it is a set of its own; other folders are taken
//! as they are. A set knows its files by their SHA-256 ([`Dataset::identity`]) and says what is odd about it
//! ([`Dataset::notes`]). [`read_png`] reads single images, [`write_contact_sheet`] shows some of a set.
//!
//! Everything here comes from outside and is not trusted: sizes are checked before memory is taken, and whatever is wrong
//! becomes a [`DataError`] that names the file and the mend.

mod check;
mod contact_sheet;
pub(crate) mod digits;
mod embedded;
mod error;
mod gzip;
mod identity;
mod idx;
mod known_sets;
mod location;
mod notes;
mod png;
mod role;

use std::path::Path;

pub use self::check::{CheckReport, FileReport, Verdict, check};
pub use self::contact_sheet::write_contact_sheet;
pub use self::error::DataError;
pub use self::identity::{DataIdentity, FileIdentity};
pub use self::idx::FileFormat;
pub use self::known_sets::{KnownSet, known_sets};
pub use self::png::{read_png, write_png_grey};
pub use self::role::FileRole;

use self::idx::IdxFile;

/// Grey images of one size with their labels: one part of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Brightness from 0 to 255 as stored, `[count, height, width]`, row by row.
    pub pixels: Vec<u8>,
    /// The class of each image, `[count]`.
    pub labels: Vec<u8>,
    /// Rows of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image, `[height, width]`; panics unless `index < len()`.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.height * self.width;
        &self.pixels[index * size..][..size]
    }
}

/// A set of labelled images; both parts have images, of the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name of the known set, or else of the folder.
    pub name: String,
    /// Names of the classes, the label being the index; plain numbers unless the labels are those of a known set.
    pub class_names: Vec<String>,
    /// The images to train on.
    pub train: Images,
    /// The images to test on.
    pub test: Images,
    /// Whether all four files are those of a known set, by their SHA-256.
    pub verified: bool,
    /// The files by their SHA-256.
    pub identity: DataIdentity,
    /// What to say where some of the files, but not all, are those of a known set.
    pub altered: Option<String>,
}

/// Whether a file begins as an IDX file of images or labels does, raw or compressed.
pub fn is_idx(path: &Path) -> bool {
    idx::magic(path).is_some_and(|magic| FileRole::ALL.into_iter().any(|role| role.magic() == magic))
}

/// The pixels of one IDX file of images, gz or raw, with the height and width of an image.
pub fn read_idx_images(path: &Path) -> Result<(Vec<u8>, usize, usize), DataError> {
    let file = idx::read_file(path, FileRole::TestImages)?;
    Ok((file.values, file.dims[1], file.dims[2]))
}

/// Loads the set in a folder, or the embedded subset of Fashion-MNIST if none is given.
///
/// The folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each with or without `.gz`; `test-` may stand for `t10k-`. If a file is there in both forms,
/// the raw one is read. The number of classes of a set that is not a known one is its highest training label plus one.
///
/// Without `verify`, files of a known set beside others make a set of one's own: a subset, other labels, changed images. It
/// has the name of the folder; its classes are called as those of the known set if labels of that set are among its files and
/// none goes beyond them.
///
/// # Errors
/// Whatever [`DataError`] lists: files that are missing, damaged, do not fit together, or, with `verify`, differ from those of
/// the known set that the folder claims to be.
pub fn load(folder: Option<&Path>, verify: bool) -> Result<Dataset, DataError> {
    let Some(folder) = folder else {
        return embedded::load();
    };
    let paths = location::find_files(folder)?;
    let [Some(train_images), Some(train_labels), Some(test_images), Some(test_labels)] = &paths else {
        return Err(location::missing_files(folder, &paths));
    };
    let files = [
        idx::read_file(train_images, FileRole::TrainImages)?,
        idx::read_file(train_labels, FileRole::TrainLabels)?,
        idx::read_file(test_images, FileRole::TestImages)?,
        idx::read_file(test_labels, FileRole::TestLabels)?,
    ];
    if let (true, Some((file, set))) = (verify, altered_file(&files)) {
        return Err(mismatch(file, set));
    }
    assemble(folder, files)
}

/// The first known set to which one of the files belongs.
fn claimed_set(files: &[IdxFile]) -> Option<&'static KnownSet> {
    files.iter().find_map(|file| known_sets::recognise(file.role, &file.sha256))
}

/// The first file that is not that of a known set to which another one belongs, and the set.
fn altered_file(files: &[IdxFile]) -> Option<(&IdxFile, &'static KnownSet)> {
    let set = claimed_set(files)?;
    let file = files.iter().find(|file| file.sha256 != set.sha256_of(file.role))?;
    Some((file, set))
}

/// The error for such a file.
fn mismatch(file: &IdxFile, set: &'static KnownSet) -> DataError {
    let (path, found, expected) = (file.path.clone(), file.sha256.clone(), set.sha256_of(file.role));
    DataError::ChecksumMismatch { path, set: set.name, found, expected }
}

/// Names of the classes up to the label `highest`: those of the known set from which labels come, or numbers.
fn class_names(files: &[IdxFile], highest: u8) -> Vec<String> {
    let labels = files.iter().filter(|file| file.role.is_labels());
    let mut known = labels.filter_map(|file| known_sets::recognise(file.role, &file.sha256)).map(|set| set.class_names);
    match known.next() {
        Some(names) if usize::from(highest) < names.len() && known.all(|others| others == names) => {
            names.map(String::from).to_vec()
        }
        _ => (0..=highest).map(|label| label.to_string()).collect(),
    }
}

/// Makes a set of four files, in the order of [`FileRole::ALL`], after checking that they fit together.
fn assemble(folder: &Path, files: [IdxFile; 4]) -> Result<Dataset, DataError> {
    let known_set = claimed_set(&files).filter(|_| altered_file(&files).is_none());
    let name = known_set.map_or_else(|| file_name(folder), |set| set.name.to_string());
    let identity = DataIdentity::new(&name, &files);
    let altered = altered_file(&files).map(|(file, set)| {
        format!(
            "{} is not the file of {}, to which another file of the folder belongs",
            file.role.usual_name(),
            set.name
        )
    });
    let highest = files[FileRole::TrainLabels as usize].values.iter().copied().max().unwrap_or(0);
    let class_names = class_names(&files, highest);

    let [train_images, train_labels, test_images, test_labels] = files;
    if train_images.dims[1..] != test_images.dims[1..] {
        let problem = format!(
            "holds images of {} (height x width), the training images are {}; use one size for both",
            idx::shape_text(&test_images.dims[1..]),
            idx::shape_text(&train_images.dims[1..])
        );
        return Err(DataError::inconsistent(&test_images.path, problem));
    }
    if let Some(index) = test_labels.values.iter().position(|&label| label > highest) {
        let (path, label) = (test_labels.path, test_labels.values[index]);
        return Err(DataError::LabelOutOfRange { path, index, label, highest });
    }
    Ok(Dataset {
        name,
        class_names,
        train: pair(train_images, train_labels)?,
        test: pair(test_images, test_labels)?,
        verified: known_set.is_some(),
        identity,
        altered,
    })
}

/// Puts images and their labels together.
fn pair(images: IdxFile, labels: IdxFile) -> Result<Images, DataError> {
    let (image_count, label_count) = (images.dims[0], labels.dims[0]);
    if image_count != label_count {
        let problem = format!(
            "holds {label_count} labels, {} holds {image_count} images; give one label an image",
            file_name(&images.path)
        );
        return Err(DataError::inconsistent(&labels.path, problem));
    }
    Ok(Images { height: images.dims[1], width: images.dims[2], pixels: images.values, labels: labels.values })
}

/// The last part of a path, also for paths like `.` that do not spell it out.
fn file_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path).or_else(|| name(&path.canonicalize().ok()?)).unwrap_or_else(|| "data".to_string())
}

#[cfg(test)]
mod tests;
