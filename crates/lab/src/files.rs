//! Reading whole files and replacing them in one step.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {doing} failed: {cause}{}", path.display(), mend(cause))]
pub struct FileError {
    path: PathBuf,
    doing: &'static str,
    cause: io::Error,
}

impl FileError {
    /// Names the file, what was being done with it, and the system's answer.
    pub fn new(path: &Path, doing: &'static str, cause: io::Error) -> Self {
        Self { path: path.to_path_buf(), doing, cause }
    }
}

fn mend(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or choose another folder with --out, then continue with --resume"
        }
        io::ErrorKind::FileTooLarge => "; raise the file size limit or choose another folder with --out",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a place that can be written with --out"
        }
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}

/// The whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|cause| FileError::new(path, "reading", cause))
}

/// The whole file as text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|cause| FileError::new(path, "reading", cause))
}

/// Makes a folder and the folders above it.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|cause| FileError::new(path, "making the folder", cause))
}

/// Replaces `path` by `content` so that a reader, or a crash at any moment, meets the old file or the new one, whole.
///
/// The content goes to a temporary name in the same folder, is synced to the disk, and is renamed. Where that fails, the
/// temporary file is removed and `path` is as it was.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let fail = |cause| FileError::new(path, "writing", cause);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| fail(io::Error::from(io::ErrorKind::IsADirectory)))?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".partial");
    let temporary = folder.join(temporary_name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if let Err(cause) = renamed {
        // What matters is the first failure; the leftover is replaced by the next attempt anyway.
        let _ = fs::remove_file(&temporary);
        return Err(fail(cause));
    }
    // The rename itself must reach the disk too. Some file systems cannot sync a folder, and the file is whole already.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"content").unwrap_err();
        assert!(error.to_string().contains("there"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = write_atomically(&folder.path().join("no/such"), b"content").unwrap_err();
        assert!(missing.to_string().contains("check the path"), "{missing}");
    }
}
