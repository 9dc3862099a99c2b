//! Training: a float stage, then a quantised stage, resumable at every checkpoint, then the report.

mod checkpoint;
mod diagnosis;
mod lost_ranges;
mod metrics;
mod report;
mod schedule;
mod stage;
pub(crate) mod stream;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use hardgrad::optim::{Method, Optimizer};
use hardgrad::quantize::StepClock;
use hardgrad::zeroth_order::MethodName;
use hardgrad_kernels::images::{Augmentation, PixelScale};
use hardgrad_kernels::random::Random;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ModelConfig, path_text};
use crate::data::{self, Dataset};
use crate::evaluate::load_float;
use crate::files::{self, Claim};
use crate::tensor_file::{ModelDescription, Origin};
use crate::{Config, ConvNet, LabError, NetworkShape, Run, Summary};
use checkpoint::{Checkpoint, Position};
pub use diagnosis::DiagnosisRow;
pub(crate) use diagnosis::sweep;
pub(crate) use schedule::learning_rate;
use stage::Trainer;
pub(crate) use stage::cross_entropy;

/// The optimizer of all recipes.
const METHOD: Method = Method::ADAM_W;

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// In float32.
    Float,
    /// With hard forward and estimated backward passes.
    Quantized,
}

impl Stage {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Quantized => "quantized",
        }
    }
}

/// One row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// The stage.
    pub stage: Stage,
    /// Epoch of the stage, from 1.
    pub epoch: u64,
    /// Steps of the stage so far.
    pub step: u64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean loss of the epoch's steps.
    pub train_loss: f64,
    /// Share of the epoch's images that were classified correctly.
    pub train_accuracy: f64,
    /// Mean cross-entropy on held-out images after the epoch.
    pub test_loss: f64,
    /// Accuracy on held-out images after the epoch.
    pub test_accuracy: f64,
    /// Mean cost of the epoch's steps: a forward pass counts 1, a backward pass 2.
    pub forward_equivalents: f64,
    /// Directions of guidance that the epoch left out because a loss was not finite.
    pub skipped_directions: u64,
}

/// What training tells while it runs.
#[derive(Clone, Debug)]
pub enum Event {
    /// Training begins (or goes on) in this folder; `done` of `steps` steps of all stages are done.
    Begin {
        /// The run folder.
        folder: PathBuf,
        /// Steps done before.
        done: u64,
        /// Steps of all stages.
        steps: u64,
    },
    /// A step is done.
    Step {
        /// Its stage.
        stage: Stage,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Accuracy on training images of the epoch so far.
        accuracy: f64,
    },
    /// An epoch is done.
    Epoch(EpochRow),
    /// Something that a person may want to know.
    Note(String),
}

/// How a run begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// A new run.
    New {
        /// Its settings.
        config: Box<Config>,
        /// Its folder; the next free one under `runs` without.
        out: Option<PathBuf>,
        /// Replace a run that is there.
        force: bool,
    },
    /// A run that was interrupted.
    Resume {
        /// Its folder.
        folder: PathBuf,
        /// The recipe that it is expected to have, if any.
        recipe: Option<String>,
    },
}

