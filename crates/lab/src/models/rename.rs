//! Which tensor of a file of weights is which: a text of two columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use crate::config::changes::{nearest, one_line};
use crate::{LabError, files};

/// What stands in the place of a name that the other side does not have.
const NONE: &str = "-";

/// New names for tensors, or for all tensors whose names begin alike.
///
/// ```text
/// # theirs        ours
/// conv_layers.0   conv1      every tensor whose name is, or begins with, conv_layers.0 and a point
/// head.weight     -          this tensor is not wanted
/// -               output     what the network has there keeps the values that it begins with
/// ```
/// The columns stand apart by spaces, tabs or a comma; what follows `#` is not read.
#[derive(Clone, Debug, Default)]
pub(super) struct Rename {
    path: PathBuf,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    line: usize,
    theirs: String,
    ours: String,
}

impl Rename {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        Ok(Self::parse(&files::read_text(path)?, path)?)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let path = path.to_path_buf();
        let mut rows: Vec<Row> = Vec::new();
        for (place, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = place + 1;
            let refuse = |problem: String| Err(ModelError::Rename { path: path.clone(), line, problem });
            let text = text.split('#').next().unwrap_or_default();
            let mut words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            match (words.next(), words.next(), words.next()) {
                (None, ..) => {}
                (Some(NONE), Some(NONE), None) => {
                    return refuse("two names are missing; give at least one".to_string());
                }
                (Some(theirs), Some(ours), None) => {
                    if theirs != NONE && rows.iter().any(|row| row.theirs == theirs) {
                        return refuse(format!("{theirs} stands above already; give it one name"));
                    }
                    rows.push(Row { line, theirs: theirs.to_string(), ours: ours.to_string() });
                }
                _ => {
                    let text = one_line(text);
                    return refuse(format!("expected two names, the file's and the network's, got {text:?}"));
                }
            }
        }
        Ok(Self { path, rows })
    }

    /// The tensors under their new names, each with its old one.
    ///
    /// # Errors
    /// If a row is for no tensor, or two tensors get one name.
    pub fn apply<T>(&self, tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, (String, T)>, ModelError> {
        for row in self.rows.iter().filter(|row| row.theirs != NONE) {
            if !tensors.keys().any(|name| rest(name, &row.theirs).is_some()) {
                let nearest = nearest(&row.theirs, tensors.keys().cloned());
                let nearest = nearest.map(|name| format!("; did you mean {}?", one_line(&name))).unwrap_or_default();
                return Err(self.refuse(row, format!("the file has no tensor {}{nearest}", row.theirs)));
            }
        }
        let mut renamed: BTreeMap<String, (String, T)> = BTreeMap::new();
        for (theirs, tensor) in tensors {
            // The longest row that fits is the one that means this tensor most.
            let rows = self.rows.iter().filter(|row| row.theirs != NONE);
            let row = rows.filter(|row| rest(&theirs, &row.theirs).is_some()).max_by_key(|row| row.theirs.len());
            let ours = match row {
                Some(row) if row.ours == NONE => continue,
                Some(row) => format!("{}{}", row.ours, rest(&theirs, &row.theirs).unwrap_or_default()),
                None => theirs.clone(),
            };
            if let Some((other, _)) = renamed.get(&ours) {
                let problem = format!("{} and {} both become {}", one_line(other), one_line(&theirs), one_line(&ours));
                return Err(match row.or_else(|| self.rows.first()) {
                    Some(row) => self.refuse(row, problem),
                    None => ModelError::Weights { path: self.path.clone(), problem },
                });
            }
            renamed.insert(ours, (theirs, tensor));
        }
        Ok(renamed)
    }

    /// Whether a parameter of the network keeps the values that it begins with.
    pub fn keeps(&self, parameter: &str) -> bool {
        self.rows.iter().any(|row| row.theirs == NONE && rest(parameter, &row.ours).is_some())
    }

    /// Fails where a row gives, or keeps, what is none of the `names` of the network.
    pub fn check_names(&self, names: &[String]) -> Result<(), ModelError> {
        let mut rows = self.rows.iter().filter(|row| row.ours != NONE);
        match rows.find(|row| !names.iter().any(|name| rest(name, &row.ours).is_some())) {
            Some(row) => {
                let nearest = nearest(&row.ours, names.iter().cloned());
                let nearest = nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                Err(self.refuse(row, format!("the network has no {}{nearest}", row.ours)))
            }
            None => Ok(()),
        }
    }

    fn refuse(&self, row: &Row, problem: String) -> ModelError {
        ModelError::Rename { path: self.path.clone(), line: row.line, problem }
    }
}

/// What follows `start` in a name that is it, or begins with it and a point.
fn rest<'a>(name: &'a str, start: &str) -> Option<&'a str> {
    name.strip_prefix(start).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str, names: &[&str]) -> Result<Vec<(String, String)>, String> {
        let rename = Rename::parse(text, Path::new("names.txt")).map_err(|error| error.to_string())?;
        let tensors = names.iter().map(|name| ((*name).to_string(), ())).collect();
        let found = rename.apply(tensors).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|(ours, (theirs, ()))| (ours, theirs)).collect())
    }

    #[test]
    fn rows_name_tensors_or_their_beginnings() {
        let text =
            "\u{feff}# theirs, ours\n\nlayers.0,conv1 # first\r\nlayers.01\tconv9\nlayers.0.bias  norm1.bias\nhead -\n";
        let names = ["layers.0.weight", "layers.0.bias", "layers.01.weight", "head.weight", "other"];
        let found = renamed(text, &names).unwrap();
        let expected = [
            ("conv1.weight", "layers.0.weight"),
            ("conv9.weight", "layers.01.weight"),
            ("norm1.bias", "layers.0.bias"),
            ("other", "other"),
        ];
        assert_eq!(found, expected.map(|(ours, theirs)| (ours.to_string(), theirs.to_string())));
    }

    #[test]
    fn rows_that_cannot_be_name_their_line() {
        for (text, words) in [
            ("a", "names.txt:1: expected two names"),
            ("\na b c", "names.txt:2: expected two names"),
            ("x y\n\nx z", "names.txt:3: x stands above already"),
            ("lin output", "names.txt:1: the file has no tensor lin; did you mean line?"),
            ("x y\nline y", "names.txt:1: line and x both become y"),
            ("- -", "two names are missing"),
        ] {
            let error = renamed(text, &["x", "line"]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_example_of_the_document_is_one() {
        let document = include_str!("../../../../docs/models.md");
        let (_, text) = document.split_once("```text\n").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        let found =
            renamed(text, &["conv_layers.0.weight", "conv_layers.0.bias", "fc_layers.2.bias", "head.weight"]).unwrap();
        let ours: Vec<&str> = found.iter().map(|(ours, _)| ours.as_str()).collect();
        assert_eq!(ours, ["conv1.bias", "conv1.weight", "output.bias"]);
    }

    #[test]
    fn what_the_network_keeps_is_known() {
        let rename = Rename::parse("- output\n", Path::new("names.txt")).unwrap();
        assert!(rename.keeps("output.weight") && rename.keeps("output.bias") && !rename.keeps("output2.weight"));
        rename.check_names(&["output.weight".to_string()]).unwrap();
        assert!(rename.check_names(&["conv1.weight".to_string()]).unwrap_err().to_string().contains("no output"));
    }
}
