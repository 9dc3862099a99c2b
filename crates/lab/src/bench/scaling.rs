//! How the time of a training step grows with batch, channels and threads.
//!
//! ```text
//! time = c size^exponent        fitted by least squares of the logarithms
//! ```
//! Batch and channels: a convolution 3x3 of 16x16 images, forward and backward. Threads: the steps of ResNet-20. All sizes of a sweep take turns, and the fastest call of each counts, so that a disturbance meets all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use serde::Serialize;

use super::step::Step;
use super::training::Form;
use super::{operators, training};
use crate::chart::{self, Chart, Panel, Scale, Series, Style};
use crate::{LabError, files};

/// One sweep over a size.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// What is swept.
    pub name: &'static str,
    /// Size and time in milliseconds.
    pub points: Vec<(usize, f64)>,
    /// The fitted exponent of the size.
    pub exponent: f64,
}

/// Rounds in which the sizes take turns.
const ROUNDS: usize = 5;
/// Calls of a size in one round.
const CALLS: usize = 3;

/// The sweeps over batch, channels, and (where the pool has more than one) threads; `tell` hears what comes next.
///
/// # Errors
/// If the system does not give the threads.
pub fn sweeps(mut tell: impl FnMut(&str)) -> Result<Vec<Sweep>, LabError> {
    tell("batch");
    let batch = sweep("batch", [32, 64, 128, 256, 512], |batch| layer(batch, 64));
    tell("channels");
    let channels = sweep("channels", [32, 64, 128, 256, 512], |channels| layer(16, channels));
    let mut found = vec![batch, channels];
    // A single thread has nothing to be compared with.
    if rayon::current_num_threads() == 1 {
        return Ok(found);
    }
    for (name, form) in [("threads, ResNet-20 fp32", Form::Float), ("threads, ResNet-20 w4a4", Form::Quantized)] {
        tell(name);
        found.push(sweep_threads(name, form)?);
    }
    Ok(found)
}

fn sweep<const N: usize>(name: &'static str, sizes: [usize; N], build: impl Fn(usize) -> Step) -> Sweep {
    fitted(name, fastest(&mut sizes.map(|size| (size, build(size)))))
}

fn sweep_threads(name: &'static str, form: Form) -> Result<Sweep, LabError> {
    let mut step = training::resnet20(form);
    let mut best = Vec::new();
    for _ in 0..ROUNDS {
        for threads in 1..=rayon::current_num_threads() {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.map_err(|problem| LabError::Threads { threads, problem: problem.to_string() })?;
            let time = (0..CALLS).map(|_| pool.install(|| timed(&mut step))).min();
            best.extend(time.map(|time| (threads, time)));
        }
    }
    let threads = 1..=rayon::current_num_threads();
    let points = threads.filter_map(|count| {
        let times = best.iter().filter(|(threads, _)| *threads == count).map(|(_, time)| *time);
        Some((count, times.min()?))
    });
    Ok(fitted(name, points.collect()))
}

/// The fastest call of each.
fn fastest(runs: &mut [(usize, Step)]) -> Vec<(usize, Duration)> {
    let mut best: Vec<(usize, Duration)> = runs.iter().map(|(size, _)| (*size, Duration::MAX)).collect();
    for _ in 0..ROUNDS {
        for ((_, run), (_, best)) in runs.iter_mut().zip(&mut best) {
            for _ in 0..CALLS {
                *best = (*best).min(timed(run));
            }
        }
    }
    best
}

fn timed(run: &mut dyn FnMut()) -> Duration {
    let begin = Instant::now();
    run();
    begin.elapsed()
}

fn fitted(name: &'static str, points: Vec<(usize, Duration)>) -> Sweep {
    let points: Vec<(usize, f64)> = points.into_iter().map(|(size, time)| (size, time.as_secs_f64() * 1e3)).collect();
    Sweep { name, exponent: exponent(&points), points }
}

/// The slope of the logarithm of the time over that of the size.
fn exponent(points: &[(usize, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(size, time)| ((*size as f64).ln(), time.ln())).collect();
    let count = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let products: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
    products / logs.iter().map(|log| (log.0 - x).powi(2)).sum::<f64>()
}

/// Side of the images.
const SIDE: usize = 16;

/// A convolution that keeps the size of its images, forward and backward.
fn layer(batch: usize, channels: usize) -> Step {
    operators::convolution([batch, channels, SIDE, SIDE], [channels, channels, 3, 3], 1)
}

/// Writes `scaling.svg` and `scaling.json` into a folder.
///
/// # Errors
/// If a file cannot be written or the picture cannot be drawn.
pub fn write(sweeps: &[Sweep], folder: &Path) -> Result<(), LabError> {
    let picture = folder.join("scaling.svg");
    let svg = to_svg(sweeps).map_err(|problem| LabError::Picture { path: picture.clone(), problem })?;
    let json = serde_json::to_string_pretty(sweeps).expect("plain numbers and names");
    files::write_output(&folder.join("scaling.json"), json.as_bytes())?;
    Ok(files::write_output(&picture, svg.as_bytes())?)
}

fn to_svg(sweeps: &[Sweep]) -> Result<String, String> {
    let panels = sweeps.iter().map(|sweep| {
        let points = sweep.points.iter().map(|(size, time)| (*size as f64, *time));
        let first = sweep.points.first().map_or(1.0, |(size, _)| *size as f64);
        let (last, time) = sweep.points.last().map_or((1.0, 1.0), |(size, time)| (*size as f64, *time));
        let ends = [first, last].map(|size| (size, time * (size / last).powf(sweep.exponent.round())));
        Panel::new(format!("{}: exponent {:.2}", sweep.name, sweep.exponent), sweep.name, "time (ms)")
            .scales(Scale::Log, Scale::Log)
            .with(Series::line("whole exponent", ends).style(Style::Dashed))
            .with(Series::line("measured", points))
    });
    chart::draw(&Chart::new(panels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_of_powers_are_found() {
        let cubic: Vec<(usize, f64)> = [1, 2, 4, 8].map(|size| (size, 0.3 * (size as f64).powi(3))).into();
        assert!((exponent(&cubic) - 3.0).abs() < 1e-9);
    }
}