/// Runs a recipe to its end and returns the table.
pub fn train(start: Start, tell: &mut dyn FnMut(Event)) -> Result<Summary, LabError> {
    let resumed = matches!(start, Start::Resume { .. });
    // The claim is held until the end, so that no other process writes into the run.
    let (run, _claim, config, data, mut initial) = match start {
        Start::New { config, out, force } => {
            let config = with_whole_paths(*config)?;
            let data = load(&config)?;
            let initial = initial_network(&config, &network_shape(&data))?;
            if let Some(out) = &out {
                check_place(out, &config)?;
            }
            let (run, claim) = Run::create(out.as_deref(), &config, force)?;
            (run, claim, config, data, initial)
        }
        Start::Resume { folder, recipe } => {
            let run = Run::open(&folder)?;
            let claim = Claim::existing(&folder)?;
            let config = run.config()?;
            if let Some(recipe) = recipe.filter(|recipe| *recipe != config.recipe) {
                let (folder, own) = (folder.display(), &config.recipe);
                return Err(LabError::Usage(format!(
                    "{folder}: a run of recipe {own}, not {recipe}; leave the recipe out"
                )));
            }
            let data = load(&config)?;
            (run, claim, config, data, None)
        }
    };
    data.notes().into_iter().for_each(|note| tell(Event::Note(format!("data: {note}"))));
    let shape = network_shape(&data);
    let checkpoint = if resumed { resume(&run, &config, &shape, &data, tell)? } else { None };
    if resumed && checkpoint.is_none() {
        initial = initial_network(&config, &shape)?;
    }
    let before = match (&checkpoint, &initial) {
        (Some(checkpoint), _) => checkpoint.position.before.clone(),
        (None, Some((_, model))) => {
            let own = Origin { seed: model.seed, data: model.data.clone() };
            model.before.iter().cloned().chain([own]).collect()
        }
        (None, None) => Vec::new(),
    };
    for origin in &before {
        if let Some(file) = origin.data.first_difference(&data.identity) {
            tell(Event::Note(format!("training.init: its network was trained on other images: {file} differs")));
        }
    }
    let clock = StepClock::default();
    let position = checkpoint.as_ref().map(|checkpoint| checkpoint.position.clone());
    let mut trainer = Trainer { run: &run, config: &config, data: &data, shape: &shape, clock: &clock, before, tell };
    trainer.begin(position.as_ref());
    let position =
        position.unwrap_or_else(|| Position::begin(Stage::Float, Vec::new(), &config, &shape, &data.identity));
    let rows = match position.stage {
        Stage::Float => {
            let random = || ConvNet::new(&config.model, &shape, config.seed, &Device::flex().autodiff());
            // With a checkpoint, the values come from there.
            let network = initial.map_or_else(random, |(network, _)| network);
            trainer.run_stage(Stage::Float, network, checkpoint.as_ref())?
        }
        Stage::Quantized => position.rows,
    };
    let quantized_checkpoint = checkpoint.filter(|checkpoint| checkpoint.position.stage == Stage::Quantized);
    let rows = match quantized_checkpoint.as_ref() {
        // Its structure is that of any quantised network; its values come from the checkpoint.
        Some(_) => {
            let network = ConvNet::new(&config.model, &shape, config.seed, &Device::flex().autodiff());
            let network = quantized(network, &config, &shape, &clock)?;
            trainer.run_stage(Stage::Quantized, network, quantized_checkpoint.as_ref())?
        }
        None => {
            let network = own_float(&run, &config, &data)?;
            let network = quantized(network.train(), &config, &shape, &clock)?;
            let network = calibrated(network, &config, &data, &shape, trainer.tell);
            let mut position = Position::begin(Stage::Quantized, rows, &config, &shape, &data.identity);
            position.before.clone_from(&trainer.before);
            let start = Checkpoint::of(&position, &network, &Optimizer::new(METHOD));
            trainer.run_stage(Stage::Quantized, network, Some(&start))?
        }
    };
    // Without an epoch there is nothing to draw.
    if !rows.is_empty() {
        let curve = crate::plot::training_curve(&rows, config.training.float_epochs)
            .map_err(|problem| LabError::Damaged { path: run.curve_path(), problem })?;
        files::write(&run.curve_path(), curve.as_bytes())?;
    }
    report::report(&run, &config, &data, &shape)
}

/// Fails where what training reads lies in the folder that it is about to fill, and with --force to empty.
fn check_place(out: &Path, config: &Config) -> Result<(), LabError> {
    for (key, folder) in [("data.directory", config.data_folder()), ("training.init", config.init_folder())] {
        let Some(folder) = folder else { continue };
        // Through links, too.
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if whole.ancestors().any(|folder| files::are_one(folder, out)) {
            let (out, folder) = (out.display(), folder.display());
            return Err(LabError::Usage(format!("{out}: {key} = {folder} lies in it; choose another --out")));
        }
    }
    Ok(())
}

/// The settings with the whole paths of the folders that they name: the run may be evaluated from another one.
fn with_whole_paths(mut config: Config) -> Result<Config, LabError> {
    let whole = |folder: &Path| {
        std::path::absolute(folder).map_err(|cause| files::FileError::new(folder, "finding the folder", cause))
    };
    if let Some(folder) = config.data_folder() {
        config.data.directory = path_text::text(&whole(&folder)?);
    }
    if let Some(folder) = config.init_folder() {
        config.training.init = path_text::text(&whole(&folder)?);
    }
    Ok(config)
}

/// The images of a run, after a check that its settings suit them.
fn load(config: &Config) -> Result<Dataset, LabError> {
    config.check()?;
    let data = data::load(config.data_folder().as_deref(), config.data.verify)?;
    check_delay(config, &data)?;
    network_shape(&data).check(config, data.train.len())?;
    Ok(data)
}

/// The network of another run with which this one begins, if it does.
fn initial_network(config: &Config, shape: &NetworkShape) -> Result<Option<(ConvNet, ModelDescription)>, LabError> {
    let Some(folder) = config.init_folder() else { return Ok(None) };
    let (network, model) = load_float(&Run::open(&folder)?)?;
    let refuse = |problem: String| Err(LabError::Usage(format!("training.init: {}: {problem}", folder.display())));
    if model.model != config.model {
        let ModelConfig { channels, kernel_size, hidden } = &model.model;
        return refuse(format!(
            "its network has model.channels={channels:?}, model.kernel_size={kernel_size} and model.hidden={hidden:?}; give the \
             same settings"
        ));
    }
    let size = |shape: &NetworkShape| (shape.height, shape.width, shape.class_names.len());
    if size(&model.shape) != size(shape) {
        let (height, width, classes) = size(&model.shape);
        return refuse(format!(
            "its network takes images of {height} x {width} pixels in {classes} classes; give such data"
        ));
    }
    Ok(Some((network.train(), model)))
}

