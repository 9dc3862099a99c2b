//! Data sets: grey images with a label each, from a folder or from the program itself.
//!
//! A set is four IDX files, those of MNIST and of the sets that took over its format: images and labels to train on, images
//! and labels to test on. [`load`] reads a folder with such files, raw or compressed with gzip, or the subset of
//! Fashion-MNIST that the program carries. [`check`] tells what a folder holds and what is wrong with it, file by file.
//!
//! Published sets are recognised by the SHA-256 of their files ([`known_sets`]). A folder with one file of such a set claims
//! to be that set, and then all four must be right; other folders are taken as they are. [`read_png`] reads single images.
//!
//! Everything here comes from outside and is not trusted: sizes are checked before memory is taken, and whatever is wrong
//! becomes a [`DataError`] that names the file and the mend.

mod check;
pub(crate) mod digits;
mod embedded;
mod error;
mod idx;
mod known_sets;
mod png;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::check::{CheckReport, FileReport, Verdict, check};
pub use self::error::DataError;
pub use self::idx::{FileFormat, FileRole};
pub use self::known_sets::{KnownSet, known_sets};
pub use self::png::{read_png, write_png_grey};

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
    /// Names of the classes, the label being the index; plain numbers if the set is not a known one.
    pub class_names: Vec<String>,
    /// The images to train on.
    pub train: Images,
    /// The images to test on.
    pub test: Images,
    /// Whether all four files are those of a known set, by their SHA-256.
    pub verified: bool,
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
/// # Errors
/// Whatever [`DataError`] lists: files that are missing, damaged, do not fit together, or differ from those of the known set
/// that the folder claims to be.
pub fn load(folder: Option<&Path>) -> Result<Dataset, DataError> {
    let Some(folder) = folder else {
        return embedded::load();
    };
    let paths = find_files(folder)?;
    let [Some(train_images), Some(train_labels), Some(test_images), Some(test_labels)] = &paths else {
        return Err(missing_files(folder, &paths));
    };
    let files = [
        idx::read_file(train_images, FileRole::TrainImages)?,
        idx::read_file(train_labels, FileRole::TrainLabels)?,
        idx::read_file(test_images, FileRole::TestImages)?,
        idx::read_file(test_labels, FileRole::TestLabels)?,
    ];
    assemble(folder, files)
}

/// The paths of the files that are there, in the order of [`FileRole::ALL`].
fn find_files(folder: &Path) -> Result<[Option<PathBuf>; 4], DataError> {
    let io_error = |cause| DataError::io(folder, cause);
    if !fs::metadata(folder).map_err(io_error)?.is_dir() {
        let problem = "is not a folder; give the folder that holds the four IDX files";
        return Err(DataError::folder(folder, problem));
    }
    if fs::read_dir(folder).map_err(io_error)?.next().is_none() {
        let problem = "is empty; put the four IDX files of a set into it";
        return Err(DataError::folder(folder, problem));
    }
    Ok(FileRole::ALL.map(|role| {
        ["", ".gz"]
            .into_iter()
            .flat_map(|suffix| role.names().iter().map(move |name| format!("{name}{suffix}")))
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
    }))
}

/// The error for a folder that lacks files.
fn missing_files(folder: &Path, paths: &[Option<PathBuf>; 4]) -> DataError {
    let missing: Vec<String> = FileRole::ALL
        .into_iter()
        .zip(paths)
        .filter(|(_, path)| path.is_none())
        .map(|(role, _)| role.names().join(" or "))
        .collect();
    let problem = format!("lacks {}, each with or without .gz; put the missing files there", missing.join(", "));
    DataError::folder(folder, problem)
}

/// The first known set to which one of the files belongs.
fn claimed_set(files: &[IdxFile]) -> Option<&'static KnownSet> {
    files.iter().find_map(|file| known_sets::recognise(file.role, &file.sha256))
}

