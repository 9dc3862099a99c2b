use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::files::{self, Claim, FileError, of_runs};
use crate::{Config, LabError};

/// A folder that one execution of a recipe fills.
///
/// | file | content |
/// |---|---|
/// | `config.toml` | every setting, as training started; the model files hold their own |
/// | `model.toml` | the network as a description |
/// | `metrics.csv` | a row an epoch |
/// | `checkpoints/` | what `--resume` continues from |
/// | `float.safetensors` | the network after the float stage |
/// | `model.safetensors` | the network after the last stage |
/// | `model.packed.safetensors` | the packed model, verified |
/// | `summary.json` | the table that training prints, for machines |
/// | `curve.svg` | the metrics by epoch |
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
            return Err(missing(if folder.exists() { "it is a file" } else { "there is no such folder" }));
        }
        if !run.config_path().is_file() {
            return Err(missing("config.toml is missing"));
        }
        Ok(run)
    }

    /// Makes a new run with its config and its network (TOML) in `out`, or in the first of `runs/RECIPE-1`, `runs/RECIPE-2`, ...
    /// that is free; `replace` deletes a run that is in `out`. Nobody else gets the folder while the claim lives.
    pub fn create(
        out: Option<&Path>,
        config: &Config,
        description: &str,
        replace: bool,
    ) -> Result<(Self, Claim), LabError> {
        let (folder, claim) = match out {
            Some(folder) => (folder.to_path_buf(), Self::claim(folder, replace)?),
            None => Self::claim_next(&config.recipe)?,
        };
        let run = Self { folder };
        files::create_folder(&run.checkpoints())?;
        files::write(&run.description_path(), description.as_bytes())?;
        // The config makes it a run, which can be resumed: it comes last.
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
        if !of_runs::is_run(folder) {
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

    /// Deletes what training made, and nothing else that may lie there. What makes it a run goes last, so that one that was deleted
    /// in part can be replaced still.
    fn remove_files(&self) -> std::io::Result<()> {
        let gone = |removed: std::io::Result<()>| match removed {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        };
        for name in of_runs::MADE {
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
        self.folder.join(of_runs::CONFIG)
    }

    /// The network as a description.
    pub fn description_path(&self) -> PathBuf {
        self.folder.join(of_runs::DESCRIPTION)
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join(of_runs::CHECKPOINTS)
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.folder.join(of_runs::METRICS)
    }

    pub(crate) fn curve_path(&self) -> PathBuf {
        self.folder.join(of_runs::CURVE)
    }

    /// The network after the float stage.
    pub(crate) fn float_model_path(&self) -> PathBuf {
        self.folder.join(of_runs::FLOAT_MODEL)
    }

    /// The network after a stage, which may be the last one.
    pub(crate) fn model_after(&self, stage: &str, last: bool) -> PathBuf {
        if last { self.model_path() } else { self.folder.join(format!("{stage}.safetensors")) }
    }

    /// The network after the last stage.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join(of_runs::MODEL)
    }

    /// The packed model.
    pub fn packed_path(&self) -> PathBuf {
        self.folder.join(of_runs::PACKED)
    }

    /// True for the place of the packed model, whatever way leads there.
    pub(crate) fn is_packed_path(&self, path: &Path) -> bool {
        let is_ours = files::are_one(files::folder_of(path), &self.folder);
        is_ours && path.file_name() == self.packed_path().file_name() && !path.is_symlink()
    }

    /// The table for machines.
    pub fn summary_path(&self) -> PathBuf {
        self.folder.join(of_runs::SUMMARY)
    }
}

/// True for a folder in which there is nothing but a lock.
fn is_free(folder: &Path) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == Claim::NAME)))
}
