//! The kinds of data that are read, one module each, all of one shape: how such data are known, how they are read, and
//! what is told of their files.
//!
//! A source gives a set as it is stored; what is done to every set (size, channels, names of classes, validation)
//! follows in [`load`](super::load). A new source is a module and a line in [`SOURCES`].

mod csv;
mod folder;
pub(super) mod idx;
mod npz;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

pub(super) use self::source::Source;
use super::{DataError, is_idx, picture};

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
