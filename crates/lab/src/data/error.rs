use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::FileError;

/// What can be wrong with data; each message is one line that names the file and the mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system could not open, read or write a file or folder.
    #[error("{}: {cause}; check that it exists and that you may use it", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The folder is none, is empty, or lacks files of the set.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// The content of a file is not what its format asks for.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// Two files of a set do not fit together.
    #[error("{}: {problem}", path.display())]
    Inconsistent {
        /// The file that does not fit the other one.
        path: PathBuf,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A label names a class that the set does not have.
    #[error(
        "{}: label {label} at index {index} is out of range 0..={highest}, the labels of the training images; \
         correct it, or add training images of that class",
        path.display()
    )]
    LabelOutOfRange {
        /// The file with the label.
        path: PathBuf,
        /// Position of the label in the file, from 0.
        index: usize,
        /// The label.
        label: u8,
        /// The highest label of the training images.
        highest: u8,
    },
    /// A file differs from that of the set to which another file of the folder belongs.
    #[error(
        "{}: is not the file of {set}, to which another file of the folder belongs: SHA-256 is {found}, \
         expected {expected}; fetch the set again, or, if it is a set of your own, train with --set data.verify=false or keep no \
         file of {set} beside yours (`hardgrad data check` shows all files)",
        path.display()
    )]
    ChecksumMismatch {
        /// The file that differs.
        path: PathBuf,
        /// Name of the known set.
        set: &'static str,
        /// SHA-256 of the decompressed file.
        found: String,
        /// SHA-256 of the file as published.
        expected: &'static str,
    },
    /// A picture could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The inputs of a set take more memory than is given to them.
    #[error("{}: {what} take {}, the limit is {}; {mend}", path.display(), bytes_text(*bytes), bytes_text(*limit))]
    TooLarge {
        /// The folder or file.
        path: PathBuf,
        /// What there is: how many, and of which size.
        what: String,
        /// What it would take.
        bytes: u64,
        /// The most that it may take.
        limit: u64,
        /// What helps.
        mend: &'static str,
    },
    /// What was asked of the data cannot be done.
    #[error("{problem}")]
    Request {
        /// The setting, what is wrong with it, and the mend.
        problem: String,
    },
}

impl DataError {
    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.to_path_buf();
        DataError::Io { path, cause }
    }

    pub(super) fn folder(path: &Path, problem: impl Into<String>) -> Self {
        let (path, problem) = (path.to_path_buf(), problem.into());
        DataError::Folder { path, problem }
    }

    pub(super) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        let (path, problem) = (path.to_path_buf(), problem.into());
        DataError::Malformed { path, problem }
    }

    pub(super) fn inconsistent(path: &Path, problem: impl Into<String>) -> Self {
        let (path, problem) = (path.to_path_buf(), problem.into());
        DataError::Inconsistent { path, problem }
    }

    pub(super) fn request(problem: impl Into<String>) -> Self {
        DataError::Request { problem: problem.into() }
    }
}

/// A number of bytes as people read it.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_words() {
        assert_eq!(bytes_text(1023), "1023 bytes");
        assert_eq!(bytes_text(1536), "1.5 KiB");
        assert_eq!(bytes_text(8 << 30), "8.0 GiB");
        assert_eq!(bytes_text(u64::MAX), "16777216.0 TiB");
    }
}
