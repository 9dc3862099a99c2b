//! What a folder holds, file by file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::idx::{self, FileFormat, IdxFile};
use super::known_sets::KnownSet;
use super::role::FileRole;
use super::{DataError, Dataset, altered_file, assemble, claimed_set, file_name, location, mismatch};

/// What [`check`] found in a folder.
#[derive(Debug)]
pub struct CheckReport {
    /// The folder.
    pub folder: PathBuf,
    /// The four files, in the order of [`FileRole::ALL`].
    pub files: Vec<FileReport>,
    /// The known set to which at least one of the files belongs.
    pub known_set: Option<&'static KnownSet>,
    /// Why [`load`](super::load) refuses the folder; `None` if it takes it.
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

/// What [`check`] found out about one file.
#[derive(Debug)]
pub struct FileReport {
    /// What the file is for.
    pub role: FileRole,
    /// Name of the file found, or the usual name if there is none.
    pub name: String,
    /// How the file is stored; `None` if it could not be read.
    pub format: Option<FileFormat>,
    /// Dimensions: count, height, width of images, count of labels; none if the file could not be read.
    pub dims: Vec<usize>,
    /// SHA-256 of the decompressed file in hexadecimal digits; `None` if it could not be read.
    pub sha256: Option<String>,
    /// What to think of the file.
    pub verdict: Verdict,
}

impl FileReport {
    /// The dimensions as people write them: `60000 x 28 x 28`.
    pub fn shape(&self) -> String {
        idx::shape_text(&self.dims)
    }
}

/// What [`check`] says about one file.
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

/// Reads the files of a folder and reports on each of them and on the whole.
///
/// # Errors
/// Only if the folder itself is none, cannot be read or is empty; problems of its files are part of the report.
pub fn check(folder: &Path) -> Result<CheckReport, DataError> {
    let paths = location::find_files(folder)?;
    let mut problem = paths.iter().any(Option::is_none).then(|| location::missing_files(folder, &paths));

    let mut reports = Vec::new();
    let mut contents = Vec::new();
    for (role, path) in FileRole::ALL.into_iter().zip(paths) {
        let mut report = FileReport {
            role,
            name: role.usual_name().to_string(),
            format: None,
            dims: Vec::new(),
            sha256: None,
            verdict: Verdict::Missing,
        };
        if let Some(path) = path {
            report.name = file_name(&path);
            match idx::read_file(&path, role) {
                Ok(file) => {
                    report.format = Some(file.format);
                    report.dims = file.dims.clone();
                    report.sha256 = Some(file.sha256.clone());
                    report.verdict = Verdict::Readable;
                    contents.push(file);
                }
                Err(error) => {
                    report.verdict = Verdict::Refused(error.to_string());
                    problem = problem.or(Some(error));
                }
            }
        }
        reports.push(report);
    }

    let known_set = claimed_set(&contents);
    if let Some(set) = known_set {
        for report in &mut reports {
            if let Some(sha256) = &report.sha256 {
                report.verdict =
                    if sha256 == set.sha256_of(report.role) { Verdict::Verified } else { Verdict::Altered(set.name) };
            }
        }
    }
    // All four could be read: do they also fit together?
    let mut dataset = None;
    if let Ok(files) = <[IdxFile; 4]>::try_from(contents) {
        problem = altered_file(&files).map(|(file, set)| mismatch(file, set));
        match assemble(folder, files) {
            Ok(set) => dataset = Some(set),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    let notes = dataset.as_ref().map_or_else(Vec::new, Dataset::notes);
    Ok(CheckReport { folder: folder.to_path_buf(), files: reports, known_set, problem, dataset, notes })
}