/// The network after the float stage of this very run.
fn own_float(run: &Run, config: &Config, data: &Dataset) -> Result<ConvNet, LabError> {
    let (network, model) = load_float(run)?;
    if (model.seed, &model.model, &model.data) != (config.seed, &config.model, &data.identity) {
        let problem =
            "it is the float network of another run; put this run's own file back or start a new run".to_string();
        return Err(LabError::Damaged { path: run.float_model_path(), problem });
    }
    Ok(network)
}

/// The checkpoint from which an interrupted run goes on.
fn resume(
    run: &Run,
    config: &Config,
    shape: &NetworkShape,
    data: &Dataset,
    tell: &mut dyn FnMut(Event),
) -> Result<Option<Checkpoint>, LabError> {
    [run.folder(), &run.checkpoints()].into_iter().for_each(files::remove_partial_files);
    let (checkpoint, problems) = Checkpoint::newest(run)?;
    problems.into_iter().for_each(|problem| tell(Event::Note(problem.to_string())));
    let Some(checkpoint) = checkpoint else {
        if run.model_path().is_file() {
            let folder = run.folder().display();
            return Err(LabError::Usage(format!(
                "{folder}: finished, but without a whole checkpoint; start a new run"
            )));
        }
        tell(Event::Note("there is no checkpoint yet; training starts from the beginning".to_string()));
        return Ok(None);
    };
    checkpoint.position.check(config, shape, &data.identity)?;
    let Position { stage, step, .. } = checkpoint.position;
    tell(Event::Note(format!("going on from step {step} of the {} stage", stage.name())));
    Ok(Some(checkpoint))
}

/// Fails where quantisation or guidance would not begin before its stage ends.
fn check_delay(config: &Config, data: &Dataset) -> Result<(), ConfigError> {
    let steps = stage::steps(config, data, Stage::Quantized);
    if steps == 0 && config.gradient.method != MethodName::StraightThrough {
        let (expected, found) =
            ("straight_through where no quantised step is trained".to_string(), config.gradient.method.name());
        return Err(ConfigError::Range { key: "gradient.method", expected, found: found.to_string() });
    }
    if steps > 0 && config.gradient.first_step(steps) >= steps {
        let expected = format!("such that guidance begins before the {steps} steps of the quantised stage are over");
        return Err(ConfigError::Range { key: "gradient.begin", expected, found: config.gradient.begin.to_string() });
    }
    match config.quantization.delay {
        0 => Ok(()),
        delay if delay < steps => Ok(()),
        delay => {
            let expected = match steps {
                0 => "0 where no quantised step is trained".to_string(),
                steps => format!("below {steps}, the steps of the quantised stage"),
            };
            Err(ConfigError::Range { key: "quantization.delay", expected, found: delay.to_string() })
        }
    }
}

fn network_shape(data: &Dataset) -> NetworkShape {
    let PixelScale { scale, zero_point } = PixelScale::of(&data.train.pixels);
    NetworkShape {
        height: data.train.height,
        width: data.train.width,
        scale,
        zero_point,
        class_names: data.class_names.clone(),
    }
}

fn quantized(network: ConvNet, config: &Config, shape: &NetworkShape, clock: &StepClock) -> Result<ConvNet, LabError> {
    let problem = |problem| ConfigError::Quantizer { key: "quantization", problem };
    Ok(network.quantize(&config.quantization, shape, clock).map_err(problem)?)
}

/// The network with its activation ranges set from training images; layers that these tell nothing are named.
fn calibrated(
    network: ConvNet,
    config: &Config,
    data: &Dataset,
    shape: &NetworkShape,
    tell: &mut dyn FnMut(Event),
) -> ConvNet {
    let random = Random::new(config.seed, 0, stream::CALIBRATION);
    let mut chosen = random.permutation(data.train.len());
    chosen.truncate(config.quantization.calibration_images);
    let images = crate::evaluate::batch(&data.train, &chosen, shape, Augmentation::NONE, random);
    // On plain tensors: batch norm uses its running statistics and no gradient tape grows.
    let mut plain = network.valid();
    for (layer, problem) in plain.calibrate(images, config.quantization.weight_range) {
        tell(Event::Note(format!("{layer}: calibration left it as it was: {problem}")));
    }
    plain.train()
}
