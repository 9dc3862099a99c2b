//! What a folder or a file of data holds, file by file.

use super::load::finish;
use super::{CheckReport, DataError, Progress, Request, sources};

/// Reads the files of a folder, or a file of data, and reports on each of them and on the whole.
///
/// # Errors
/// If no folder or file is asked for, the request as such cannot be met, or the folder cannot be read, is empty or
/// holds nothing that is understood; problems of its files are part of the report.
pub fn check(request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<CheckReport, DataError> {
    request.check()?;
    let Some(path) = &request.directory else {
        return Err(DataError::request("nothing to check; give a folder or a file of data"));
    };
    let mut report = sources::of(path)?.check(path, request, tell)?;
    if let Some(set) = report.dataset.take() {
        match finish(set, request) {
            Ok(set) => {
                report.notes = set.notes();
                report.dataset = Some(set);
            }
            Err(problem) => report.problem = report.problem.or(Some(problem)),
        }
    }
    Ok(report)
}
