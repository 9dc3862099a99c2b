//! What is told about a folder or a file of data, file by file.

use std::fmt;
use std::path::PathBuf;

use super::sources::idx::KnownSet;
use super::{DataError, Dataset};

/// What [`check`](super::check) found.
#[derive(Debug)]
pub struct CheckReport {
    /// The folder or file.
    pub folder: PathBuf,
    /// The files in the order of their source: the four IDX files, a line a folder of images, tables, arrays. Without
    /// those of a source whose set cannot be read, IDX files excepted.
    pub files: Vec<FileReport>,
    /// The known set to which at least one of the files belongs.
    pub known_set: Option<&'static KnownSet>,
    /// Why [`load`](super::load) refuses the data; `None` if it takes them.
    pub problem: Option<DataError>,
    /// The set, also where a file differs from that of a known set; `None` if the files make none.
    pub dataset: Option<Dataset>,
    /// The [`notes`](Dataset::notes) of the set.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Whether all four files are those of a known set.
    pub fn verified(&self) -> bool {
        self.known_set.is_some() && self.problem.is_none()
    }
}

/// How a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// IDX as it is.
    Raw,
    /// IDX compressed with gzip.
    Gzip,
    /// A folder of PNG and JPEG files.
    Images,
    /// A table.
    Csv,
    /// Arrays of NumPy.
    Npz,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Raw => "raw",
            FileFormat::Gzip => "gzip",
            FileFormat::Images => "images",
            FileFormat::Csv => "csv",
            FileFormat::Npz => "npz",
        })
    }
}

/// What [`check`](super::check) found out about one file, or one folder of images.
#[derive(Debug)]
pub struct FileReport {
    /// Name of the file found, or the usual name if there is none.
    pub name: String,
    /// How the file is stored; `None` if it could not be read.
    pub format: Option<FileFormat>,
    /// Dimensions: the count and those of an input, the count of labels; none if the file could not be read.
    pub dims: Vec<usize>,
    /// SHA-256 of the (decompressed) file in hexadecimal digits; `None` if it could not be read.
    pub sha256: Option<String>,
    /// What to think of the file.
    pub verdict: Verdict,
}

impl FileReport {
    /// The dimensions as people write them: `60000 x 28 x 28`.
    pub fn shape(&self) -> String {
        shape_text(&self.dims)
    }

    /// The report on a file that could be read.
    pub(super) fn readable(name: impl Into<String>, format: FileFormat, dims: Vec<usize>, sha256: String) -> Self {
        let (format, sha256, verdict) = (Some(format), Some(sha256), Verdict::Readable);
        Self { name: name.into(), format, dims, sha256, verdict }
    }
}

/// Dimensions as people write them: `60000 x 28 x 28`.
pub(super) fn shape_text<T: ToString>(dims: &[T]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join(" x ")
}

/// What [`check`](super::check) says about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the file of the known set.
    Verified,
    /// It could be read, and the folder does not claim to be a known set.
    Readable,
    /// It could be read, but differs from that of the known set with this name.
    Altered(&'static str),
    /// It is not there.
    Missing,
    /// It could not be read, for this reason.
    Refused(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Verified => f.write_str("verified"),
            Verdict::Readable => f.write_str("readable, of no known set"),
            Verdict::Altered(set) => write!(f, "differs from {set}"),
            Verdict::Missing => f.write_str("missing"),
            Verdict::Refused(reason) => f.write_str(reason),
        }
    }
}
