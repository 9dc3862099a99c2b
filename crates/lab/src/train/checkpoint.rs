use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use hardgrad::optim::Optimizer;
use hardgrad::parameters::{self, Parameter};
use serde::{Deserialize, Serialize};

use super::{DiagnosisRow, EpochRow, METHOD, Stage};
use crate::data::DataIdentity;
use crate::files;
use crate::tensor_file::{Origin, TensorFile, to_parameters, to_tensors};
use crate::{Config, LabError, NetworkShape, Run};

/// Checkpoints that a run keeps.
const KEPT: usize = 2;

const FORMAT: &str = "hardgrad checkpoint 4";
const PARAMETERS: &str = "parameters/";
const MOMENTS: [&str; 2] = ["adam/first_moment/", "adam/second_moment/"];

/// Where training stands. Random numbers and the order of the images follow from the seed and the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    format: String,
    /// The stage.
    pub stage: Stage,
    /// Steps done in it; the schedule and the data position follow from it.
    pub step: u64,
    /// Loss of the running epoch's steps, added up, as the bits of an f64.
    pub loss_sum: u64,
    /// Images of the running epoch that were classified correctly.
    pub correct: u64,
    /// Forward passes of guidance in the running epoch.
    pub passes: u64,
    /// Directions of guidance that it left out.
    pub skipped: u64,
    /// Rows of the metrics so far.
    pub rows: Vec<EpochRow>,
    /// Measurements of hard values so far.
    pub diagnoses: Vec<DiagnosisRow>,
    /// Settings under which it was made.
    pub config: Config,
    /// Images and classes on which it was made.
    pub shape: NetworkShape,
    /// The files of the images.
    pub data: DataIdentity,
    /// The runs whose float networks came before.
    pub before: Vec<Origin>,
}

impl Position {
    /// The start of a stage after these epochs.
    pub fn begin(
        stage: Stage,
        rows: Vec<EpochRow>,
        config: &Config,
        shape: &NetworkShape,
        data: &DataIdentity,
    ) -> Self {
        let (config, shape, data) = (config.clone(), shape.clone(), data.clone());
        Self {
            format: FORMAT.to_string(),
            stage,
            step: 0,
            loss_sum: 0,
            correct: 0,
            passes: 0,
            skipped: 0,
            rows,
            diagnoses: Vec::new(),
            config,
            shape,
            data,
            before: Vec::new(),
        }
    }

    /// Fails where settings or images are not those of the checkpoint; learning rates, checkpoint intervals and the place
    /// of the images may change.
    pub fn check(&self, config: &Config, shape: &NetworkShape, data: &DataIdentity) -> Result<(), LabError> {
        let mut allowed = self.config.clone();
        allowed.training.float_learning_rate = config.training.float_learning_rate;
        allowed.training.quantized_learning_rate = config.training.quantized_learning_rate;
        allowed.training.checkpoint_every = config.training.checkpoint_every;
        allowed.data.directory.clone_from(&config.data.directory);
        if let Some(key) = allowed.first_difference(config) {
            return Err(LabError::Usage(format!(
                "config.toml: {key} differs from the checkpoint; undo the change or start a new run"
            )));
        }
        if let Some(file) = self.data.first_difference(data) {
            let mend = "give the run its old data or start a new run";
            return Err(LabError::OtherData { name: data.name.clone(), file: file.to_string(), mend });
        }
        if self.shape != *shape {
            let problem = "the images are not those of the checkpoint; give the run its old data or start a new run";
            return Err(LabError::Usage(problem.to_string()));
        }
        Ok(())
    }
}

/// Everything that a resumed run needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// Where training stands.
    pub position: Position,
    /// Parameters and running statistics.
    pub parameters: Vec<Parameter>,
    /// State of the optimizer.
    pub optimizer: Optimizer,
}

impl Checkpoint {
    /// What a resumed run needs of this moment.
    pub fn of<M: Module>(position: &Position, network: &M, optimizer: &Optimizer) -> Self {
        let parameters = parameters::read(network);
        Self { position: position.clone(), parameters, optimizer: optimizer.clone() }
    }

