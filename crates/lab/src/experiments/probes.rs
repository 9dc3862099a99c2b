//! What a probe sees: the slope that the straight-through gradient claims along its own direction beside the one that the loss has,
//! while a network trains straight-through.
//!
//! ```text
//! claimed   = norm(g)                                       g the straight-through gradient in units of the noise
//! measured  = (L(z + g/norm(g)) - L(z - g/norm(g)))/2       on the same batch, one probe a batch
//! even part = (L(z + g/norm(g)) + L(z - g/norm(g)))/2 - L(z)
//! smoothed  = mean of L(z + u)                              the loss that zeroth-order gradients descend
//! ```

use hardgrad::parameters::{self, Parameter};
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment};
use hardgrad_kernels::optimizer::global_norm;
use serde::{Deserialize, Serialize};

use super::inputs::Inputs;
use super::networks::with_subject;
use super::statistics::Spread;
use super::subject::Subject;
use super::training::{Plan, Schedule, Trainer, gradients, loss};
use super::{Progress, Report, Sets, Table};
use crate::LabError;

/// What is trained, and when it is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// perceptron, two_bit_mlp, two_bit_lenet, binary_mlp or two_bit_transformer.
    pub network: String,
    /// Images a step, and of a probe.
    pub batch_size: usize,
    /// Learning rate of SGD (momentum 0.9), which stays.
    pub learning_rate: f64,
    /// Steps after which probes are made.
    pub steps: Vec<u64>,
    /// Probes at each, on a batch of its own each.
    pub probes: u32,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network: "perceptron".to_string(),
            batch_size: 128,
            learning_rate: 0.03,
            steps: vec![50, 400, 2_000],
            probes: 100,
            seed: 0,
        }
    }
}

/// Runs the experiment.
pub(super) fn run(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    let usage = |message: &str| Err(LabError::Usage(message.to_string()));
    if settings.steps.is_empty() || !settings.steps.is_sorted() || settings.steps.iter().any(|step| *step > 10_000_000)
    {
        return usage("steps must rise, be at least one and at most 10000000 each");
    }
    if settings.probes < 3 || settings.batch_size == 0 {
        return usage("probes must be at least 3, batch_size at least 1");
    }
    if !(settings.learning_rate > 0.0 && settings.learning_rate.is_finite()) {
        return usage("learning_rate must be above 0");
    }
    with_subject!(settings.network.as_str(), make => probe(make, settings, sets, tell))
}

/// What the probes at one step saw.
#[derive(Default)]
struct Seen {
    claimed: Vec<f64>,
    measured: Vec<f64>,
    even: Vec<f64>,
    flips: Vec<f64>,
    smoothed: Vec<f64>,
    here: Vec<f64>,
}

