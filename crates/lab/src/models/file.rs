//! Descriptions as TOML files that people write.

use std::path::Path;

use hardgrad_runtime::Description;

use super::error::ModelError;
use crate::config::changes::one_line;
use crate::config::with_line;
use crate::{LabError, files};

/// Largest file that is read as a description: 16 MiB.
const LARGEST: usize = 1 << 24;

/// A description from its text, checked; `source_name` is for errors.
///
/// # Errors
/// If the text is not TOML, has other keys than a description, or describes no network.
///
/// ```
/// use hardgrad_lab::models;
///
/// let text = r#"
/// [input]
/// shape = [1, 28, 28]
///
/// [[node]]
/// name = "flatten"
/// op = "flatten"
///
/// [[node]]
/// name = "output"
/// op = "linear"
/// outputs = 10
/// "#;
/// let network = models::parse_description(text, "my.toml").unwrap();
/// assert_eq!(models::description_toml(&network).trim(), text.trim());
/// let error = models::parse_description(&text.replace("outputs", "output"), "my.toml").unwrap_err();
/// assert!(error.to_string().starts_with("my.toml"));
/// ```
pub fn parse_description(text: &str, source_name: &str) -> Result<Description, ModelError> {
    let description: Description = toml::from_str(text).map_err(|error| ModelError::Syntax {
        source_name: with_line(source_name, text, &error),
        problem: one_line(error.message()),
    })?;
    match description.check() {
        Ok(_) => Ok(description),
        Err(problem) => Err(ModelError::Description {
            source_name: source_name.to_string(),
            problem: one_line(&problem.to_string()),
        }),
    }
}

/// The text of a description, from which [`parse_description`] makes the same one.
pub fn description_toml(description: &Description) -> String {
    toml::to_string(description).expect("a description holds only what TOML can")
}

/// The description in a file, checked.
///
/// # Errors
/// As [`parse_description`], and where the file cannot be read or is larger than 16 MiB.
pub fn read_description(path: &Path) -> Result<Description, LabError> {
    let text = files::read_text(path)?;
    if text.len() > LARGEST {
        let path = path.to_path_buf();
        return Err(ModelError::TooLarge { path, size: text.len(), most: LARGEST }.into());
    }
    Ok(parse_description(&text, &path.display().to_string())?)
}

/// Writes a description, in one step.
///
/// # Errors
/// If the file cannot be written.
pub fn write_description(path: &Path, description: &Description) -> Result<(), LabError> {
    Ok(files::write(path, description_toml(description).as_bytes())?)
}
