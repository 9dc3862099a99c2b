//! Packed models: what they hold, how they are checked, written, read and run.

mod compare;
mod error;
mod executor;
mod file;
mod format;
mod header;
mod model;
mod summary;
mod tensors;
mod version_1;

pub use compare::{Comparison, Difference, first_difference};
pub use error::{PackedError, TensorProblem};
pub use executor::Executor;
pub use file::MAX_FILE;
pub use header::check_header;
pub use model::{PackedModel, Pixels};
pub use summary::{Arithmetic, NodeSummary};
