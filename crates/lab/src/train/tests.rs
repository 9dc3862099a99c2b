//! The driver with a recipe so small that what it must do is known: one weight that falls, and data that like it best at a
//! certain value.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use hardgrad::optim::Method;
use hardgrad::parameters::{self, Role};
use hardgrad_runtime::Rule;

use super::drive::drive;
use super::event::{Event, Start};
use super::metrics::{LOSS, Metric, Metrics};
use super::step::Group;
use crate::model_file::ModelHeader;
use crate::premise::{Premise, tests::premise};
use crate::recipes::{First, Recipe, Stage, Tell};
use crate::tasks::{At, Task};
use crate::tensor_file::{TensorFile, to_parameters};
use crate::{Config, LabError, Run, Summary};

/// The value that the validation data like best.
const LIKED: f32 = 0.6;

thread_local! {
    /// The stage and the step at which training is interrupted.
    static STOP: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
}

/// The loss is the weight itself.
struct Fall;

impl Task for Fall {
    type Network = Linear;
    type Batch = Tensor<2>;

    fn steps_an_epoch(&self) -> u64 {
        2
    }

    fn batch(&self, _: At) -> Tensor<2> {
        Tensor::ones([1, 1], &Device::flex())
    }

    fn loss(&self, network: &Linear, batch: &Tensor<2>, metrics: Option<&mut Metrics>) -> Result<Tensor<1>, LabError> {
        if let Some(metrics) = metrics {
            metrics.add("height", f64::from(weight(network)), 1);
        }
        Ok(network.forward(batch.clone()).sum())
    }

    fn validate(&self, network: &Linear, metrics: &mut Metrics) -> Result<(), LabError> {
        metrics.add(LOSS, f64::from((weight(network) - LIKED).abs()), 1);
        Ok(())
    }

    fn metrics(&self) -> &'static [Metric] {
        const METRICS: [Metric; 1] = [Metric { name: LOSS, axis: "loss", share: false }];
        &METRICS
    }
}

struct Falling {
    premise: Premise,
    stages: [Stage; 2],
}

fn owns_all(_: &str, _: Role) -> bool {
    true
}

impl Recipe for Falling {
    type Task = Fall;
    type State = ();

    fn new(config: &Config, _: Option<&Path>, _: &mut Tell<'_>) -> Result<Self, LabError> {
        let stage = |name, epochs| Stage { name, epochs, rate: 0.1, rate_key: "rate", begins: "it begins" };
        let stages =
            [stage("float", config.training.float_epochs), stage("quantized", config.training.quantized_epochs)];
        Ok(Self { premise: Premise { config: config.clone(), ..premise("0") }, stages })
    }

    fn premise(&self) -> &Premise {
        &self.premise
    }

    fn task(&self) -> &Fall {
        &Fall
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn first(&self, _: &mut Tell<'_>) -> Result<First<Linear>, LabError> {
        Ok(First { network: line(1.0), before: Vec::new() })
    }

    fn enter(&self, _: usize, before: Linear, _: &mut Tell<'_>) -> Result<Linear, LabError> {
        Ok(before.train())
    }

    fn frame(&self, _: At) -> Result<Linear, LabError> {
        Ok(line(0.0))
    }

    fn read(&self, run: &Run, stage: usize) -> Result<Linear, LabError> {
        let path = run.model_after(self.stages[stage].name, stage + 1 == self.stages.len());
        let file = TensorFile::<ModelHeader>::read(&path, "model file", "hardgrad model 3")?;
        assert_eq!(file.description.stage, self.stages[stage].name);
        Ok(parameters::write(line(0.0).valid(), to_parameters(&file.tensors, "")).unwrap())
    }

    fn rules(&self, _: usize) -> Option<Vec<Rule>> {
        None
    }

    fn groups(&self, _: usize) -> Vec<Group<'_>> {
        let method = Method::ADAM;
        vec![Group { owns: &owns_all, method, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 }]
    }

    fn before_step(&self, network: Linear, at: At, _: &mut Tell<'_>) -> Result<Linear, LabError> {
        match STOP.get() == Some((at.stage, at.step)) {
            true => Err(LabError::Usage("interrupted".to_string())),
            false => Ok(network),
        }
    }

    fn report(&self, run: &Run) -> Result<Summary, LabError> {
        Ok(Summary {
            recipe: self.premise.config.recipe.clone(),
            data: self.premise.data.name.clone(),
            data_verified: false,
            seed: self.premise.config.seed,
            rows: Vec::new(),
            verified: None,
            accuracy: None,
            not_packed: None,
            folder: run.folder().to_path_buf(),
        })
    }
}

fn line(weight: f32) -> Linear {
    let network = LinearConfig::new(1, 1).with_bias(false).init(&Device::flex().autodiff());
    parameters::update(network, |_, _, values| values.fill(weight))
}

fn weight(network: &Linear) -> f32 {
    parameters::read(network)[0].values[0]
}

fn start(folder: &Path, name: &str, changes: &[&str]) -> (PathBuf, Start) {
    let base = ["training.float_epochs=6", "training.quantized_epochs=3", "training.checkpoint_every=1"];
    let changes: Vec<String> =
        base.iter().chain(&["training.warmup_steps=0"]).chain(changes).map(|change| change.to_string()).collect();
    let config = Box::new(Config::default().with_changes(&changes).unwrap());
    let out = folder.join(name);
    (out.clone(), Start::New { config, out: Some(out), force: false })
}