    /// Writes the checkpoint in one step and removes all before the newest two.
    pub fn save(self, run: &Run) -> Result<(), LabError> {
        let path = run.checkpoints().join(name(self.position.stage, self.position.step));
        files::write(&path, &self.into_bytes())?;
        for old in list(run)?.into_iter().rev().skip(KEPT) {
            // An old checkpoint that stays does no harm.
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    fn into_bytes(self) -> Vec<u8> {
        let shapes: BTreeMap<String, Vec<usize>> =
            self.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
        let mut tensors = to_tensors(self.parameters, PARAMETERS);
        for (name, moments) in self.optimizer.moments() {
            for (prefix, values) in MOMENTS.into_iter().zip(moments) {
                tensors.insert(format!("{prefix}{name}"), (shapes[name].clone(), values.clone()));
            }
        }
        TensorFile { description: self.position, tensors }.to_bytes()
    }

    /// The newest checkpoint that is whole, and the problems of newer ones, which are set aside.
    ///
    /// # Errors
    /// If a checkpoint cannot be read, or is of another version: training from an older one, or from the beginning, would lose it.
    pub fn newest(run: &Run) -> Result<(Option<Self>, Vec<LabError>), LabError> {
        let mut problems = Vec::new();
        for path in list(run)?.into_iter().rev() {
            match Self::read(&path) {
                Ok(checkpoint) => return Ok((Some(checkpoint), problems)),
                Err(problem @ LabError::Damaged { .. }) => {
                    // It would count as one of the newest when old ones are removed.
                    let aside = path.with_extension("damaged");
                    std::fs::rename(&path, &aside)
                        .map_err(|cause| files::FileError::new(&path, "setting aside", cause))?;
                    problems.push(problem);
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok((None, problems))
    }

    fn read(path: &Path) -> Result<Self, LabError> {
        let file = TensorFile::<Position>::read(path, "checkpoint", FORMAT)?;
        let damaged = |problem: String| LabError::Damaged { path: path.to_path_buf(), problem };
        let mut moments: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
        for moment in MOMENTS.iter().flat_map(|prefix| to_parameters(&file.tensors, prefix)) {
            let parameter = file.tensors.get(&format!("{PARAMETERS}{}", moment.name));
            if parameter.is_none_or(|(shape, _)| *shape != moment.shape) {
                return Err(damaged(format!(
                    "not a whole checkpoint ({} has no parameter of its shape); train again",
                    moment.name
                )));
            }
            moments.entry(moment.name).or_default().push(moment.values);
        }
        let optimizer = Optimizer::resume(METHOD, file.description.step, moments)
            .map_err(|problem| damaged(problem.to_string()))?;
        Ok(Self { parameters: to_parameters(&file.tensors, PARAMETERS), optimizer, position: file.description })
    }
}

const STAGES: [Stage; 2] = [Stage::Float, Stage::Quantized];

fn name(stage: Stage, step: u64) -> String {
    format!("{}-{}-{step:012}.safetensors", stage as u8, stage.name())
}

/// The checkpoints of a run, oldest first: their names sort by stage and step. Other files are none of our business.
fn list(run: &Run) -> Result<Vec<PathBuf>, LabError> {
    let folder = run.checkpoints();
    let entries = std::fs::read_dir(&folder).map_err(|cause| files::FileError::new(&folder, "listing", cause))?;
    let is_ours = |found: &str| {
        let step = found.rsplit('-').next().and_then(|end| end.strip_suffix(".safetensors")?.parse().ok());
        step.is_some_and(|step| STAGES.iter().any(|&stage| name(stage, step) == found))
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours))
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::FileIdentity;

    fn data(sha256: &str) -> DataIdentity {
        let file = FileIdentity { file: "t10k-labels-idx1-ubyte".to_string(), sha256: sha256.to_string() };
        DataIdentity { name: "tiny".to_string(), files: vec![file] }
    }

    #[test]
    fn what_is_saved_is_what_is_read_and_only_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default();
        let (run, _claim) = Run::create(Some(&folder.path().join("run")), &config, false).unwrap();
        let shape = NetworkShape { height: 2, width: 3, scale: 0.1, zero_point: 7, class_names: vec!["a".into()] };
        // Numbers whose shortest decimal form a careless reader misses by a bit.
        let numbers = [0.1 + 0.2, 1.0 / 3.0, 0.07, 2.0 / 7.0, 1e-17, 0.846_153_846_153_846_1];
        let rows = (0..6)
            .map(|epoch| EpochRow {
                stage: Stage::Float,
                epoch,
                step: epoch,
                learning_rate: numbers[epoch as usize],
                train_loss: numbers[(epoch as usize + 1) % 6] / 3.0,
                train_accuracy: numbers[(epoch as usize + 2) % 6] / 7.0,
                test_loss: numbers[(epoch as usize + 3) % 6] / 11.0,
                test_accuracy: numbers[(epoch as usize + 4) % 6] / 13.0,
                forward_equivalents: 3.0 + numbers[(epoch as usize + 5) % 6],
                skipped_directions: epoch,
            })
            .collect();
        let parameter = |name: &str| Parameter {
            name: name.to_string(),
            shape: vec![2],
            values: vec![1.5, -0.0],
            trainable: false,
        };
        let moments = [("a".to_string(), vec![vec![1.0, 2.0], vec![3.0, 4.0]])];
        let position = Position::begin(Stage::Float, rows, &config, &shape, &data("0"));
        let mut last = None;
        for step in [1, 9, 10] {
            let position = Position { step, loss_sum: 0.3f64.to_bits(), ..position.clone() };
            let parameters = vec![parameter("a"), parameter("b")];
            let optimizer = Optimizer::resume(METHOD, step, moments.clone().into()).unwrap();
            let checkpoint = Checkpoint { position, parameters, optimizer };
            checkpoint.clone().save(&run).unwrap();
            last = Some(checkpoint);
        }
        // A stranger's file is neither read nor removed.
        std::fs::write(run.checkpoints().join("zzz.safetensors"), "mine").unwrap();
        let (newest, problems) = Checkpoint::newest(&run).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(newest, last);
        assert_eq!(list(&run).unwrap().len(), KEPT);
    }

    #[test]
    fn what_another_version_wrote_is_neither_read_nor_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _claim) = Run::create(Some(&folder.path().join("run")), &Config::default(), false).unwrap();
        let shape = NetworkShape { height: 2, width: 3, scale: 0.1, zero_point: 7, class_names: vec!["a".into()] };
        let mut position = Position::begin(Stage::Float, Vec::new(), &Config::default(), &shape, &data("0"));
        position.format = "hardgrad checkpoint 3".to_string();
        let path = run.checkpoints().join(name(Stage::Float, 7));
        let bytes = TensorFile { description: position, tensors: BTreeMap::new() }.to_bytes();
        std::fs::write(&path, &bytes).unwrap();
        let error = Checkpoint::newest(&run).unwrap_err().to_string();
        assert!(error.contains("\"hardgrad checkpoint 3\" is not of this version"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // A damaged one is set aside, and still there.
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (newest, problems) = Checkpoint::newest(&run).unwrap();
        assert!(newest.is_none() && problems.len() == 1);
        assert!(path.with_extension("damaged").is_file() && !path.exists());
    }

    #[test]
    fn changed_settings_are_named() {
        let shape = NetworkShape { height: 2, width: 3, scale: 0.1, zero_point: 7, class_names: vec!["a".into()] };
        let position = Position::begin(Stage::Float, Vec::new(), &Config::default(), &shape, &data("0"));
        let check = |config: &Config, shape: &NetworkShape, sha256: &str| {
            position.check(config, shape, &data(sha256)).map_err(|error| error.to_string())
        };
        let changed = |change: &str| Config::default().with_changes(&[change.to_string()]).unwrap();
        assert!(check(&changed("training.float_learning_rate=1"), &shape, "0").is_ok());
        let error = check(&changed("quantization.weight_bits=2"), &shape, "0").unwrap_err();
        assert!(error.contains("quantization.weight_bits differs"), "{error}");
        let other = NetworkShape { scale: 0.2, ..shape.clone() };
        assert!(check(&Config::default(), &other, "0").unwrap_err().contains("images"));
        let error = check(&Config::default(), &shape, "1").unwrap_err();
        assert!(error.contains("t10k-labels-idx1-ubyte is not the file with which"), "{error}");
    }
}
