//! Files that somebody names as the place for a result: those of runs are not for that.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::of_runs::{CHECKPOINTS, is_header_of_a_run, is_name, is_run};
use super::write::{folder_of, target_of_links};
use super::{FileError, write};

/// As [`write()`], for a place that a person chose.
///
/// # Errors
/// As [`check_output`] and [`write()`].
pub fn write_output(path: &Path, content: &[u8]) -> Result<(), FileError> {
    check_output(path)?;
    write(path, content)
}

/// Fails where a result must not be written to `path`: a folder, a file of a run, or a model or checkpoint that training wrote,
/// wherever it lies; links are followed. Worth a call before long work.
///
/// # Errors
/// [`FileError::Refused`].
pub fn check_output(path: &Path) -> Result<(), FileError> {
    let Some(target) = ordinary_target(path) else { return Ok(()) };
    if target.is_dir() {
        return Err(FileError::refused(path, "a folder is in the way; choose another name"));
    }
    if belongs_to_a_run(&target) || is_of_a_run(&target) {
        return Err(FileError::refused(path, "the run itself needs this file; choose another name"));
    }
    Ok(())
}

/// Whether this is a model or a checkpoint that training wrote, whatever its name.
pub(crate) fn is_of_a_run(path: &Path) -> bool {
    header(path).is_some_and(|header| is_header_of_a_run(&header))
}

/// Whether two paths lead to one ordinary file or folder, whatever they look like.
pub(crate) fn are_one(a: &Path, b: &Path) -> bool {
    // Opening a pipe, as the comparison does, would wait for its other end.
    let is_ordinary = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir());
    is_ordinary(a) && is_ordinary(b) && same_file::is_same_file(a, b).unwrap_or(false)
}

/// What `path` leads to: a folder, an ordinary file, or a file that does not exist yet; none for devices and pipes.
fn ordinary_target(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(found) => (found.is_file() || found.is_dir()).then(|| fs::canonicalize(path).ok())?,
        Err(_) => {
            let target = target_of_links(path).ok()?;
            Some(fs::canonicalize(folder_of(&target)).ok()?.join(target.file_name()?))
        }
    }
}

/// True for the names that a run gives to its files, in the folder of a run.
fn belongs_to_a_run(target: &Path) -> bool {
    let (folder, name) = (folder_of(target), target.file_name().and_then(|name| name.to_str()));
    (name.is_some_and(is_name) && is_run(folder)) || (folder.ends_with(CHECKPOINTS) && is_run(folder_of(folder)))
}

/// Longest header that is looked at: 100 MB, the most that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// The header of a safetensors file, if the file can be one.
fn header(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let left = file.metadata().ok()?.len().checked_sub(8)?;
    if length > left.min(LONGEST_HEADER) {
        return None;
    }
    let mut header = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut header).ok()?;
    Some(header)
}
