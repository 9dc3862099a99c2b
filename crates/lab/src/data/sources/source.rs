//! What all sources are, and what they share.

use std::path::Path;

use crate::data::{CheckReport, DataError, Dataset, FileReport, Images, Progress, Request, split};
use crate::streams::TEST_SPLIT;

/// A kind of data.
pub(in crate::data) trait Source: Sync {
    /// Whether a path leads to such data, as far as names and first bytes tell.
    fn recognises(&self, path: &Path) -> bool;

    /// Reads the set and lists its files.
    fn read(&self, path: &Path, request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Reading, DataError>;

    /// Reports on the files and on the set they make.
    fn check(&self, path: &Path, request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<CheckReport, DataError> {
        let (files, problem, dataset) = match self.read(path, request, tell) {
            Ok(reading) => (reading.files, None, Some(reading.set)),
            Err(problem) => (Vec::new(), Some(problem), None),
        };
        Ok(CheckReport { folder: path.to_path_buf(), files, known_set: None, problem, dataset, notes: Vec::new() })
    }
}

/// A set and its files.
#[derive(Debug)]
pub(in crate::data) struct Reading {
    pub(in crate::data) set: Dataset,
    pub(in crate::data) files: Vec<FileReport>,
}

/// Whether the name of a file ends so, in any case.
pub(super) fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// Which inputs are held out for testing where a set has no part for it, and what to say about it.
pub(super) fn held_out_for_testing(labels: &[u8], what: &str) -> (Vec<bool>, String) {
    let held = split::held_out(labels, split::TEST_SHARE, TEST_SPLIT);
    let count = held.iter().filter(|held| **held).count();
    let remark = format!(
        "{count} of {} {what}, a fifth of each class, are held out for testing, as the data have no part for it",
        labels.len()
    );
    (held, remark)
}

/// Refuses a set of which one part would be empty.
pub(super) fn check_parts(path: &Path, train: &Images, test: &Images, what: &str) -> Result<(), DataError> {
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
pub(super) fn numbered(highest: u8) -> Vec<String> {
    (0..=highest).map(|label| label.to_string()).collect()
}

/// Classes that labels of one byte can name.
pub(super) const MOST_CLASSES: usize = 256;

/// The last part of a path, also for paths like `.` that do not spell it out.
pub(in crate::data) fn file_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path).or_else(|| name(&path.canonicalize().ok()?)).unwrap_or_else(|| "data".to_string())
}
