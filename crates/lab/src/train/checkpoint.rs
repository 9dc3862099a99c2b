use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use hardgrad::optim::{Method, Optimizer, State};
use hardgrad::parameters::{self, Parameter};
use serde::{Deserialize, Serialize};

use super::event::{EpochRow, Measurement};
use super::metrics::Metrics;
use crate::model_file::Origin;
use crate::premise::Premise;
use crate::tensor_file::{TensorFile, Tensors, to_parameters, to_tensors};
use crate::{LabError, Run, files};

/// Checkpoints that a run keeps.
const KEPT: usize = 2;

const FORMAT: &str = "hardgrad checkpoint 5";
const PARAMETERS: &str = "parameters/";
const BEST: &str = "best/";

/// Where training stands. Random numbers and the order of the data follow from the seed and the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Number of the stage, from 0, and its name.
    pub stage: (usize, String),
    /// Steps done in it; the schedule and the place in the data follow from it.
    pub step: u64,
    /// Metrics of the running epoch's steps.
    pub metrics: Metrics,
    /// Forward passes of guidance in the running epoch.
    pub passes: u64,
    /// Directions of guidance that it left out.
    pub skipped: u64,
    /// The epoch of the stage that was best on the validation data.
    pub best: Option<BestEpoch>,
    /// Epochs so far.
    pub rows: Vec<EpochRow>,
    /// Measurements so far.
    pub measurements: Vec<Measurement>,
    /// What the run is made from.
    pub premise: Premise,
    /// What came before it.
    pub before: Vec<Origin>,
}

/// An epoch that was better than those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BestEpoch {
    /// Its number in the stage, from 1.
    pub epoch: u64,
    /// The bits of its loss on the validation data, an f64.
    pub loss: u64,
}

impl Position {
    /// The start of a stage.
    pub fn new(stage: (usize, &str), premise: &Premise, before: &[Origin]) -> Self {
        Self {
            stage: (stage.0, stage.1.to_string()),
            step: 0,
            metrics: Metrics::default(),
            passes: 0,
            skipped: 0,
            best: None,
            rows: Vec::new(),
            measurements: Vec::new(),
            premise: premise.clone(),
            before: before.to_vec(),
        }
    }

    /// The start of the next stage, after all that came before it.
    pub fn next(self, stage: (usize, &str)) -> Self {
        let fresh = Self::new(stage, &self.premise, &self.before);
        Self { rows: self.rows, measurements: self.measurements, ..fresh }
    }
}

/// What the tensors of a checkpoint are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    position: Position,
    /// Steps of the optimizer.
    steps: u64,
    /// What made the state of each parameter, and in how many steps.
    states: BTreeMap<String, (Method, u64)>,
}

/// Everything that a resumed run needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// Where training stands.
    pub position: Position,
    /// Parameters and running statistics.
    pub parameters: Vec<Parameter>,
    /// Those of the best epoch, where they are wanted.
    pub best: Option<Vec<Parameter>>,
    /// State of the optimizer.
    pub optimizer: Optimizer,
}

impl Checkpoint {
    /// What a resumed run needs of this moment.
    pub fn of<M: Module>(
        position: &Position,
        network: &M,
        best: &Option<Vec<Parameter>>,
        optimizer: &Optimizer,
    ) -> Self {
        let parameters = parameters::read(network);
        Self { position: position.clone(), parameters, best: best.clone(), optimizer: optimizer.clone() }
    }

    /// Writes the checkpoint in one step and removes all before the newest two.
    pub fn save(self, run: &Run) -> Result<(), LabError> {
        let (stage, name) = &self.position.stage;
        let path = run.checkpoints().join(file_name(*stage, name, self.position.step));
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
        tensors.extend(to_tensors(self.best.unwrap_or_default(), BEST));
        let mut states = BTreeMap::new();
        for (name, State { method, steps, moments }) in self.optimizer.states() {
            states.insert(name.clone(), (*method, *steps));
            for (place, values) in moments.iter().enumerate() {
                tensors.insert(moment(place, name), (shapes[name].clone(), values.clone()));
            }
        }
        let (format, position, steps) = (FORMAT.to_string(), self.position, self.optimizer.steps());
        TensorFile { description: Header { format, position, steps, states }, tensors }.to_bytes()
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
        let file = TensorFile::<Header>::read(path, "checkpoint", FORMAT)?;
        let Header { position, steps, states, .. } = file.description;
        let damaged = |problem: String| LabError::Damaged { path: path.to_path_buf(), problem };
        let mut resumed = BTreeMap::new();
        for (name, (method, steps)) in states {
            let moments = moments(&file.tensors, &name, method).ok_or_else(|| {
                damaged(format!("not a whole checkpoint ({name} has no state of its shape); train again"))
            })?;
            resumed.insert(name, State { method, steps, moments });
        }
        let optimizer = Optimizer::resume(steps, resumed).map_err(|problem| damaged(problem.to_string()))?;
        let best = Some(to_parameters(&file.tensors, BEST)).filter(|best| !best.is_empty());
        Ok(Self { parameters: to_parameters(&file.tensors, PARAMETERS), best, optimizer, position })
    }
}

/// The name of a vector of an optimizer's state.
fn moment(place: usize, parameter: &str) -> String {
    format!("moment{place}/{parameter}")
}

/// The state of a parameter, each vector of which has the parameter's shape.
fn moments(tensors: &Tensors, name: &str, method: Method) -> Option<Vec<Vec<f32>>> {
    let (shape, _) = tensors.get(&format!("{PARAMETERS}{name}"))?;
    let vectors = (0..method.moments()).map(|place| {
        let (found, values) = tensors.get(&moment(place, name))?;
        (found == shape).then(|| values.clone())
    });
    vectors.collect()
}