/// Makes a set of four files, in the order of [`FileRole::ALL`], after checking that they belong together.
fn assemble(folder: &Path, files: [IdxFile; 4]) -> Result<Dataset, DataError> {
    let known_set = claimed_set(&files);
    if let Some(set) = known_set {
        for file in &files {
            let expected = set.sha256_of(file.role);
            if file.sha256 != expected {
                let (path, found) = (file.path.clone(), file.sha256.clone());
                return Err(DataError::ChecksumMismatch { path, set: set.name, found, expected });
            }
        }
    }

    let [train_images, train_labels, test_images, test_labels] = files;
    if train_images.dims[1..] != test_images.dims[1..] {
        let problem = format!(
            "holds images of {} (height x width), the training images are {}; use one size for both",
            idx::shape_text(&test_images.dims[1..]),
            idx::shape_text(&train_images.dims[1..])
        );
        return Err(DataError::inconsistent(&test_images.path, problem));
    }
    let highest = train_labels.values.iter().copied().max().unwrap_or(0);
    if let Some(index) = test_labels.values.iter().position(|&label| label > highest) {
        let (path, label) = (test_labels.path, test_labels.values[index]);
        return Err(DataError::LabelOutOfRange { path, index, label, highest });
    }

    let (name, class_names) = match known_set {
        Some(set) => (set.name.to_string(), set.class_names.map(String::from).to_vec()),
        None => (file_name(folder), (0..=highest).map(|label| label.to_string()).collect()),
    };
    Ok(Dataset {
        name,
        class_names,
        train: pair(train_images, train_labels)?,
        test: pair(test_images, test_labels)?,
        verified: known_set.is_some(),
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
mod tests {
    use tempfile::TempDir;

    use super::idx::tests::{gzip, idx};
    use super::*;

    /// The files of a small set: three training images and two test images of 2 x 2 pixels, three classes.
    fn small() -> [(&'static str, Vec<u8>); 4] {
        [
            ("train-images-idx3-ubyte", idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
            ("train-labels-idx1-ubyte", idx(&[3], &[2, 0, 1])),
            ("t10k-images-idx3-ubyte", idx(&[2, 2, 2], &[21, 22, 23, 24, 25, 26, 27, 28])),
            ("t10k-labels-idx1-ubyte", idx(&[2], &[1, 2])),
        ]
    }

    /// A folder with the small set and some files written over it.
    fn folder_with(changes: &[(&str, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in small() {
            fs::write(folder.path().join(name), content).unwrap();
        }
        for (name, content) in changes {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    /// Why `load` refuses the folder; `check` must give the same reason.
    fn refusal(folder: &Path) -> DataError {
        let error = load(Some(folder)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(folder.to_str().unwrap()) && !text.contains('\n'), "{text}");
        if let Ok(report) = check(folder) {
            assert_eq!(report.problem.as_ref().unwrap().to_string(), text);
            assert!(!report.verified());
        }
        error
    }

    #[test]
    fn loads_a_folder_of_ones_own() {
        let folder = folder_with(&[]);
        let set = load(Some(folder.path())).unwrap();
        assert_eq!(set.name, file_name(folder.path()));
        assert_eq!(set.class_names, ["0", "1", "2"]);
        assert!(!set.verified);
        assert_eq!((set.train.len(), set.train.height, set.train.width), (3, 2, 2));
        assert_eq!(set.train.image(1), [5, 6, 7, 8]);
        assert_eq!(set.train.labels, [2, 0, 1]);
        assert_eq!(set.test.image(1), [25, 26, 27, 28]);
        assert!(!set.test.is_empty());

        let report = check(folder.path()).unwrap();
        assert!(report.problem.is_none() && report.known_set.is_none() && !report.verified());
        assert!(report.files.iter().all(|file| file.verdict == Verdict::Readable));
        assert_eq!(report.files[0].shape(), "3 x 2 x 2");
    }

    #[test]
    fn takes_gzip_and_the_name_test_and_prefers_raw() {
        let folder = TempDir::new().unwrap();
        for (name, content) in small() {
            let name = name.replace("t10k", "test");
            fs::write(folder.path().join(name + ".gz"), gzip(&content)).unwrap();
        }
        let plain = load(Some(folder_with(&[]).path())).unwrap();
        let packed = load(Some(folder.path())).unwrap();
        assert_eq!((&packed.train, &packed.test), (&plain.train, &plain.test));

        fs::write(folder.path().join("test-labels-idx1-ubyte"), idx(&[2], &[0, 0])).unwrap();
        assert_eq!(load(Some(folder.path())).unwrap().test.labels, [0, 0]);
        let report = check(folder.path()).unwrap();
        assert_eq!(report.files[2].name, "test-images-idx3-ubyte.gz");
        assert_eq!(report.files[2].format, Some(FileFormat::Gzip));
        assert_eq!(report.files[3].format, Some(FileFormat::Raw));
    }

    #[test]
    fn refuses_what_is_no_folder_of_a_set() {
        let folder = folder_with(&[]);
        let file = folder.path().join("train-images-idx3-ubyte");
        assert!(refusal(&file).to_string().contains("is not a folder"));
        assert!(matches!(refusal(&folder.path().join("nowhere")), DataError::Io { .. }));
        assert!(refusal(TempDir::new().unwrap().path()).to_string().contains("is empty"));

        fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
        let text = refusal(folder.path()).to_string();
        assert!(text.contains("lacks t10k-labels-idx1-ubyte or test-labels-idx1-ubyte, each"), "{text}");
        assert_eq!(check(folder.path()).unwrap().files[3].verdict, Verdict::Missing);
    }

    #[test]
    fn refuses_files_that_do_not_fit_together() {
        let folder = folder_with(&[("train-labels-idx1-ubyte", &idx(&[2], &[2, 1]))]);
        let text = refusal(folder.path()).to_string();
        assert!(text.contains("holds 2 labels, train-images-idx3-ubyte holds 3 images"), "{text}");

        let folder = folder_with(&[("t10k-images-idx3-ubyte", &idx(&[2, 1, 4], &[0; 8]))]);
        let text = refusal(folder.path()).to_string();
        assert!(text.contains("images of 1 x 4 (height x width), the training images are 2 x 2"), "{text}");
    }

    #[test]
    fn refuses_a_test_label_that_training_does_not_have() {
        let folder = folder_with(&[("t10k-labels-idx1-ubyte", &idx(&[2], &[1, 17]))]);
        let error = refusal(folder.path());
        assert!(matches!(error, DataError::LabelOutOfRange { index: 1, label: 17, highest: 2, .. }));
        assert!(error.to_string().contains("label 17 at index 1 is out of range 0..=2"));
    }

    #[test]
    fn reports_each_file_that_cannot_be_read() {
        let folder = folder_with(&[("train-labels-idx1-ubyte", b"text"), ("t10k-labels-idx1-ubyte", &[])]);
        assert!(refusal(folder.path()).to_string().contains("train-labels-idx1-ubyte: starts with"));
        let report = check(folder.path()).unwrap();
        assert!(matches!(&report.files[1].verdict, Verdict::Refused(reason) if reason.contains("starts with")));
        assert!(matches!(&report.files[3].verdict, Verdict::Refused(reason) if reason.contains("ends after 0")));
        assert_eq!(report.files[0].verdict, Verdict::Readable);
    }

    #[test]
    fn holds_a_folder_with_a_known_file_to_the_whole_set() {
        let folder = TempDir::new().unwrap();
        for role in FileRole::ALL {
            let name = format!("{}.gz", role.names()[0]);
            fs::write(folder.path().join(name), embedded::bytes(role)).unwrap();
        }
        assert_eq!(load(Some(folder.path())).unwrap(), load(None).unwrap());
        let report = check(folder.path()).unwrap();
        assert!(report.verified());
        assert!(report.files.iter().all(|file| file.verdict == Verdict::Verified));

        // One label changed: the set is still recognised by its other files.
        let mut labels = load(None).unwrap().test.labels;
        labels[0] ^= 1;
        fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(&[1000], &labels)).unwrap();
        let error = refusal(folder.path());
        assert!(matches!(error, DataError::ChecksumMismatch { set: "fashion-mnist-subset", .. }));
        let report = check(folder.path()).unwrap();
        assert_eq!(report.known_set.unwrap().name, "fashion-mnist-subset");
        assert_eq!(report.files[3].verdict, Verdict::Altered("fashion-mnist-subset"));
    }
}
