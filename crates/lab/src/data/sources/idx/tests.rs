use std::fs;

use tempfile::TempDir;

use super::*;
use crate::data::sources::source::file_name;
use crate::data::{self, FileFormat};

pub(in crate::data) use super::file::tests::{gzip, idx};

fn load(path: Option<&Path>, verify: bool) -> Result<Dataset, DataError> {
    data::load(&Request { verify, ..Request::of(path) }, &mut |_| {})
}

fn check(path: &Path) -> Result<CheckReport, DataError> {
    data::check(&Request::of(Some(path)), &mut |_| {})
}

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
    let error = load(Some(folder), true).unwrap_err();
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
    let set = load(Some(folder.path()), true).unwrap();
    assert_eq!(set.name, file_name(folder.path()));
    assert_eq!(set.class_names, ["0", "1", "2"]);
    assert!(!set.verified);
    assert_eq!((set.train.len(), &set.train.shape[..]), (3, &[1, 2, 2][..]));
    assert_eq!(set.train.image(1), [5, 6, 7, 8]);
    assert_eq!(set.train.labels, [2, 0, 1]);
    assert_eq!(set.test.image(1), [25, 26, 27, 28]);
    assert!(!set.test.is_empty());

    let files =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    assert!(set.identity.files.iter().map(|file| file.file.as_str()).eq(files));

    let report = check(folder.path()).unwrap();
    assert!(report.problem.is_none() && report.known_set.is_none() && !report.verified());
    assert!(report.files.iter().all(|file| file.verdict == Verdict::Readable));
    assert_eq!(report.files[0].shape(), "3 x 2 x 2");
    for (file, known) in report.files.iter().zip(&set.identity.files) {
        assert_eq!(file.sha256.as_ref(), Some(&known.sha256));
    }
    assert_eq!(report.notes, ["classes without test images, of which the accuracy says nothing: 0"]);
    assert_eq!(report.dataset, Some(set));
}

#[test]
fn takes_gzip_and_the_name_test_and_prefers_raw() {
    let folder = TempDir::new().unwrap();
    for (name, content) in small() {
        let name = name.replace("t10k", "test");
        fs::write(folder.path().join(name + ".gz"), gzip(&content)).unwrap();
    }
    let plain = load(Some(folder_with(&[]).path()), true).unwrap();
    let packed = load(Some(folder.path()), true).unwrap();
    assert_eq!((&packed.train, &packed.test), (&plain.train, &plain.test));

    fs::write(folder.path().join("test-labels-idx1-ubyte"), idx(&[2], &[0, 0])).unwrap();
    assert_eq!(load(Some(folder.path()), true).unwrap().test.labels, [0, 0]);
    let report = check(folder.path()).unwrap();
    assert_eq!(report.files[2].name, "test-images-idx3-ubyte.gz");
    assert_eq!(report.files[2].format, Some(FileFormat::Gzip));
    assert_eq!(report.files[3].format, Some(FileFormat::Raw));
}

#[test]
fn takes_images_with_channels() {
    let folder = folder_with(&[("t10k-images-idx3-ubyte", &idx(&[2, 3, 2, 2], &[9; 24]))]);
    let text = refusal(folder.path()).to_string();
    assert!(text.contains("images of 3 x 2 x 2 (channels x height x width), the training images are 2 x 2"), "{text}");

    fs::remove_file(folder.path().join("train-images-idx3-ubyte")).unwrap();
    let values: Vec<u8> = (0..36).collect();
    fs::write(folder.path().join("train-images-idx4-ubyte"), idx(&[3, 3, 2, 2], &values)).unwrap();
    let set = load(Some(folder.path()), true).unwrap();
    assert_eq!((&set.train.shape[..], &set.test.shape[..]), (&[3, 2, 2][..], &[3, 2, 2][..]));
    assert_eq!((set.train.pixels, set.validation.is_empty()), (values, true));
    let report = check(folder.path()).unwrap();
    assert_eq!(
        (report.files[0].shape(), &report.files[0].name[..]),
        ("3 x 3 x 2 x 2".into(), "train-images-idx4-ubyte")
    );
}

