//! Timing of operators and of training steps, as other libraries are timed beside them.
//!
//! A workload is built once; then its step runs three times unmeasured, and at least ten times and one second measured.

mod networks;
mod operators;
mod scaling;
mod step;
mod training;

use std::time::{Duration, Instant};

use hardgrad::profile;
use serde::Serialize;

use crate::LabError;
pub use scaling::{Sweep, sweeps, write};
use step::Step;
use training::Form;

/// One thing to time.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Makes the inputs; each call of what it returns is one step.
    build: fn() -> Step,
}

/// All workloads.
pub static WORKLOADS: [Workload; 24] = [
    Workload { name: "copy/fake_quant_1m", build: operators::copy },
    Workload { name: "op/fake_quant_1m", build: operators::fake_quant },
    Workload { name: "op/lsq_channel_1m", build: operators::lsq_channel },
    Workload { name: "op/sign_clipped_1m", build: operators::sign_clipped },
    Workload { name: "op/gumbel_hard_512x1024", build: operators::gumbel_hard },
    Workload { name: "op/reinmax_512x1024", build: operators::reinmax },
    Workload { name: "op/token_select_64x196x192_k98", build: operators::token_select },
    Workload { name: "op/vq_6272x64_k512", build: operators::vector_quantize },
    Workload { name: "op/fsq_6272x4_8555", build: operators::finite_scalar },
    Workload {
        name: "op/conv2d_b128_16x32x32_3x3",
        build: || operators::convolution([128, 16, 32, 32], [16, 16, 3, 3], 1),
    },
    Workload {
        name: "op/conv2d_b128_32x14x14_to64_5x5",
        build: || operators::convolution([128, 32, 14, 14], [64, 32, 5, 5], 2),
    },
    Workload {
        name: "op/conv2d_b128_64x8x8_3x3",
        build: || operators::convolution([128, 64, 8, 8], [64, 64, 3, 3], 1),
    },
    Workload { name: "train/mlp_fp32", build: || training::mlp(Form::Float) },
    Workload { name: "train/mlp_w4a4", build: || training::mlp(Form::Quantized) },
    Workload { name: "guided/mlp_w4a4_fogzo", build: || training::mlp(Form::Guided) },
    Workload { name: "train/lenet_fp32", build: || training::lenet(Form::Float) },
    Workload { name: "train/lenet_w4a4", build: || training::lenet(Form::Quantized) },
    Workload { name: "guided/lenet_w4a4_fogzo", build: || training::lenet(Form::Guided) },
    Workload { name: "train/resnet20_fp32", build: || training::resnet20(Form::Float) },
    Workload { name: "train/resnet20_w4a4", build: || training::resnet20(Form::Quantized) },
    Workload { name: "guided/resnet20_w4a4_fogzo", build: || training::resnet20(Form::Guided) },
    Workload { name: "train/vit_fp32", build: || training::vit(Form::Float) },
    Workload { name: "train/vit_w4a4", build: || training::vit(Form::Quantized) },
    Workload { name: "guided/vit_w4a4_fogzo", build: || training::vit(Form::Guided) },
];

/// Times of one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// The workload.
    pub name: &'static str,
    /// Median of the calls, in milliseconds.
    pub median_ms: f64,
    /// The fastest call, in milliseconds.
    pub min_ms: f64,
    /// Calls that were timed.
    pub iterations: usize,
}

/// Times of some workloads.
#[derive(Clone, Debug, Serialize)]
pub struct Timings {
    /// One for each workload.
    pub results: Vec<Timing>,
    /// Threads that did the work.
    pub threads: usize,
    /// The processor.
    pub cpu: String,
}

/// Where the time of a workload's steps goes.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// The workload.
    pub name: &'static str,
    /// Mean time of a step, in milliseconds.
    pub step_ms: f64,
    /// One row an operator and direction, the longest first; the last one is what remains.
    pub rows: Vec<ProfileRow>,
}

/// One operator in one direction.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileRow {
    /// The operator.
    pub operator: &'static str,
    /// `forward`, `backward` or `update`.
    pub pass: &'static str,
    /// Calls a step.
    pub calls: f64,
    /// Time a step, in milliseconds.
    pub ms: f64,
}

/// Calls before anything is timed.
const WARM_UP: usize = 3;

/// Calls that are timed at least.
const CALLS: usize = 10;

/// Time that the calls take together at least.
const DURATION: Duration = Duration::from_secs(1);

/// Times all workloads whose name contains `only`; `tell` hears each name before its turn.
pub fn time(only: &str, mut tell: impl FnMut(&str)) -> Timings {
    let results = chosen(only).map(|workload| {
        tell(workload.name);
        let mut times: Vec<f64> = measured(workload).iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median_ms = (times[middle] + times[(times.len() - 1) / 2]) / 2.0;
        Timing { name: workload.name, median_ms, min_ms: times[0], iterations: times.len() }
    });
    Timings { results: results.collect(), threads: rayon::current_num_threads(), cpu: cpu() }
}

/// Where the time goes in all workloads whose name contains `only`; `tell` hears each name before its turn.
pub fn profiles(only: &str, mut tell: impl FnMut(&str)) -> Vec<Profile> {
    chosen(only)
        .map(|workload| {
            tell(workload.name);
            let mut step = (workload.build)();
            (0..WARM_UP).for_each(|_| step());
            profile::start();
            let times = timed(&mut step);
            let (steps, total) = (times.len() as f64, times.iter().sum::<Duration>().as_secs_f64() * 1e3);
            let row = |row: profile::Row| ProfileRow {
                operator: row.operator,
                pass: row.pass,
                calls: row.calls as f64 / steps,
                ms: row.time.as_secs_f64() * 1e3 / steps,
            };
            let mut rows: Vec<ProfileRow> = profile::stop().into_iter().map(row).collect();
            let rest = total / steps - rows.iter().map(|row| row.ms).sum::<f64>();
            rows.push(ProfileRow { operator: "everything else", pass: "", calls: 1.0, ms: rest });
            Profile { name: workload.name, step_ms: total / steps, rows }
        })
        .collect()
}

/// The workloads whose name contains `only`.
pub fn chosen(only: &str) -> impl Iterator<Item = &'static Workload> {
    WORKLOADS.iter().filter(move |workload| workload.name.contains(only))
}

fn measured(workload: &Workload) -> Vec<Duration> {
    let mut step = (workload.build)();
    (0..WARM_UP).for_each(|_| step());
    timed(&mut step)
}

fn timed(step: &mut Step) -> Vec<Duration> {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < CALLS || begin.elapsed() < DURATION {
        let begin = Instant::now();
        step();
        times.push(begin.elapsed());
    }
    times
}

/// Runs exactly `steps` steps of each workload whose name contains `only`, without timing.
///
/// # Errors
/// If there is no such workload.
pub fn run_steps(only: &str, steps: usize) -> Result<(), LabError> {
    if chosen(only).next().is_none() {
        return Err(LabError::Usage(format!("no workload is called {only}; `hardgrad bench --list` lists them")));
    }
    for workload in chosen(only) {
        let mut step = (workload.build)();
        (0..steps).for_each(|_| step());
    }
    Ok(())
}

/// The processor's name, where the system tells.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_runs_a_step() {
        for workload in &WORKLOADS {
            run_steps(workload.name, 1).unwrap();
        }
        assert!(run_steps("op/none", 1).is_err());
    }
}