fn file_name(stage: usize, name: &str, step: u64) -> String {
    format!("{stage}-{name}-{step:012}.safetensors")
}

/// The stage and the step of a checkpoint with this name; none for other files.
fn address(found: &str) -> Option<(usize, u64)> {
    let mut parts = found.strip_suffix(".safetensors")?.splitn(2, '-');
    let stage = parts.next()?.parse().ok()?;
    let (name, step) = parts.next()?.rsplit_once('-')?;
    let step = step.parse().ok()?;
    (file_name(stage, name, step) == found).then_some((stage, step))
}

/// The checkpoints of a run, oldest first. Other files are none of our business.
fn list(run: &Run) -> Result<Vec<PathBuf>, LabError> {
    let folder = run.checkpoints();
    let entries = std::fs::read_dir(&folder).map_err(|cause| files::FileError::new(&folder, "listing", cause))?;
    let mut found: Vec<((usize, u64), PathBuf)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((address(path.file_name()?.to_str()?)?, path)))
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::premise::tests::premise;

    fn run(folder: &Path) -> Run {
        let (run, _claim) = Run::create(Some(&folder.join("run")), &Config::default(), "", false).unwrap();
        run
    }

    fn position() -> Position {
        Position::new((0, "float"), &premise("0"), &[])
    }

    #[test]
    fn what_is_saved_is_what_is_read_and_only_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        // Numbers whose shortest decimal form a careless reader misses by a bit.
        let numbers = [0.1 + 0.2, 1.0 / 3.0, 0.07, 2.0 / 7.0, 1e-17, 0.846_153_846_153_846_1];
        let metrics = |place: usize| {
            let mut metrics = Metrics::default();
            metrics.add("loss", numbers[place % 6] / 3.0, 3);
            metrics.add("accuracy", numbers[(place + 1) % 6], 7);
            metrics
        };
        let rows = (0..6)
            .map(|epoch| EpochRow {
                stage: "float".to_string(),
                epoch,
                step: epoch,
                learning_rate: numbers[epoch as usize],
                train: metrics(epoch as usize),
                validation: if epoch > 2 { metrics(epoch as usize + 3) } else { Metrics::default() },
                forward_equivalents: 3.0 + numbers[(epoch as usize + 5) % 6],
                skipped_directions: epoch,
            })
            .collect();
        let values = vec![("flips".to_string(), Some(numbers[1])), ("cosine".to_string(), None)];
        let measurements = vec![Measurement { stage: "float".to_string(), step: 3, values }];
        let parameter = |name: &str, first: f32| Parameter {
            name: name.to_string(),
            shape: vec![2],
            values: vec![first, -0.0],
            trainable: false,
        };
        let states = |steps| {
            let adam = State { method: Method::ADAM_W, steps, moments: vec![vec![1.0, 2.0], vec![3.0, 4.0]] };
            let method = Method::Sgd { momentum: 0.9, nesterov: true };
            let sgd = State { method, steps: 1, moments: vec![vec![5.0, 6.0]] };
            BTreeMap::from([("a".to_string(), adam), ("b".to_string(), sgd)])
        };
        let best = Some(BestEpoch { epoch: 4, loss: 0.3f64.to_bits() });
        let position = Position { rows, measurements, best, metrics: metrics(2), ..position() };
        let mut last = None;
        for step in [1, 9, 10] {
            let checkpoint = Checkpoint {
                position: Position { step, ..position.clone() },
                parameters: vec![parameter("a", 1.5), parameter("b", 2.5)],
                best: (step > 1).then(|| vec![parameter("a", 3.5), parameter("b", 4.5)]),
                optimizer: Optimizer::resume(step, states(step)).unwrap(),
            };
            checkpoint.clone().save(&run).unwrap();
            assert_eq!(Checkpoint::newest(&run).unwrap().0.as_ref(), Some(&checkpoint));
            last = Some(checkpoint);
        }
        // A stranger's file is neither read nor removed.
        std::fs::write(run.checkpoints().join("zzz.safetensors"), "mine").unwrap();
        let (newest, problems) = Checkpoint::newest(&run).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(newest, last);
        assert_eq!(list(&run).unwrap().len(), KEPT);
        // The next stage keeps what was measured, and nothing else.
        let next = position.clone().next((1, "quantized"));
        assert_eq!((&next.rows, next.step, next.best), (&position.rows, 0, None));
    }

    #[test]
    fn names_tell_stage_and_step_and_sort_by_them() {
        assert_eq!(file_name(1, "quantized", 17), "1-quantized-000000000017.safetensors");
        assert_eq!(address("1-quantized-000000000017.safetensors"), Some((1, 17)));
        assert_eq!(address("12-re-train-000000000003.safetensors"), Some((12, 3)));
        for other in
            ["x.safetensors", "1-quantized-17.safetensors", "01-a-000000000017.safetensors", "1-a-b.safetensors"]
        {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn what_another_version_wrote_is_neither_read_nor_lost() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        let format = "hardgrad checkpoint 4".to_string();
        let description = Header { format, position: position(), steps: 0, states: BTreeMap::new() };
        let path = run.checkpoints().join(file_name(0, "float", 7));
        let bytes = TensorFile { description, tensors: BTreeMap::new() }.to_bytes();
        std::fs::write(&path, &bytes).unwrap();
        let error = Checkpoint::newest(&run).unwrap_err().to_string();
        assert!(error.contains("\"hardgrad checkpoint 4\" is not of this version"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // A damaged one is set aside, and still there.
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (newest, problems) = Checkpoint::newest(&run).unwrap();
        assert!(newest.is_none() && problems.len() == 1);
        assert!(path.with_extension("damaged").is_file() && !path.exists());
    }
}