#[test]
fn images_of_one_file_become_inputs_of_a_shape() {
    let folder =
        folder_with(&[("colour", &idx(&[1, 3, 1, 1], &[10, 20, 30])), ("pairs", &idx(&[1, 2, 1, 1], &[7, 8]))]);
    let read = |name: &str, shape: &[usize]| read_idx_images(&folder.path().join(name), shape);
    assert_eq!(read("t10k-images-idx3-ubyte", &[1, 2, 2]).unwrap(), (21..29).collect::<Vec<u8>>());
    assert_eq!(read("t10k-images-idx3-ubyte", &[3, 1, 1]).unwrap(), [23, 23, 23, 27, 27, 27]);
    assert_eq!(read("colour", &[1, 1, 1]).unwrap(), [18]);
    assert_eq!(read("pairs", &[2, 1, 2]).unwrap(), [7, 7, 8, 8]);
    assert!(read("pairs", &[1, 1, 1]).unwrap_err().to_string().contains("images of 2 channels"));
    assert!(read("colour", &[3]).unwrap_err().to_string().contains("a row of 3 features"));
    assert!(read("train-labels-idx1-ubyte", &[1, 1, 1]).unwrap_err().to_string().contains("it holds labels"));
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
    assert_eq!(load(Some(folder.path()), true).unwrap(), load(None, true).unwrap());
    let report = check(folder.path()).unwrap();
    assert!(report.verified());
    assert!(report.files.iter().all(|file| file.verdict == Verdict::Verified));

    // One label changed: the set is still recognised by its other files.
    let mut labels = load(None, true).unwrap().test.labels;
    labels[0] ^= 1;
    fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(&[1000], &labels)).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, DataError::ChecksumMismatch { set: "fashion-mnist-subset", .. }));
    assert!(error.to_string().contains("--set data.verify=false"), "{error}");
    let report = check(folder.path()).unwrap();
    assert_eq!(report.known_set.unwrap().name, "fashion-mnist-subset");
    assert_eq!(report.files[3].verdict, Verdict::Altered("fashion-mnist-subset"));
    assert_eq!(report.dataset.unwrap(), load(Some(folder.path()), false).unwrap());
}

#[test]
fn takes_files_of_a_known_set_beside_others_when_told_so() {
    let known = load(None, true).unwrap();
    assert_eq!(load(None, false).unwrap(), known);
    let folder = TempDir::new().unwrap();
    for role in FileRole::ALL {
        fs::write(folder.path().join(role.usual_name()), embedded::bytes(role)).unwrap();
    }
    // All four are right: it is the known set, whether or not that is asked for.
    assert_eq!(load(Some(folder.path()), false).unwrap(), known);

    // The first ten test images: labels of the known set are left, and with them their meaning.
    let write = |name: &str, dims: &[u32], values: &[u8]| {
        fs::write(folder.path().join(name), idx(dims, values)).unwrap();
    };
    write("t10k-images-idx3-ubyte", &[10, 28, 28], &known.test.pixels[..10 * 784]);
    write("t10k-labels-idx1-ubyte", &[10], &known.test.labels[..10]);
    refusal(folder.path());
    let set = load(Some(folder.path()), false).unwrap();
    assert_eq!((set.verified, set.test.len()), (false, 10));
    assert_eq!(set.name, file_name(folder.path()));
    assert_eq!(set.class_names, known.class_names);
    assert!(set.notes()[0].starts_with("t10k-images-idx3-ubyte is not the file of fashion-mnist-subset"));
    assert_eq!(set.identity.first_difference(&known.identity), Some("t10k-images-idx3-ubyte"));

    // Two classes in both files of labels: what they mean is not known.
    let halves = |labels: &[u8]| -> Vec<u8> { labels.iter().map(|label| label % 2).collect() };
    write("train-labels-idx1-ubyte", &[3000], &halves(&known.train.labels));
    write("t10k-labels-idx1-ubyte", &[10], &halves(&known.test.labels[..10]));
    let set = load(Some(folder.path()), false).unwrap();
    assert_eq!(set.class_names, ["0", "1"]);

    // A class more than the known set has, although the test labels are its own.
    let mut labels = known.train.labels.clone();
    labels[0] = 10;
    write("train-labels-idx1-ubyte", &[3000], &labels);
    write("t10k-images-idx3-ubyte", &[1000, 28, 28], &known.test.pixels);
    write("t10k-labels-idx1-ubyte", &[1000], &known.test.labels);
    let set = load(Some(folder.path()), false).unwrap();
    assert_eq!(set.class_names.len(), 11);
    assert_eq!(set.class_names[10], "10");
    // What does not fit together is refused all the same.
    write("t10k-labels-idx1-ubyte", &[2], &[0, 1]);
    assert!(matches!(load(Some(folder.path()), false), Err(DataError::Inconsistent { .. })));
}

#[test]
fn tells_idx_files_from_others() {
    let folder = folder_with(&[("image.png", b"\x89PNG\r\n"), ("floats", &[0, 0, 0x0d, 1, 0, 0, 0, 0])]);
    let is_idx = |name: &str| is_idx(&folder.path().join(name));
    assert!(is_idx("train-images-idx3-ubyte") && is_idx("t10k-labels-idx1-ubyte"));
    fs::write(folder.path().join("packed"), gzip(&idx(&[1], &[1]))).unwrap();
    assert!(is_idx("packed"));
    assert!(!is_idx("image.png") && !is_idx("floats") && !is_idx("nowhere") && !is_idx(""));
}

#[cfg(target_os = "linux")]
#[test]
fn folders_need_not_have_text_for_a_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join(OsStr::from_bytes(b"im\xffages"));
    fs::create_dir(&folder).unwrap();
    for (name, content) in small() {
        fs::write(folder.join(name), content).unwrap();
    }
    assert_eq!(load(Some(&folder), true).unwrap().name, "im\u{fffd}ages");
    assert!(check(&folder).unwrap().problem.is_none());
    assert!(is_idx(&folder.join("train-images-idx3-ubyte")));
}
