use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::{Config, LabError};

/// A folder that one execution of a recipe fills.
///
/// | file | content |
/// |---|---|
/// | `config.toml` | every setting |
/// | `metrics.csv` | a row an epoch |
/// | `checkpoints/` | what `--resume` continues from |
/// | `float.safetensors` | the network after the float stage |
/// | `model.safetensors` | the network after the quantised stage |
/// | `model.packed.safetensors` | the packed model, verified |
/// | `summary.json` | the table that training prints, for machines |
/// | `curve.svg` | loss and accuracy by epoch |
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Opens a run that exists.
    pub fn open(folder: &Path) -> Result<Self, LabError> {
        let run = Self { folder: folder.to_path_buf() };
        let missing = |problem: &str| LabError::NotARun { path: folder.to_path_buf(), problem: problem.to_string() };
        if !folder.is_dir() {
            return Err(missing("there is no such folder"));
        }
        if !run.config_path().is_file() {
            return Err(missing("config.toml is missing"));
        }
        Ok(run)
    }

    /// Makes the folder of a new run with its config; `replace` deletes a run that is there.
    pub fn create(folder: &Path, config: &Config, replace: bool) -> Result<Self, LabError> {
        let run = Self { folder: folder.to_path_buf() };
        if let Ok(metadata) = fs::symlink_metadata(folder) {
            if !metadata.is_dir() {
                return Err(LabError::Usage(format!(
                    "{}: a file is in the way; choose another --out",
                    folder.display()
                )));
            }
            let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
            if !empty && !replace {
                return Err(LabError::RunExists { path: folder.to_path_buf() });
            }
            if !empty {
                // Only a run may be deleted: --force must not empty somebody's home.
                let old = Run::open(folder)?;
                old.config()?;
                if !old.checkpoints().is_dir() {
                    let problem = "checkpoints/ is missing".to_string();
                    return Err(LabError::NotARun { path: folder.to_path_buf(), problem });
                }
                let _lock = old.lock()?;
                fs::remove_dir_all(folder).map_err(|cause| FileError::new(folder, "replacing the run", cause))?;
            }
        }
        files::create_folder(&run.checkpoints())?;
        files::write_atomically(&run.config_path(), config.to_toml().as_bytes())?;
        Ok(run)
    }

    /// Holds the run until the result is dropped (or the process ends); fails where another process holds it.
    pub(crate) fn lock(&self) -> Result<File, LabError> {
        let path = self.config_path();
        let file = File::open(&path).map_err(|cause| FileError::new(&path, "reading", cause))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let folder = self.folder.display();
                Err(LabError::Usage(format!("{folder}: another process is training this run; wait for it or stop it")))
            }
            // File systems without locks train without them.
            _ => Ok(file),
        }
    }

    /// The first of `runs/NAME-1`, `runs/NAME-2`, ... that does not exist.
    pub fn next_folder(name: &str) -> PathBuf {
        (1u64..)
            .map(|number| Path::new("runs").join(format!("{name}-{number}")))
            .find(|folder| fs::symlink_metadata(folder).is_err())
            .unwrap_or_else(|| PathBuf::from("runs"))
    }

    /// True for a path in the run folder whose file a later call reads, which an export must not replace.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        whole(path).starts_with(whole(&self.folder)) && whole(path) != whole(&self.packed_path())
    }

    /// The config with which the run was started.
    pub fn config(&self) -> Result<Config, LabError> {
        let path = self.config_path();
        let config = Config::from_toml(&files::read_text(&path)?, &path.display().to_string())?;
        config.check()?;
        Ok(config)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.folder.join("metrics.csv")
    }

    pub(crate) fn curve_path(&self) -> PathBuf {
        self.folder.join("curve.svg")
    }

    pub(crate) fn float_model_path(&self) -> PathBuf {
        self.folder.join("float.safetensors")
    }

    /// The network after the quantised stage.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    /// The packed model.
    pub fn packed_path(&self) -> PathBuf {
        self.folder.join("model.packed.safetensors")
    }

    /// The table for machines.
    pub fn summary_path(&self) -> PathBuf {
        self.folder.join("summary.json")
    }
}

/// What training prints at its end, and `summary.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the data set.
    pub data: String,
    /// True if the files of the set have their published checksums.
    pub data_verified: bool,
    /// Seed of the run.
    pub seed: u64,
    /// Float, post-training quantisation, quantisation-aware training.
    pub rows: Vec<Row>,
    /// Outputs of the packed model that equal the trained model's, and outputs compared; none if it could not be packed.
    pub verified: Option<[usize; 2]>,
    /// Why there is no packed model.
    pub not_packed: Option<String>,
    /// The run folder.
    pub folder: PathBuf,
}

/// One model of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub model: String,
    /// Bits of weights and activations between the first and the last layer.
    pub bits: [u32; 2],
    /// Share of held-out images that are classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Size of its file.
    pub bytes: u64,
    /// Time for one image, in microseconds, when the held-out set is classified on all threads.
    pub microseconds_per_image: f64,
    /// What computed the outputs: the packed model's integers, or float32.
    pub arithmetic: String,
}
