//! Does what holds for two layers hold for eight? The cosine between each surrogate's gradient and the gradient of the loss itself, as
//! differences of the loss see it, layer by layer, while a deep network with quantised activations trains.
//!
//! ```text
//! reach   = probe times norm(W), W the weights of one layer, the others stay
//! along   = (L(W + reach g/norm(g)) - L(W - reach g/norm(g)))/(2 reach)      the slope along the surrogate's gradient g
//! length  = sqrt(d) times the root mean square of the slopes along random unit vectors
//! cosine  = along/length, cut to -1..1
//! ```
//! All on one fixed set of images, with the batch norm of that set, so that the loss is the same function for all. With n random
//! directions `length` has a relative error of about 1/sqrt(2 n). Codes that flip add noise to every slope, which makes `length` too
//! large, most where the gradient is small: cosines are lower bounds, and comparable within a row, whose length is the same.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use hardgrad::ops::ReluSurrogate;
use hardgrad::parameters::{self, Role};
use hardgrad::random::Random;
use hardgrad::zeroth_order::GradientConfig;
use hardgrad_kernels::optimizer::global_norm;
use serde::{Deserialize, Serialize};

use super::networks::{DeepMlp, ExchangeActivation, QuantizedActivation};
use super::subject::Subject;
use super::training::{Plan, Schedule, Trainer, gradients, loss};
use super::{Progress, Report, Sets, Table};
use crate::chart::{Chart, Panel, Scale, Series};
use crate::train::step::sweep;
use crate::{LabError, streams};

/// What is trained, and how it is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Bits of activations: 2, 3 or 4.
    pub bits: u32,
    /// The surrogate that trains: identity, relu or clipped_relu.
    pub train_with: ReluSurrogate,
    /// Steps of SGD (momentum 0.9, batch 128).
    pub steps: u64,
    /// Learning rate; a tenth of it after 40 %, a hundredth after 80 % of the steps.
    pub learning_rate: f64,
    /// Measurements, evenly over the steps, the first one before the first step.
    pub measurements: u64,
    /// Images on which gradients and losses are measured.
    pub images: usize,
    /// Random directions of a layer.
    pub directions: u32,
    /// Length of a probe, as a share of the norm of a layer's weights.
    pub probe: f64,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bits: 2,
            train_with: ReluSurrogate::ClippedRelu,
            steps: 2_000,
            learning_rate: 0.02,
            measurements: 6,
            images: 2_048,
            directions: 16,
            probe: 0.02,
            seed: 0,
        }
    }
}

const BATCH: usize = 128;

/// Runs the experiment.
pub(super) fn run(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    check(settings)?;
    let [images, _] = sets.inputs(0);
    let plan = Plan {
        batch_size: BATCH.min(images.len()),
        steps: settings.steps,
        sgd: true,
        learning_rate: settings.learning_rate,
        schedule: Schedule::Tenths,
        gradient: GradientConfig::default(),
        seed: settings.seed,
    };
    let (x, labels) = images.part(0, settings.images);
    let activation = QuantizedActivation { bits: Some(settings.bits), surrogate: settings.train_with };
    let network = DeepMlp::new(settings.seed).with_activation(activation);
    let mut trainer = Trainer::new(network, images, &plan)?;
    let gaps = (settings.measurements - 1).max(1);
    let mut due: Vec<u64> = (0..settings.measurements).map(|place| place * settings.steps / gaps).collect();
    due.dedup();
    let roles = parameters::roles(&trainer.network);
    let names = parameters::read(&trainer.network).into_iter().map(|parameter| parameter.name);
    let names: Vec<String> = names.filter(|name| matches!(roles[name], Role::Weight { .. })).collect();
    tell(Progress::Begin(due.len() as u64));
    let surrogates = ReluSurrogate::ALL.iter().map(|surrogate| surrogate.name());
    let header: Vec<&str> = ["step", "loss", "layer"].into_iter().chain(surrogates).collect();
    let mut table = Table::new("cosine", &header);
    let mut cosines: Vec<Vec<Vec<f64>>> = Vec::new();
    let mut steps = Vec::new();
    for step in 0..=settings.steps {
        if due.contains(&step) {
            let (loss, measured) = measure(settings, &trainer.network, &names, &x, labels, step)?;
            for (layer, cosine) in measured.iter().enumerate() {
                let row = [step.to_string(), format!("{loss:.4}"), (layer + 1).to_string()];
                table.push([row.to_vec(), cosine.iter().map(|cosine| format!("{cosine:.3}")).collect()].concat());
            }
            cosines.push(measured);
            steps.push(step);
            tell(Progress::Done(1));
        }
        if step < settings.steps {
            trainer = trainer.finite_step()?;
        }
    }
    let title = |step: &u64| format!("after {step} steps");
    let mut shown = vec![0, steps.len() / 2, steps.len() - 1];
    shown.dedup();
    let panels = shown.into_iter().map(|place| {
        let mut panel = Panel::new(title(&steps[place]), "layer", "cosine with the loss's own gradient")
            .scales(Scale::Linear, Scale::Log);
        for (column, surrogate) in ReluSurrogate::ALL.iter().enumerate() {
            let points = cosines[place].iter().enumerate().map(|(layer, row)| (layer as f64 + 1.0, row[column]));
            panel = panel.with(Series::line(surrogate.name(), points));
        }
        panel
    });
    let error = 100.0 / (2.0 * f64::from(settings.directions)).sqrt();
    Ok(Report {
        tables: vec![table],
        charts: vec![("cosine".to_string(), Chart::new(panels))],
        notes: vec![format!(
            "eight layers, {} bits, trained with {}; lengths have a relative error of about {error:.0} %, and cosines are lower bounds",
            settings.bits,
            settings.train_with.name()
        )],
    })
}

