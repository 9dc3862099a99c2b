//! Which surrogate for quantised activations? LeNet-5 from a float network, with three surrogates; then the identity at the
//! minimum that clipped ReLU found.
//!
//! Source of settings and published numbers: Yin et al., ICLR 2019, table 1. Learning rates and their schedule are ours: the paper's
//! were out of reach.

use hardgrad::ops::ReluSurrogate;
use hardgrad::zeroth_order::GradientConfig;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::networks::{ExchangeActivation, LeNet5, QuantizedActivation};
use super::statistics::Spread;
use super::subject::Subject;
use super::training::{Outcome, Plan, Schedule, train};
use super::{Progress, Report, Sets, Table};
use crate::LabError;
use crate::chart::{Chart, Panel, Scale, Series};

/// How long, how fast, how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Passes over the training images in float32.
    pub float_epochs: u64,
    /// Passes with quantised activations.
    pub epochs: u64,
    /// Images a step.
    pub batch_size: usize,
    /// First learning rate of SGD (momentum 0.9); a tenth of it after 40 %, a hundredth after 80 % of the steps.
    pub learning_rate: f64,
    /// Bits of activations: 2, 3 or 4.
    pub bits: Vec<u32>,
    /// Passes of the instability experiment.
    pub instability_epochs: u64,
    /// Learning rates of the instability experiment.
    pub instability_rates: Vec<f64>,
    /// Training images; 0 for all.
    pub images: usize,
    /// Runs of each kind.
    pub seeds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            float_epochs: 10,
            epochs: 50,
            batch_size: 128,
            learning_rate: 0.01,
            bits: vec![2, 4],
            instability_epochs: 10,
            instability_rates: vec![1e-5, 1e-3, 1e-2],
            images: 0,
            seeds: 1,
        }
    }
}

/// Table 1, MNIST: training loss and accuracy on held-out images in percent.
fn published(bits: u32, surrogate: ReluSurrogate) -> Option<(f64, f64)> {
    match (bits, surrogate) {
        (2, ReluSurrogate::Identity) => Some((2.6e-2, 98.49)),
        (2, ReluSurrogate::Relu) => Some((5.1e-3, 99.24)),
        (2, ReluSurrogate::ClippedRelu) => Some((5.4e-3, 99.23)),
        (4, ReluSurrogate::Identity) => Some((6.0e-3, 98.98)),
        (4, ReluSurrogate::Relu) => Some((9.0e-4, 99.32)),
        (4, ReluSurrogate::ClippedRelu) => Some((8.8e-4, 99.24)),
        _ => None,
    }
}

