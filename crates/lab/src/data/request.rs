//! What is asked of a data set.

use std::path::{Path, PathBuf};

use super::DataError;

/// Most pixels of a side to which images are resized.
const LARGEST_SIDE: usize = 4096;

/// Which data to read, and what to make of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The folder or file; `None` for the embedded subset of Fashion-MNIST.
    pub directory: Option<PathBuf>,
    /// Refuse files that differ from those of the known set to which another file of the folder belongs.
    pub verify: bool,
    /// Height and width to which images are resized; `None` to take them as they are.
    pub size: Option<[usize; 2]>,
    /// Channels to which images are converted, 1 (grey) or 3 (colour); `None` to take them as they are.
    pub channels: Option<usize>,
    /// Share of the training data that is split off for validation, from 0 to below 1.
    pub validation: f64,
    /// Names of the classes in the order of their labels; empty for those that the data have.
    pub classes: Vec<String>,
    /// Name of the column of a table that holds the class; `None` for `label`, or else the last one.
    pub label: Option<String>,
}

impl Request {
    /// All of a folder, of a file, or of the embedded set, as it is: nothing is resized or split off for validation.
    pub fn of(path: Option<&Path>) -> Self {
        Self {
            directory: path.map(Path::to_path_buf),
            verify: true,
            size: None,
            channels: None,
            validation: 0.0,
            classes: Vec::new(),
            label: None,
        }
    }

    /// Refuses values that no data can meet.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if let Some(channels) = self.channels.filter(|channels| ![1, 3].contains(channels)) {
            return Err(DataError::request(format!("data.channels is {channels}; give 1 for grey or 3 for colour")));
        }
        if let Some(size) = self.size.filter(|size| size.iter().any(|side| !(1..=LARGEST_SIDE).contains(side))) {
            return Err(DataError::request(format!(
                "data.size is {size:?}; give height and width, two numbers from 1 to {LARGEST_SIDE}"
            )));
        }
        if !(0.0..1.0).contains(&self.validation) {
            let share = self.validation;
            return Err(DataError::request(format!("data.validation is {share}; give a share from 0 to below 1")));
        }
        Ok(())
    }
}

/// How far the reading of data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done: `looking at images`, `reading images`.
    pub doing: &'static str,
    /// Files that are done.
    pub done: u64,
    /// Files in all.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_data_can_meet_are_refused() {
        let plain = Request::of(None);
        plain.check().unwrap();
        Request { size: Some([1, 4096]), channels: Some(3), validation: 0.99, ..plain.clone() }.check().unwrap();
        for (request, key) in [
            (Request { channels: Some(2), ..plain.clone() }, "data.channels is 2"),
            (Request { size: Some([0, 3]), ..plain.clone() }, "data.size is [0, 3]"),
            (Request { size: Some([3, 4097]), ..plain.clone() }, "data.size is [3, 4097]"),
            (Request { validation: 1.0, ..plain.clone() }, "data.validation is 1"),
            (Request { validation: f64::NAN, ..plain.clone() }, "data.validation is NaN"),
            (Request { validation: -0.1, ..plain }, "data.validation is -0.1"),
        ] {
            let text = request.check().unwrap_err().to_string();
            assert!(text.starts_with(key), "{text}");
        }
    }
}