fn check(settings: &Settings) -> Result<(), LabError> {
    let usage = |message: String| Err(LabError::Usage(message));
    if !(2..=4).contains(&settings.bits) {
        return usage(format!("bits must be 2, 3 or 4, got {}", settings.bits));
    }
    if !(1..=10_000_000).contains(&settings.steps) || !(1..=1_000).contains(&settings.measurements) {
        return usage("steps must be from 1 to 10000000, measurements from 1 to 1000".to_string());
    }
    if settings.images < 2 || !(1..1 << 16).contains(&settings.directions) {
        return usage("images must be at least 2, directions from 1 to 65535".to_string());
    }
    for (key, value) in [("probe", settings.probe), ("learning_rate", settings.learning_rate)] {
        if !(value > 0.0 && value.is_finite()) {
            return usage(format!("{key} must be above 0, got {value}"));
        }
    }
    Ok(())
}

/// The loss, and for each layer the cosine of each surrogate's gradient.
///
/// # Errors
/// If the loss or a gradient is not finite.
fn measure(
    settings: &Settings,
    network: &DeepMlp,
    names: &[String],
    x: &Tensor<2>,
    labels: &[u8],
    step: u64,
) -> Result<(f64, Vec<Vec<f64>>), LabError> {
    let with =
        |surrogate| network.valid_copy().with_activation(QuantizedActivation { bits: Some(settings.bits), surrogate });
    let estimates: Vec<BTreeMap<String, Vec<f32>>> = ReluSurrogate::ALL
        .iter()
        .map(|surrogate| gradients(&with(*surrogate), x.clone(), labels))
        .collect::<Result<_, LabError>>()?;
    // In training form, so that batch norm is that of the images; the copy's running statistics are nobody's.
    let probe = with(ReluSurrogate::Identity);
    let value = |network: &DeepMlp| {
        let value = loss(network.logits(x.clone()), labels);
        sweep();
        value
    };
    let at = value(&probe);
    let cosines = names.iter().enumerate().map(|(layer, name)| {
        let base = parameters::read(&probe).into_iter().find(|parameter| parameter.name == *name);
        let base = base.map(|parameter| parameter.values).unwrap_or_default();
        let reach = settings.probe * global_norm(&[&base]);
        let slope = |direction: &[f32]| {
            let length = global_norm(&[direction]);
            if length == 0.0 {
                return 0.0;
            }
            let moved = |side: f64| {
                let factor = (side * reach / length) as f32;
                let network = parameters::update_some(
                    probe.clone(),
                    |found| found == name,
                    |_, _, values| {
                        values.iter_mut().zip(direction).for_each(|(value, direction)| *value += factor * direction);
                    },
                );
                value(&network)
            };
            (moved(1.0) - moved(-1.0)) / (2.0 * reach)
        };
        let squares: f64 = (0..settings.directions)
            .map(|direction| {
                let mut values = vec![0.0; base.len()];
                let random = Random::new(settings.seed, step as u32, streams::ALIGNMENT + layer as u32);
                random.part(direction).fill_normal(&mut values);
                slope(&values).powi(2)
            })
            .sum();
        let length = (base.len() as f64 * squares / f64::from(settings.directions)).sqrt();
        let cosine = |estimate: &[f32]| if length > 0.0 { (slope(estimate) / length).clamp(-1.0, 1.0) } else { 0.0 };
        estimates.iter().map(|estimate| cosine(&estimate[name])).collect::<Vec<f64>>()
    });
    Ok((at, cosines.collect()))
}
