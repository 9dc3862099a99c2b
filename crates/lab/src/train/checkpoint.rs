use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use hardgrad::parameters::{self, Parameter};
use serde::{Deserialize, Serialize};

use super::optimizer::Optimizer;
use super::{EpochRow, Stage};
use crate::files;
use crate::run::{TensorFile, to_parameters, to_tensors};
use crate::{LabError, Run};

/// Checkpoints that a run keeps.
const KEPT: usize = 2;

const FORMAT: &str = "hardgrad checkpoint 1";
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
    /// Rows of the metrics so far.
    pub rows: Vec<EpochRow>,
}

impl Position {
    /// The start of a stage after these epochs.
    pub fn begin(stage: Stage, rows: Vec<EpochRow>) -> Self {
        Self { format: FORMAT.to_string(), stage, step: 0, loss_sum: 0, correct: 0, rows }
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
    /// What a later [`restore`](Self::newest) needs of this moment.
    pub fn of<M: Module>(position: &Position, network: &M, optimizer: &Optimizer) -> Self {
        let parameters = parameters::read(network);
        Self { position: position.clone(), parameters, optimizer: optimizer.clone() }
    }

    /// Writes the checkpoint in one step and removes those that are older than the newest two.
    pub fn save(self, run: &Run) -> Result<(), LabError> {
        let path = run.checkpoints().join(name(self.position.stage, self.position.step));
        files::write_atomically(&path, &self.into_bytes())?;
        for (_, old) in list(run)?.into_iter().rev().skip(KEPT) {
            // An old checkpoint that stays does no harm.
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    fn into_bytes(self) -> Vec<u8> {
        let shapes: BTreeMap<String, Vec<usize>> =
            self.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
        let mut tensors = to_tensors(self.parameters, PARAMETERS);
        for (name, moments) in self.optimizer.moments {
            for (prefix, values) in MOMENTS.into_iter().zip(moments) {
                tensors.insert(format!("{prefix}{name}"), (shapes[&name].clone(), values));
            }
        }
        TensorFile { description: self.position, tensors }.to_bytes()
    }

    /// The newest checkpoint that is whole, and the problems of newer ones that are not.
    pub fn newest(run: &Run) -> Result<(Option<Self>, Vec<LabError>), LabError> {
        let mut problems = Vec::new();
        for (_, path) in list(run)?.into_iter().rev() {
            match Self::read(&path) {
                Ok(checkpoint) => return Ok((Some(checkpoint), problems)),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((None, problems))
    }

    fn read(path: &Path) -> Result<Self, LabError> {
        let file = TensorFile::<Position>::read(path, "checkpoint")?;
        if file.description.format != FORMAT {
            let problem = "not a checkpoint of this version of hardgrad; train again".to_string();
            return Err(LabError::Damaged { path: path.to_path_buf(), problem });
        }
        let mut first: BTreeMap<String, Vec<f32>> =
            to_parameters(&file.tensors, MOMENTS[0]).into_iter().map(|moment| (moment.name, moment.values)).collect();
        let moments = to_parameters(&file.tensors, MOMENTS[1])
            .into_iter()
            .filter_map(|second| Some((second.name.clone(), [first.remove(&second.name)?, second.values])))
            .collect();
        Ok(Self {
            parameters: to_parameters(&file.tensors, PARAMETERS),
            position: file.description,
            optimizer: Optimizer { moments },
        })
    }
}

fn name(stage: Stage, step: u64) -> String {
    format!("{}-{}-{step:09}.safetensors", stage as u8, stage.name())
}

/// All checkpoints of a run, oldest first: their names sort by stage and step.
fn list(run: &Run) -> Result<Vec<(String, PathBuf)>, LabError> {
    let folder = run.checkpoints();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(files::FileError::new(&folder, "listing", cause).into()),
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.to_string();
            (name.ends_with(".safetensors") && !name.starts_with('.')).then_some((name, path))
        })
        .collect();
    found.sort();
    Ok(found)
}