fn probe<N: Subject>(
    make: fn(u64) -> N,
    settings: &Settings,
    sets: &Sets,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LabError> {
    let [images, _] = sets.inputs(0);
    let last = settings.steps.last().copied().unwrap_or_default();
    let plan = Plan {
        batch_size: settings.batch_size.min(images.len()),
        steps: last,
        sgd: true,
        learning_rate: settings.learning_rate,
        schedule: Schedule::Constant,
        gradient: GradientConfig::default(),
        seed: settings.seed,
    };
    let mut trainer = Trainer::new(make(settings.seed), images, &plan)?;
    let header = [
        "step",
        "loss",
        "smoothed loss",
        "claimed slope",
        "measured slope",
        "negative",
        "correlation",
        "even part",
        "flipped codes",
    ];
    let mut table = Table::new("slopes", &header);
    tell(Progress::Begin(settings.steps.len() as u64));
    let mut done = 0;
    for &step in &settings.steps {
        while done < step {
            trainer = trainer.finite_step()?;
            done += 1;
        }
        let seen = look(settings, &trainer.network, images, &plan, step)?;
        let negative = seen.measured.iter().filter(|slope| **slope < 0.0).count() as f64 / f64::from(settings.probes);
        table.push(vec![
            step.to_string(),
            format!("{:.4}", Spread::of(&seen.here).mean),
            format!("{:.4}", Spread::of(&seen.smoothed).mean),
            format!("{:.2e}", Spread::of(&seen.claimed).mean),
            Spread::of(&seen.measured).to_string(),
            format!("{:.0} %", 100.0 * negative),
            format!("{:.2}", correlation(&seen.claimed, &seen.measured)),
            format!("{:.2e}", Spread::of(&seen.even).mean),
            format!("{:.0}", Spread::of(&seen.flips).mean),
        ]);
        tell(Progress::Done(1));
    }
    let note = format!("{}, {} probes a row, batches of {} images", settings.network, settings.probes, plan.batch_size);
    Ok(Report { tables: vec![table], charts: Vec::new(), notes: vec![note] })
}

/// One probe along the straight-through gradient and one along noise on each of some batches.
fn look<N: Subject>(
    settings: &Settings,
    network: &N,
    images: Inputs<'_>,
    plan: &Plan,
    step: u64,
) -> Result<Seen, LabError> {
    let perturbed = network.perturbed();
    let codes = |parameters: &[Parameter]| -> Vec<i32> {
        let of = |perturbed: &hardgrad::zeroth_order::Perturbed| {
            let found = parameters.iter().find(|parameter| parameter.name == perturbed.name);
            let values = found.map(|parameter| parameter.values.as_slice()).unwrap_or_default();
            values.iter().map(|value| N::code(*value, perturbed.step)).collect::<Vec<_>>()
        };
        perturbed.iter().flat_map(of).collect()
    };
    let plain = network.valid();
    let base = codes(&parameters::read(&plain));
    let mut seen = Seen::default();
    // Batches that training does not see in this order.
    let order = images.order(settings.seed, 1 << 20);
    for (probe, chosen) in (0..settings.probes).zip(order.chunks(plan.batch_size).cycle()) {
        let (x, labels) = images.chosen(chosen);
        let mut straight_through = gradients(network, x.clone(), &labels)?;
        let scaled = perturbed.iter().map(|perturbed| {
            let width = perturbed.smoothing.width * f64::from(perturbed.step);
            straight_through.get(&perturbed.name).map_or(0.0, |gradient| width * global_norm(&[gradient]))
        });
        seen.claimed.push(scaled.map(|norm| norm * norm).sum::<f64>().sqrt());
        let here = loss(plain.logits(x.clone()), &labels);
        seen.here.push(here);
        let (mut losses, mut flips, mut sign) = (Vec::new(), 0.0, 1.0);
        for method in [MethodName::Fogzo, MethodName::Spsa] {
            let config = GradientConfig { method, ..GradientConfig::default() };
            let Some(guidance) = Guidance::new(&config)? else { continue };
            // At progress 0 the direction of FOGZO is the straight-through gradient's.
            let moment = Moment { seed: settings.seed, step: step as u32 + probe, progress: 0.0 };
            guidance.guide_by_slopes(network, &perturbed, &mut straight_through, moment, |probes| {
                let along_guide = method == MethodName::Fogzo;
                if along_guide {
                    sign = probes.sign(0);
                }
                probes.slopes(network, |moved: &N| {
                    if along_guide {
                        let moved = codes(&parameters::read(moved));
                        flips += moved.iter().zip(&base).filter(|(moved, base)| moved != base).count() as f64 / 2.0;
                    }
                    let value = loss(moved.logits(x.clone()), &labels);
                    losses.push(value);
                    value
                })
            })?;
        }
        seen.measured.push(sign * (losses[0] - losses[1]) / 2.0);
        seen.even.push((losses[0] + losses[1]) / 2.0 - here);
        seen.smoothed.push((losses[2] + losses[3]) / 2.0);
        seen.flips.push(flips);
    }
    Ok(seen)
}

/// Pearson's correlation; 0 where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (left, right) = (Spread::of(a), Spread::of(b));
    let together: f64 = a.iter().zip(b).map(|(a, b)| (a - left.mean) * (b - right.mean)).sum();
    let apart = left.deviation * right.deviation * (a.len() as f64 - 1.0);
    if apart > 0.0 { together / apart } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::correlation;

    #[test]
    fn correlations_by_hand() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0], &[1.0, 0.0, 1.0])).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
    }
}
