//! IDX files, the format of MNIST and of the sets that took over its format.
//!
//! A set is four files: images and labels to train on, images and labels to test on, raw or compressed with gzip. It is
//! known by the names of the files, and published sets by their SHA-256.

mod embedded;
mod file;
mod gzip;
mod known_sets;
mod location;
mod role;

use std::path::Path;

pub(in crate::data) use self::embedded::load as embedded;
pub use self::known_sets::{KnownSet, known_sets};
pub use self::role::FileRole;

use self::file::IdxFile;
use super::source::{Reading, Source, file_name, numbered};
use crate::data::report::shape_text;
use crate::data::{
    CheckReport, DataError, DataIdentity, Dataset, FileReport, Images, Progress, Request, Verdict, limit, picture,
};

/// The four files of a set in a folder.
pub(super) struct Idx;

impl Source for Idx {
    fn recognises(&self, path: &Path) -> bool {
        path.is_dir() && FileRole::ALL.into_iter().any(|role| location::named(path, role).is_some())
    }

    /// The folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte`, each with or without `.gz`; `test-` may stand for `t10k-`, and `idx4` for `idx3`. If a
    /// file is there in both forms, the raw one is read. The number of classes of a set that is not a known one is its
    /// highest training label plus one.
    ///
    /// Where the request does not ask to verify, files of a known set beside others make a set of one's own: a subset,
    /// other labels, changed images. It has the name of the folder; its classes are called as those of the known set if
    /// labels of that set are among its files and none goes beyond them.
    fn read(&self, path: &Path, request: &Request, _: &mut dyn FnMut(Progress)) -> Result<Reading, DataError> {
        let paths = location::find_files(path)?;
        let [Some(train_images), Some(train_labels), Some(test_images), Some(test_labels)] = &paths else {
            return Err(location::missing_files(path, &paths));
        };
        let files = [
            file::read_file(train_images, FileRole::TrainImages)?,
            file::read_file(train_labels, FileRole::TrainLabels)?,
            file::read_file(test_images, FileRole::TestImages)?,
            file::read_file(test_labels, FileRole::TestLabels)?,
        ];
        if let (true, Some((file, set))) = (request.verify, altered_file(&files)) {
            return Err(mismatch(file, set));
        }
        let reports = files.iter().map(report).collect();
        Ok(Reading { set: assemble(path, files)?, files: reports })
    }

    /// All files are reported on, whatever is wrong with some of them, and held to a known set whatever the request
    /// says.
    fn check(&self, path: &Path, _: &Request, _: &mut dyn FnMut(Progress)) -> Result<CheckReport, DataError> {
        let paths = location::find_files(path)?;
        let mut problem = paths.iter().any(Option::is_none).then(|| location::missing_files(path, &paths));

        let mut reports = Vec::new();
        let mut contents = Vec::new();
        for (role, path) in FileRole::ALL.into_iter().zip(paths) {
            let Some(path) = path else {
                reports.push((role, unread(role.usual_name().to_string(), Verdict::Missing)));
                continue;
            };
            match file::read_file(&path, role) {
                Ok(file) => {
                    reports.push((role, report(&file)));
                    contents.push(file);
                }
                Err(error) => {
                    reports.push((role, unread(file_name(&path), Verdict::Refused(error.to_string()))));
                    problem = problem.or(Some(error));
                }
            }
        }

        let known_set = claimed_set(&contents);
        if let Some(set) = known_set {
            for (role, report) in &mut reports {
                if let Some(sha256) = &report.sha256 {
                    report.verdict =
                        if sha256 == set.sha256_of(*role) { Verdict::Verified } else { Verdict::Altered(set.name) };
                }
            }
        }
        // All four could be read: do they also fit together?
        let mut dataset = None;
        if let Ok(files) = <[IdxFile; 4]>::try_from(contents) {
            problem = altered_file(&files).map(|(file, set)| mismatch(file, set));
            match assemble(path, files) {
                Ok(set) => dataset = Some(set),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        let files = reports.into_iter().map(|(_, report)| report).collect();
        Ok(CheckReport { folder: path.to_path_buf(), files, known_set, problem, dataset, notes: Vec::new() })
    }
}

/// Whether a file begins as an IDX file of images or labels does, raw or compressed.
pub fn is_idx(path: &Path) -> bool {
    file::magic(path).is_some_and(|magic| FileRole::ALL.into_iter().any(|role| role.takes(magic)))
}

/// The images of one IDX file, raw or compressed, as inputs of the shape `[channels, height, width]`, `[count, shape]`:
/// with other channels and resized as [`read_image`](crate::data::read_image) does it.
///
/// # Errors
/// If the file is no IDX file of images, is damaged, is too large in this shape, or no image has the shape; images with
/// neither one nor three channels can only be resized.
pub fn read_idx_images(path: &Path, shape: &[usize]) -> Result<Vec<u8>, DataError> {
    let file = file::read_file(path, FileRole::TestImages)?;
    let (from, count) = (file.shape(), file.dims[0]);
    let to = match *shape {
        [channels, height, width] if channels == from[0] && height > 0 && width > 0 => [channels, height, width],
        _ if ![1, 3].contains(&from[0]) => {
            let channels = from[0];
            let problem =
                format!("holds images of {channels} channels, which cannot become inputs of the shape {shape:?}");
            return Err(DataError::malformed(path, format!("{problem}; use a model that takes {channels}")));
        }
        _ => picture::image_shape(path, shape)?,
    };
    limit::check(path, count, &to)?;
    Ok(Images { pixels: file.values, labels: vec![0; count], shape: from }.fitted(to).pixels)
}

/// The report on a file that could be read.
fn report(file: &IdxFile) -> FileReport {
    FileReport::readable(file_name(&file.path), file.format, file.dims.clone(), file.sha256.clone())
}

/// The report on a file that could not.
fn unread(name: String, verdict: Verdict) -> FileReport {
    FileReport { name, format: None, dims: Vec::new(), sha256: None, verdict }
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
        _ => numbered(highest),
    }
}

/// Makes a set of four files, in the order of [`FileRole::ALL`], after checking that they fit together.
fn assemble(folder: &Path, files: [IdxFile; 4]) -> Result<Dataset, DataError> {
    let known_set = claimed_set(&files).filter(|_| altered_file(&files).is_none());
    let name = known_set.map_or_else(|| file_name(folder), |set| set.name.to_string());
    let identity = DataIdentity::new(&name, files.iter().map(|file| (file.role.usual_name(), file.sha256.clone())));
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
        let kind =
            |images: &IdxFile| if images.dims.len() == 3 { "height x width" } else { "channels x height x width" };
        let problem = format!(
            "holds images of {} ({}), the training images are {}; use one size for both",
            shape_text(&test_images.dims[1..]),
            kind(&test_images),
            shape_text(&train_images.dims[1..])
        );
        return Err(DataError::inconsistent(&test_images.path, problem));
    }
    if let Some(index) = test_labels.values.iter().position(|&label| label > highest) {
        let (path, label) = (test_labels.path, test_labels.values[index]);
        return Err(DataError::LabelOutOfRange { path, index, label, highest });
    }
    let (train, test) = (pair(train_images, train_labels)?, pair(test_images, test_labels)?);
    Ok(Dataset {
        name,
        class_names,
        validation: Images::none(&train.shape),
        train,
        test,
        verified: known_set.is_some(),
        identity,
        altered,
        remarks: Vec::new(),
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
    Ok(Images { shape: images.shape(), pixels: images.values, labels: labels.values })
}

#[cfg(test)]
pub(in crate::data) mod tests;
