use std::path::{Path, PathBuf};

use hardgrad::categorical::CategoricalError;
use hardgrad::network::NetworkError;
use hardgrad::packing::PackError;
use hardgrad::parameters::ParameterError;
use hardgrad::zeroth_order::ZerothOrderError;
use hardgrad_runtime::PackedError;
use thiserror::Error;

use crate::config::ConfigError;
use crate::data::DataError;
use crate::files::FileError;
use crate::models::ModelError;
use crate::objectives::ObjectiveError;

/// Anything that can go wrong in the lab; one line each, with the thing and the mend.
#[derive(Debug, Error)]
pub enum LabError {
    /// A config, or a change to one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A description of a network, or weights for it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network that cannot be made of its description and its rules.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An objective.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// An estimator.
    #[error(transparent)]
    Estimator(#[from] CategoricalError),
    /// Guidance of gradients.
    #[error(transparent)]
    ZerothOrder(#[from] ZerothOrderError),
    /// A picture that could not be drawn.
    #[error("{}: the picture cannot be drawn: {problem}", path.display())]
    Picture {
        /// The file it was meant for.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A data set or an image.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Reading or writing a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of a new run exists.
    #[error("{}: the folder exists; choose another --out, continue it with --resume, or replace it with --force", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is not a run.
    #[error("{}: not a run folder ({problem}); give a folder that `hardgrad train` made", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A run without its final model.
    #[error("{}: training is not finished; continue it with `hardgrad train --resume {}`", path.display(), path.display())]
    Unfinished {
        /// The run folder.
        path: PathBuf,
    },
    /// A run whose model has no packed form.
    #[error(
        "{}: this run has no packed model (summary.json says why: {reason}); quantise what it names, or use `hardgrad eval`",
        path.display()
    )]
    NotPacked {
        /// The run folder.
        path: PathBuf,
        /// Why there is none.
        reason: String,
    },
    /// Images that are not those with which a run was trained.
    #[error("{name}: {file} is not the file with which this run was trained (its SHA-256 differs); {mend}")]
    OtherData {
        /// Name of the data set.
        name: String,
        /// The first file that differs.
        file: String,
        /// What to do.
        mend: &'static str,
    },
    /// The images of a run, which cannot be had any more.
    #[error("{problem}; if the images of the run have moved, name their folder with --data DIR")]
    RunData {
        /// What is wrong.
        problem: DataError,
    },
    /// A file of a run whose content is damaged or belongs elsewhere.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A file that another version of the program wrote.
    #[error("{}: {problem}", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version and the mend.
        problem: String,
    },
    /// The parameters of a file do not fit the network.
    #[error("{}: {problem}", path.display())]
    Parameters {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: ParameterError,
    },
    /// A step met a value that is not finite.
    #[error("{tensor} is not finite; lower the learning rate")]
    StepNotFinite {
        /// The loss, or the first gradient with a NaN or an infinity.
        tensor: String,
    },
    /// Training met a value that is not finite.
    #[error(
        "{tensor} is not finite at step {step} (epoch {epoch}) of the {stage} stage; checkpoints from before, if there were any, are kept: \
         lower {key} (now {rate:?}) in a new run, or in this run's config.toml and continue with --resume"
    )]
    NotFinite {
        /// The first tensor with a NaN or an infinity.
        tensor: String,
        /// Step of the stage, from 1.
        step: u64,
        /// Epoch of the stage, from 1.
        epoch: u64,
        /// Name of the stage.
        stage: &'static str,
        /// The config key to change.
        key: &'static str,
        /// Its value.
        rate: f64,
    },
    /// A layer without a packed form.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A packed model.
    #[error("{}", packed_message(path, problem))]
    Packed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: PackedError,
    },
    /// The packed model computes something else than the trained one.
    #[error(
        "{different} of {total} outputs of the packed model differ (first: image {image}, class {class}, trained {trained:e}, \
         packed {packed:e}); nothing was written, please report this as a fault of hardgrad"
    )]
    NotIdentical {
        /// Images with at least one different output.
        different: usize,
        /// Images compared.
        total: usize,
        /// The first one that differs.
        image: usize,
        /// Its first class that differs.
        class: usize,
        /// Output of the trained model.
        trained: f32,
        /// Output of the packed model.
        packed: f32,
    },
    /// Threads that the system does not give.
    #[error("no pool of {threads} threads: {problem}; set RAYON_NUM_THREADS lower")]
    Threads {
        /// Their number.
        threads: usize,
        /// What is wrong.
        problem: String,
    },
    /// The wrong kind of argument.
    #[error("{0}")]
    Usage(String),
}

/// Errors about the file as such name it themselves.
fn packed_message(path: &Path, problem: &PackedError) -> String {
    match problem {
        PackedError::Io { .. } | PackedError::NotAFile { .. } | PackedError::TooLarge { .. } => problem.to_string(),
        _ => format!("{}: {problem}", path.display()),
    }
}

impl LabError {
    /// True where the caller asked for something that cannot be, false where something failed on the way.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Network(_)
            | Self::RunExists { .. }
            | Self::OtherData { .. }
            | Self::Usage(_)
            | Self::Objective(_)
            | Self::Data(DataError::Request { .. }) => true,
            Self::File(error) | Self::Data(DataError::File(error)) => matches!(error, FileError::Refused { .. }),
            Self::Model(error) => error.is_usage(),
            Self::ZerothOrder(error) => !matches!(error, ZerothOrderError::NotFinite),
            // What a run meets on its way is a failure; names, settings and sizes are the caller's.
            Self::Estimator(error) => {
                !matches!(error, CategoricalError::NotFinite { .. } | CategoricalError::CostShape { .. })
            }
            Self::Picture { .. }
            | Self::Data(_)
            | Self::RunData { .. }
            | Self::NotARun { .. }
            | Self::Unfinished { .. }
            | Self::NotPacked { .. }
            | Self::Damaged { .. }
            | Self::OtherVersion { .. }
            | Self::Parameters { .. }
            | Self::StepNotFinite { .. }
            | Self::NotFinite { .. }
            | Self::Pack(_)
            | Self::Packed { .. }
            | Self::NotIdentical { .. }
            | Self::Threads { .. } => false,
        }
    }

    /// True where a step met a value that is not finite: the callers of single steps tell it apart.
    pub(crate) fn is_not_finite(&self) -> bool {
        matches!(self, Self::StepNotFinite { .. })
    }
}
