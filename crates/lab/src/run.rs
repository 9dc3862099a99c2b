use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::path_text;
use crate::export::ProofAccuracy;
use crate::files::{self, Claim, FileError};
use crate::{Config, LabError};

/// A folder that one execution of a recipe fills.
///
/// | file | content |
/// |---|---|
/// | `config.toml` | every setting, as training started; the model files hold their own |
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
    const CONFIG: &str = "config.toml";
    const METRICS: &str = "metrics.csv";
    const SUMMARY: &str = "summary.json";
    const CURVE: &str = "curve.svg";
    const FLOAT_MODEL: &str = "float.safetensors";
    const MODEL: &str = "model.safetensors";
    const PACKED: &str = "model.packed.safetensors";
    pub(crate) const CHECKPOINTS: &str = "checkpoints";

    /// The files of a run, besides its checkpoints.
    pub(crate) const FILES: [&str; 8] = [
        Self::CONFIG,
        Self::METRICS,
        Self::SUMMARY,
        Self::CURVE,
        Self::FLOAT_MODEL,
        Self::MODEL,
        Self::PACKED,
        Claim::NAME,
    ];

    /// Opens a run that exists.
    pub fn open(folder: &Path) -> Result<Self, LabError> {
        let run = Self { folder: folder.to_path_buf() };
        let missing = |problem: &str| LabError::NotARun { path: folder.to_path_buf(), problem: problem.to_string() };
        if !folder.is_dir() {
            return Err(missing(if folder.exists() { "it is a file" } else { "there is no such folder" }));
        }
        if !run.config_path().is_file() {
            return Err(missing("config.toml is missing"));
        }
        Ok(run)
    }

    /// Makes a new run with its config in `out`, or in the first of `runs/RECIPE-1`, `runs/RECIPE-2`, ... that is free; `replace`
    /// deletes a run that is in `out`. Nobody else gets the folder while the claim lives.
    pub fn create(out: Option<&Path>, config: &Config, replace: bool) -> Result<(Self, Claim), LabError> {
        let (folder, claim) = match out {
            Some(folder) => (folder.to_path_buf(), Self::claim(folder, replace)?),
            None => Self::claim_next(&config.recipe)?,
        };
        let run = Self { folder };
        files::create_folder(&run.checkpoints())?;
        files::write(&run.config_path(), config.to_toml().as_bytes())?;
        Ok((run, claim))
    }

    /// Holds a folder that is empty or not there; with `replace` also that of a run, which is deleted.
    fn claim(folder: &Path, replace: bool) -> Result<Claim, LabError> {
        if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
            return Err(LabError::Usage(format!("{}: a file is in the way; choose another --out", folder.display())));
        }
        let claim = Claim::folder(folder)?;
        if is_free(folder) {
            return Ok(claim);
        }
        if !replace {
            return Err(LabError::RunExists { path: folder.to_path_buf() });
        }
        // Only a run may be deleted: --force must not empty somebody's home.
        let old = Self::open(folder)?;
        old.config()?;
        if !Self::is_at(folder) {
            let problem = "checkpoints/ is missing".to_string();
            return Err(LabError::NotARun { path: folder.to_path_buf(), problem });
        }
        old.remove_files().map_err(|cause| FileError::new(folder, "replacing the run", cause))?;
        Ok(claim)
    }

    /// Makes and holds the first numbered folder that nobody else makes or holds.
    fn claim_next(recipe: &str) -> Result<(PathBuf, Claim), LabError> {
        let runs = Path::new("runs");
        files::create_folder(runs)?;
        let mut number = 0u64;
        loop {
            number += 1;
            let folder = runs.join(format!("{recipe}-{number}"));
            match fs::create_dir(&folder) {
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => continue,
                Err(cause) => return Err(FileError::new(&folder, "making the folder", cause).into()),
                Ok(()) => {}
            }
            match Claim::existing(&folder) {
                // Somebody gave just this folder by name, and may have taken it away again.
                Err(FileError::Refused { .. }) => continue,
                Err(_) if !folder.exists() => continue,
                Err(failure) => return Err(failure.into()),
                Ok(claim) if is_free(&folder) => return Ok((folder, claim)),
                Ok(_) => continue,
            }
        }
    }

    /// True for a folder with a config and anything that training made of it.
    pub(crate) fn is_at(folder: &Path) -> bool {
        let made = Self::FILES.iter().filter(|name| **name != Self::CONFIG && **name != Claim::NAME);
        Self::open(folder).is_ok() && made.chain([&Self::CHECKPOINTS]).any(|name| folder.join(name).exists())
    }

    /// Deletes what training made, and nothing else that may lie there. What makes it a run goes last, so that one that was deleted
    /// in part can be replaced still.
    fn remove_files(&self) -> std::io::Result<()> {
        let gone = |removed: std::io::Result<()>| match removed {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        };
        for name in Self::FILES.into_iter().filter(|name| *name != Self::CONFIG && *name != Claim::NAME) {
            gone(fs::remove_file(self.folder.join(name)))?;
        }
        gone(fs::remove_dir_all(self.checkpoints()))?;
        gone(fs::remove_file(self.config_path()))
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
        self.folder.join(Self::CONFIG)
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join(Self::CHECKPOINTS)
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.folder.join(Self::METRICS)
    }

    pub(crate) fn curve_path(&self) -> PathBuf {
        self.folder.join(Self::CURVE)
    }

    pub(crate) fn float_model_path(&self) -> PathBuf {
        self.folder.join(Self::FLOAT_MODEL)
    }

    /// The network after the quantised stage.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join(Self::MODEL)
    }

    /// The packed model.
    pub fn packed_path(&self) -> PathBuf {
        self.folder.join(Self::PACKED)
    }

    /// True for the place of the packed model, whatever way leads there.
    pub(crate) fn is_packed_path(&self, path: &Path) -> bool {
        let is_ours = files::are_one(files::folder_of(path), &self.folder);
        is_ours && path.file_name() == self.packed_path().file_name() && !path.is_symlink()
    }

    /// The table for machines.
    pub fn summary_path(&self) -> PathBuf {
        self.folder.join(Self::SUMMARY)
    }
}

/// True for a folder in which there is nothing but a lock.
fn is_free(folder: &Path) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == Claim::NAME)))
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
    /// Float, post-training quantisation, and quantisation-aware training where there was some.
    pub rows: Vec<Row>,
    /// Outputs of the packed model that equal the trained model's, and outputs compared; none if it could not be packed.
    pub verified: Option<[usize; 2]>,
    /// Accuracy of the two models of this comparison.
    pub accuracy: Option<ProofAccuracy>,
    /// Why there is no packed model.
    pub not_packed: Option<String>,
    /// The run folder.
    #[serde(with = "path_text")]
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
