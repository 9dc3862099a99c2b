//! Reading whole files and replacing them in one step.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {doing} failed: {cause}{}", path.display(), mend(doing, cause))]
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

fn mend(doing: &str, cause: &io::Error) -> &'static str {
    if doing == READING {
        return if cause.kind() == io::ErrorKind::NotFound { "; check the path" } else { "" };
    }
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space (an interrupted run then continues with --resume) or choose another place"
        }
        io::ErrorKind::FileTooLarge => "; raise the limit on the size of files",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "; choose a place that can be written",
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}

/// What a failed reader was doing.
const READING: &str = "reading";

/// Largest file that is read whole: 4 GiB.
const LARGEST: u64 = 4 << 30;

/// The whole file, which must be an ordinary one of at most 4 GiB.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |cause| FileError::new(path, READING, cause);
    let refuse = |problem: &str| fail(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(refuse("it is not a file"));
    }
    if metadata.len() > LARGEST {
        return Err(refuse("it is larger than 4 GiB"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(LARGEST).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// The whole file as text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let not_text =
        |_| FileError::new(path, READING, io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"));
    String::from_utf8(read(path)?).map_err(not_text)
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
    temporary_name.push(format!(".{}{PARTIAL}", std::process::id()));
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

/// Ending of temporary names.
const PARTIAL: &str = ".partial";

/// Removes what killed processes left of files that they were writing into `folder`.
pub fn remove_partial_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL)) {
            // One that stays is only in the way of tidiness.
            let _ = fs::remove_file(entry.path());
        }
    }
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
