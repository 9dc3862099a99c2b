//! Which files are images of which class.

use std::path::{Path, PathBuf};

use super::super::entries;
use crate::data::sources::source::file_name;
use crate::data::{DataError, picture};

/// The folder with what to train on.
const TRAIN: &str = "train";

/// The folder with what to test on.
const TEST: &str = "test";

/// The most files that are looked at to find out what a folder is.
const MOST_LOOKS: usize = 1000;

/// A folder whose images are of one class.
#[derive(Debug)]
pub(super) struct ClassFolder {
    /// The name of the class.
    pub(super) class: String,
    /// The place in the set: `train/cats`, or `cats` in a set of one level.
    pub(super) place: String,
    pub(super) path: PathBuf,
    /// Its ordinary files, by name; they need not be images.
    pub(super) files: Vec<PathBuf>,
}

/// The folders of a set.
#[derive(Debug)]
pub(super) struct Listing {
    /// What to train on, or all there is, by the names of the classes.
    pub(super) train: Vec<ClassFolder>,
    /// What to test on, if there is a folder for it.
    pub(super) test: Option<Vec<ClassFolder>>,
    /// What is neither a class nor a file of one, in the order in which it was found.
    pub(super) left_out: Vec<PathBuf>,
}

/// Lists the folders of a set: `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*`.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut left_out = Vec::new();
    let Some(train) = part(root, TRAIN)? else {
        let train = class_folders(root, "", &mut left_out)?;
        return Ok(Listing { train, test: None, left_out });
    };
    let test = part(root, TEST)?;
    for path in entries(root)? {
        if path != train && Some(&path) != test.as_ref() {
            left_out.push(path);
        }
    }
    let train = class_folders(&train, TRAIN, &mut left_out)?;
    let test = test.map(|test| class_folders(&test, TEST, &mut left_out)).transpose()?;
    Ok(Listing { train, test, left_out })
}

/// Whether a folder holds folders with images, as far as names and, of a limited number of files, first bytes tell.
pub(super) fn holds_images(root: &Path) -> bool {
    let folders = || -> Result<Vec<PathBuf>, DataError> {
        let train = part(root, TRAIN)?;
        let root = train.as_deref().unwrap_or(root);
        Ok(entries(root)?.into_iter().filter(|path| is_class(path)).collect())
    };
    let files = folders().unwrap_or_default().into_iter().flat_map(|folder| entries(&folder).unwrap_or_default());
    let files = files.filter(|path| !is_hidden(path)).take(MOST_LOOKS);
    files.into_iter().any(|path| (picture::is_named_image(&path) && path.is_file()) || picture::is_image(&path))
}

/// The folder inside `root` with this name in any case, if it holds folders itself.
fn part(root: &Path, name: &str) -> Result<Option<PathBuf>, DataError> {
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name));
    let Some(path) = entries(root)?.into_iter().find(|path| is_named(path) && path.is_dir()) else { return Ok(None) };
    let holds_folders = entries(&path)?.iter().any(|path| is_class(path));
    Ok(holds_folders.then_some(path))
}

/// The folders of the classes in a folder, by name; a name before theirs makes their place.
fn class_folders(root: &Path, before: &str, left_out: &mut Vec<PathBuf>) -> Result<Vec<ClassFolder>, DataError> {
    let mut folders = Vec::new();
    for path in entries(root)? {
        if !is_class(&path) {
            left_out.push(path);
            continue;
        }
        let mut files = Vec::new();
        for file in entries(&path)? {
            if file.is_file() && !is_hidden(&file) {
                files.push(file);
            } else {
                left_out.push(file);
            }
        }
        let class = file_name(&path);
        let place = if before.is_empty() { class.clone() } else { format!("{before}/{class}") };
        folders.push(ClassFolder { class, place, path, files });
    }
    Ok(folders)
}

fn is_class(path: &Path) -> bool {
    path.is_dir() && !is_hidden(path)
}

/// Whether the system or a program put the file there for itself, as the beginning of its name tells.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'))
}
