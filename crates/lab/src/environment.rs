//! What the environment of the process asks for.

use std::env;

use hardgrad_kernels::simd::{self, Level};
use rayon::ThreadPoolBuilder;

use crate::LabError;

/// Number of threads, by the convention of rayon: 0 for one a core.
const THREADS: &str = "RAYON_NUM_THREADS";

/// More threads than any machine has cores for.
const MOST_THREADS: usize = 4096;

/// Starts the threads of the process, after a check of the variables that it obeys: a misspelt one would be passed over.
///
/// # Errors
/// If `HARDGRAD_SIMD` or `RAYON_NUM_THREADS` cannot be, or the system does not give so many threads.
pub fn begin() -> Result<(), LabError> {
    if let Some(word) = variable(simd::VARIABLE)
        && Level::by_name(&word).is_none()
    {
        let words = Level::ALL.map(Level::name).join(", ");
        return Err(LabError::Usage(format!(
            "{} must be one of {words}, got {word:?}; correct it or unset it",
            simd::VARIABLE
        )));
    }
    let threads = variable(THREADS).map(|word| word.parse::<usize>().map_err(|_| word)).transpose();
    let threads = threads.map_err(|word| {
        LabError::Usage(format!(
            "{THREADS} must be a whole number of threads, or 0 for one a core, got {word:?}; correct it or unset it"
        ))
    })?;
    let threads = threads.unwrap_or(0);
    if threads > MOST_THREADS {
        return Err(LabError::Usage(format!(
            "{THREADS} must be at most {MOST_THREADS}, got {threads}; lower it or unset it"
        )));
    }
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|problem| LabError::Threads { threads, problem: problem.to_string() })
}

/// The text of a variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).filter(|word| !word.is_empty()).map(|word| word.to_string_lossy().into_owned())
}
