use std::path::PathBuf;

use thiserror::Error;

use crate::config::changes::one_line;

/// A description, or a file of weights, that cannot be used; one line each, with the thing and the mend.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The text of a description is not TOML, or has other keys than a description.
    #[error("{source_name}: {problem}")]
    Syntax {
        /// The file and the line.
        source_name: String,
        /// What is wrong.
        problem: String,
    },
    /// The description is none of a network.
    #[error("{source_name}: {problem}")]
    Description {
        /// The file.
        source_name: String,
        /// The node that is wrong, and why.
        problem: String,
    },
    /// The description is larger than any network needs.
    #[error("{}: {size} bytes are no description of a network; give a file of at most {most} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: usize,
        /// The most that are read.
        most: usize,
    },
    /// The network takes inputs of another shape than the data have.
    #[error("{}: its [input] has shape {network:?}, the data have {data:?}; {mend}", path.display())]
    InputShape {
        /// The file.
        path: PathBuf,
        /// What the network takes.
        network: Vec<usize>,
        /// What the data are.
        data: Vec<usize>,
        /// How to make them one.
        mend: String,
    },
    /// The network has another number of outputs than the data have classes.
    #[error(
        "{}: its last node, {node}, gives values of shape {output:?}, the data have {classes} classes; it must give [{classes}]",
        path.display()
    )]
    Classes {
        /// The file.
        path: PathBuf,
        /// The last node.
        node: String,
        /// What it gives.
        output: Vec<usize>,
        /// Classes of the data.
        classes: usize,
    },
    /// A file of weights that is none, or not for this.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A line of a rename file.
    #[error("{}:{line}: {problem}", path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Parameters of the network that a file of weights does not have.
    #[error(
        "{}: it has no {}{}; name its tensors as the nodes, or give a file of two columns, theirs and ours, as \
         training.rename, in which `- {}` keeps what the network begins with",
        path.display(),
        listed(missing),
        left_over_message(left_over),
        missing.first().map(|name| one_line(name)).unwrap_or_default()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The parameters.
        missing: Vec<String>,
        /// Tensors of the file that are of no use.
        left_over: Vec<String>,
    },
    /// A tensor of a file of weights whose shape is not that of the parameter.
    #[error("{}: {tensor} has shape {found:?}, the network needs {expected:?}; give weights of the same network", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor, and the parameter where it is called otherwise.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the tensor must have.
        expected: Vec<usize>,
    },
}

impl ModelError {
    /// True where the caller asked for something that cannot be, false where a file of weights is not what it should
    /// be.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Syntax { .. }
            | Self::Description { .. }
            | Self::TooLarge { .. }
            | Self::InputShape { .. }
            | Self::Classes { .. }
            | Self::Rename { .. } => true,
            Self::Weights { .. } | Self::Missing { .. } | Self::Shape { .. } => false,
        }
    }
}

/// Most names that an error lists.
const LISTED: usize = 8;

/// Names in a line; of many, the first ones.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(LISTED) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

fn left_over_message(left_over: &[String]) -> String {
    match left_over {
        [] => String::new(),
        names => format!(" (and {} that the network has no place for)", listed(names)),
    }
}
