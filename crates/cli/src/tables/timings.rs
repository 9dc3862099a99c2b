//! How long things take.

use hardgrad_lab::bench::{Profile, Sweep, Timings};

use super::{percent, table};

pub fn timings(timings: &Timings) -> String {
    let rows = timings.results.iter().map(|timing| {
        let milliseconds = |value: f64| format!("{value:.3}");
        vec![
            timing.name.to_string(),
            milliseconds(timing.median_ms),
            milliseconds(timing.min_ms),
            timing.iterations.to_string(),
        ]
    });
    format!(
        "{}\n{} threads, {}",
        table(&["workload", "median ms", "fastest ms", "calls"], 1, rows),
        timings.threads,
        timings.cpu
    )
}

pub fn sweeps(sweeps: &[Sweep]) -> String {
    let rows = sweeps.iter().map(|sweep| {
        let points = sweep.points.iter().map(|(size, time)| format!("{size}: {time:.3}"));
        vec![sweep.name.to_string(), points.collect::<Vec<_>>().join("  "), format!("{:.2}", sweep.exponent)]
    });
    table(&["size", "size: fastest ms", "exponent"], 2, rows).to_string()
}

pub fn profiles(profiles: &[Profile]) -> String {
    let one = |profile: &Profile| {
        let rows = profile.rows.iter().map(|row| {
            vec![
                row.operator.to_string(),
                row.pass.to_string(),
                format!("{:.1}", row.calls),
                format!("{:.3}", row.ms),
                percent(row.ms / profile.step_ms),
            ]
        });
        let rows = table(&["operator", "pass", "calls a step", "ms a step", "share"], 2, rows);
        format!("{}: {:.3} ms a step\n{rows}", profile.name, profile.step_ms)
    };
    profiles.iter().map(one).collect::<Vec<_>>().join("\n\n")
}