/// Runs the experiment.
pub(super) fn run(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    check(settings)?;
    let sets = sets.inputs(settings.images);
    let [images, _] = sets;
    let batch_size = settings.batch_size.min(images.len());
    let an_epoch = (images.len() / batch_size) as u64;
    let plan = |epochs: u64, learning_rate: f64, schedule: Schedule, seed: u64| Plan {
        batch_size,
        steps: epochs * an_epoch,
        sgd: true,
        learning_rate,
        schedule,
        gradient: GradientConfig::default(),
        seed,
    };
    let kinds = settings.bits.len() * ReluSurrogate::ALL.len() * settings.seeds as usize;
    let instabilities = settings.bits.len() * settings.instability_rates.len() * 2;
    tell(Progress::Begin(settings.seeds + (kinds + instabilities) as u64));

    let floats = (0..settings.seeds)
        .into_par_iter()
        .map(|seed| {
            let plan = plan(settings.float_epochs, settings.learning_rate, Schedule::Tenths, seed);
            let (network, outcome) = train(LeNet5::new(seed), sets, &plan)?;
            tell(Progress::Done(1));
            let diverged =
                || LabError::Usage("the loss is not finite in float32; lower learning_rate with --set".into());
            Ok((network.ok_or_else(diverged)?, outcome))
        })
        .collect::<Result<Vec<_>, LabError>>()?;
    let mut tasks = Vec::new();
    for &bits in &settings.bits {
        for &surrogate in ReluSurrogate::ALL {
            tasks.extend((0..settings.seeds).map(|seed| (bits, surrogate, seed)));
        }
    }
    let trained = tasks
        .par_iter()
        .map(|&(bits, surrogate, seed)| {
            let network = floats[seed as usize].0.valid_copy();
            let network = network.with_activation(QuantizedActivation { bits: Some(bits), surrogate });
            let plan = plan(settings.epochs, settings.learning_rate, Schedule::Tenths, seed);
            let result = train(network, sets, &plan)?;
            tell(Progress::Done(1));
            Ok(result)
        })
        .collect::<Result<Vec<_>, LabError>>()?;

    let mut table = Table::new(
        "accuracy",
        &["bits", "surrogate", "accuracy (%)", "train loss", "published accuracy (%)", "published train loss"],
    );
    let mut curves =
        Panel::new("training with each surrogate", "step", "loss on training images").scales(Scale::Linear, Scale::Log);
    let float: Vec<f64> = floats.iter().map(|(_, outcome)| 100.0 * outcome.test_accuracy).collect();
    let float_loss: Vec<f64> = floats.iter().map(|(_, outcome)| outcome.train_loss).collect();
    let dash = || "-".to_string();
    let cells = [Spread::of(&float).percent(), Spread::of(&float_loss).small(), dash(), dash()];
    table.push(["32".to_string(), "float".to_string()].into_iter().chain(cells).collect());
    for (kind, outcomes) in tasks.chunks(settings.seeds as usize).zip(trained.chunks(settings.seeds as usize)) {
        let (bits, surrogate, _) = kind[0];
        let of = |value: fn(&Outcome) -> f64| {
            Spread::of(&outcomes.iter().map(|(_, outcome)| value(outcome)).collect::<Vec<_>>())
        };
        let known = published(bits, surrogate);
        table.push(vec![
            bits.to_string(),
            surrogate.name().to_string(),
            of(|outcome| 100.0 * outcome.test_accuracy).percent(),
            of(|outcome| outcome.train_loss).small(),
            known.map_or_else(dash, |(_, accuracy)| format!("{accuracy:.2}")),
            known.map_or_else(dash, |(loss, _)| format!("{loss:.1e}")),
        ]);
        let curve = outcomes[0].1.curve.iter().map(|(step, loss)| (*step as f64, *loss));
        curves = curves.with(Series::line(format!("{bits} bits, {}", surrogate.name()), curve));
    }

    let mut instability = Table::new("instability", &["bits", "learning rate", "goes on with", "step", "train loss"]);
    let mut panels = vec![curves];
    let mut notes = vec![format!(
        "SGD, momentum 0.9, batch {batch_size}, {an_epoch} steps an epoch, {} run(s) a row",
        settings.seeds
    )];
    // Networks at the minimum of clipped ReLU.
    let mut starts = Vec::new();
    for &bits in &settings.bits {
        let place = tasks.iter().position(|&(of, surrogate, _)| of == bits && surrogate == ReluSurrogate::ClippedRelu);
        match place.and_then(|place| trained[place].0.as_ref()) {
            Some(network) => starts.push((bits, network)),
            None => notes.push(format!("{bits} bits: clipped_relu did not stay finite, so nothing goes on from there")),
        }
    }
    let mut experiments = Vec::new();
    for &(bits, network) in &starts {
        for &rate in &settings.instability_rates {
            let next = [ReluSurrogate::Identity, ReluSurrogate::ClippedRelu];
            experiments.extend(next.map(|surrogate| (bits, network, rate, surrogate)));
        }
    }
    let outcomes = experiments
        .par_iter()
        .map(|&(bits, network, rate, surrogate)| {
            let network = network.valid_copy().with_activation(QuantizedActivation { bits: Some(bits), surrogate });
            let plan = plan(settings.instability_epochs, rate, Schedule::Constant, 77);
            let (_, outcome) = train(network, sets, &plan)?;
            tell(Progress::Done(1));
            Ok(outcome)
        })
        .collect::<Result<Vec<_>, LabError>>()?;
    for (bits, _) in starts {
        let title = format!("{bits} bits: after clipped ReLU");
        let mut panel = Panel::new(title, "step", "loss on training images").scales(Scale::Linear, Scale::Log);
        for ((of, _, rate, next), outcome) in experiments.iter().zip(&outcomes).filter(|((of, ..), _)| *of == bits) {
            for (step, loss) in &outcome.curve {
                let row = [of.to_string(), format!("{rate:e}"), next.name().to_string()];
                instability.push([row.to_vec(), vec![step.to_string(), format!("{loss:.5}")]].concat());
            }
            let points = outcome.curve.iter().map(|(step, loss)| (*step as f64, *loss));
            panel = panel.with(Series::line(format!("{}, rate {rate:e}", next.name()), points));
        }
        panels.push(panel);
    }
    Ok(Report { tables: vec![table, instability], charts: vec![("curves".to_string(), Chart::new(panels))], notes })
}

fn check(settings: &Settings) -> Result<(), LabError> {
    let usage = |message: String| Err(LabError::Usage(message));
    if let Some(bits) = settings.bits.iter().find(|bits| !(2..=4).contains(*bits)) {
        return usage(format!("bits must be 2, 3 or 4, got {bits}"));
    }
    let counts = [settings.float_epochs, settings.epochs, settings.instability_epochs, settings.seeds];
    if counts.iter().any(|count| !(1..=10_000).contains(count)) || settings.batch_size < 2 || settings.images == 1 {
        return usage("epochs and seeds must be from 1 to 10000, batch_size and images at least 2".to_string());
    }
    let rates = settings.instability_rates.iter().chain([&settings.learning_rate]);
    match rates.into_iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
        Some(rate) => usage(format!("learning rates must be above 0, got {rate}")),
        None => Ok(()),
    }
}
