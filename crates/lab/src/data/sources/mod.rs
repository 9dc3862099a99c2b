//! The kinds of data that are read, one module each, all of one shape: how such data are known, how they are read, and
//! what is told of their files.
//!
//! A source gives a set as it is stored; what is done to every set (size, channels, names of classes, validation)
//! follows in [`load`](super::load). A new source is a module and a line in [`SOURCES`].

mod csv;
mod folder;
pub(super) mod idx;
mod npz;

use std::fs;
use std::path::{Path, PathBuf};

use super::{CheckReport, DataError, Dataset, FileReport, Images, Progress, Request, is_idx, picture, split};
use crate::streams::TEST_SPLIT;

/// A kind of data.
pub(super) trait Source: Sync {
    /// Whether a path leads to such data, as far as names and first bytes tell.
    fn recognises(&self, path: &Path) -> bool;

    /// Reads the set and lists its files.
    fn read(&self, path: &Path, request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Reading, DataError>;

    /// Reports on the files and on the set they make.
    fn check(&self, path: &Path, request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<CheckReport, DataError> {
        Ok(CheckReport::of(path, self.read(path, request, tell)))
    }
}

/// A set and its files.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) set: Dataset,
    pub(super) files: Vec<FileReport>,
}

/// All sources; the first that recognises a path reads it.
static SOURCES: [&dyn Source; 4] = [&npz::Npz, &csv::Csv, &idx::Idx, &folder::Folder];

/// The source that reads what lies at this path.
///
/// # Errors
/// If the path cannot be used, or is a folder that holds images or files of data where no source looks for them. Of
/// what nobody recognises the source of IDX files tells what is missing.
pub(super) fn of(path: &Path) -> Result<&'static dyn Source, DataError> {
    let found = fs::metadata(path).map_err(|cause| DataError::io(path, cause))?;
    if let Some(source) = SOURCES.into_iter().find(|source| source.recognises(path)) {
        return Ok(source);
    }
    let files: Vec<PathBuf> = if found.is_dir() { entries(path)? } else { Vec::new() };
    if !files.iter().any(|file| is_idx(file)) {
        if let Some(file) = files.iter().find(|file| npz::is_npz(file) || csv::is_csv(file)) {
            return Err(DataError::folder(path, format!("holds data in a file; give the file: {}", file.display())));
        }
        if files.iter().any(|file| picture::is_named_image(file) && picture::is_image(file)) {
            let problem = "holds images, but no folders of them; put those of each class into a folder of its own, named as \
                           the class";
            return Err(DataError::folder(path, problem));
        }
    }
    Ok(&idx::Idx)
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |cause| DataError::io(folder, cause);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether the name of a file ends so, in any case.
fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// Which inputs are held out for testing where a set has no part for it, and what to say about it.
fn held_out_for_testing(labels: &[u8], what: &str, request: &Request) -> (Vec<bool>, String) {
    let held = split::held_out(labels, split::TEST_SHARE, request.seed, TEST_SPLIT);
    let count = held.iter().filter(|held| **held).count();
    let remark = format!(
        "{count} of {} {what}, a fifth of each class, are held out for testing, as the data have no part for it (seed {})",
        labels.len(),
        request.seed
    );
    (held, remark)
}

/// Refuses a set of which one part would be empty.
fn check_parts(path: &Path, train: &Images, test: &Images, what: &str) -> Result<(), DataError> {
    if train.is_empty() {
        return Err(DataError::folder(path, format!("has no {what} to train on; add some")));
    }
    if test.is_empty() {
        let problem = format!("has no {what} to test on; add some, or give each class at least two {what}");
        return Err(DataError::folder(path, problem));
    }
    Ok(())
}

/// Names of classes that are numbers, up to the highest label.
fn numbered(highest: u8) -> Vec<String> {
    (0..=highest).map(|label| label.to_string()).collect()
}

/// Classes that labels of one byte can name.
const MOST_CLASSES: usize = 256;