/// What training told, a line an event.
fn run(start: Start) -> (Result<Summary, LabError>, Vec<String>) {
    let mut told = Vec::new();
    let result = drive::<Falling>(start, &mut |event| match event {
        Event::Step { .. } => {}
        Event::Epoch { stage, epoch, text } => told.push(format!("{stage} {epoch}: {text}")),
        Event::Note(text) => told.push(text),
        other => told.push(format!("{other:?}")),
    });
    (result, told)
}

/// The validation losses of a stage, from `metrics.csv`.
fn validation(run: &Path, stage: &str) -> Vec<f64> {
    let csv = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let (header, rows) = csv.split_once('\n').unwrap();
    let column = header.split(',').position(|name| name == "validation_loss").unwrap();
    let rows = rows.lines().filter(|row| row.starts_with(stage));
    rows.map(|row| row.split(',').nth(column).unwrap().parse().unwrap()).collect()
}

fn model(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

/// The validation loss of the float network that a run kept.
fn of_float(run: &Path) -> f64 {
    let bytes = fs::read(run.join("float.safetensors")).unwrap();
    let file = TensorFile::<ModelHeader>::from_bytes(&bytes, "model file").unwrap();
    f64::from((file.tensors["weight"].1[0] - LIKED).abs())
}

fn smallest(losses: &[f64]) -> f64 {
    losses.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn a_stage_ends_with_the_last_network_or_with_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let (last, begin) = start(folder.path(), "last", &[]);
    let (result, told) = run(begin);
    result.unwrap();
    let losses = validation(&last, "float");
    assert_eq!((losses.len(), validation(&last, "quantized").len()), (6, 3));
    // It passes the value that is liked best.
    assert!(smallest(&losses) < losses[5] && smallest(&losses) < losses[0], "{losses:?}");
    assert_eq!(of_float(&last), losses[5]);
    assert!(told.iter().any(|line| line.starts_with("float 1: training loss ") && line.contains("; validation loss ")));
    assert!(told.iter().any(|line| line.contains("height")), "{told:?}");
    let (best, begin) = start(folder.path(), "best", &["training.keep=best"]);
    let (result, told) = run(begin);
    result.unwrap();
    assert_eq!(validation(&best, "float"), losses);
    assert_eq!(of_float(&best), smallest(&losses));
    assert!(told.iter().any(|line| line.contains("is kept, the best on the validation data")), "{told:?}");
}

#[test]
fn patience_ends_a_stage_and_a_finished_one_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (out, begin) = start(folder.path(), "run", &["training.patience=1", "training.keep=best"]);
    let (result, told) = run(begin);
    result.unwrap();
    let losses = validation(&out, "float");
    let place = losses.iter().position(|loss| *loss == smallest(&losses)).unwrap();
    // One epoch that was no better, and no more.
    assert_eq!(losses.len(), place + 2, "{losses:?}");
    let left = 2 * (6 - losses.len());
    assert!(left > 0 && told.contains(&format!("Skip({left})")), "{told:?}");
    assert_eq!(of_float(&out), smallest(&losses));
    let before = model(&out);
    let (result, told) = run(Start::Resume { folder: out.clone(), recipe: None });
    result.unwrap();
    assert!(told.iter().all(|line| !line.contains("validation")), "{told:?}");
    assert_eq!(model(&out), before);
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for changes in [&[][..], &["training.keep=best", "training.patience=2"]] {
        let name = |kind: &str| format!("{kind}{}", changes.len());
        let (whole, begin) = start(folder.path(), &name("whole"), changes);
        run(begin).0.unwrap();
        for at in [(0, 0), (0, 1), (0, 5), (0, 6), (1, 0), (1, 3)] {
            let (out, begin) = start(folder.path(), &format!("{}-{}-{}", name("stopped"), at.0, at.1), changes);
            STOP.set(Some(at));
            let stopped = run(begin).0.is_err();
            STOP.set(None);
            assert!(stopped, "{at:?}");
            run(Start::Resume { folder: out.clone(), recipe: None }).0.unwrap();
            assert_eq!(model(&out), model(&whole), "{at:?} {changes:?}");
            let metrics = |run: &Path| fs::read(run.join("metrics.csv")).unwrap();
            assert_eq!(metrics(&out), metrics(&whole), "{at:?} {changes:?}");
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_names_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let (out, begin) = start(folder.path(), "run", &[]);
    STOP.set(Some((0, 3)));
    assert!(run(begin).0.is_err());
    STOP.set(None);
    // A checkpoint with a weight that is none.
    let newest = fs::read_dir(out.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    fs::remove_file(newest).unwrap();
    let only = fs::read_dir(out.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    let run_of = Run::open(&out).unwrap();
    let mut checkpoint = super::checkpoint::Checkpoint::newest(&run_of).unwrap().0.unwrap();
    checkpoint.parameters[0].values[0] = f32::NAN;
    fs::remove_file(only).unwrap();
    checkpoint.save(&run_of).unwrap();
    let error = run(Start::Resume { folder: out, recipe: None }).0.unwrap_err().to_string();
    assert!(error.starts_with("the loss is not finite at step 2 (epoch 1) of the float stage"), "{error}");
    assert!(error.contains("lower rate (now 0.1)"), "{error}");
}
