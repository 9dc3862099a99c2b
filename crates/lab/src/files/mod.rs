//! Reading whole files, replacing them in one step, and holding folders against other processes.

mod claim;
pub(crate) mod of_runs;
mod output;
mod write;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use claim::Claim;
pub(crate) use output::{are_one, is_of_a_run};
pub use output::{check_output, write_output};
pub use write::write;
pub(crate) use write::{folder_of, remove_partial_files};

/// A file or folder that could not be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system did not do what was asked.
    #[error("{}: {doing} failed: {cause}{}", path.display(), mend(doing, cause))]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What was being done with it.
        doing: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// Somebody would lose something.
    #[error("{}: {problem}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is in the way, and the mend.
        problem: &'static str,
    },
}

impl FileError {
    /// Names the file, what was being done with it, and the system's answer.
    pub fn new(path: &Path, doing: &'static str, cause: io::Error) -> Self {
        Self::System { path: path.to_path_buf(), doing, cause }
    }

    fn refused(path: &Path, problem: &'static str) -> Self {
        Self::Refused { path: path.to_path_buf(), problem }
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
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "; a file is in the way, choose another name",
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
