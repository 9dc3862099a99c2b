//! The two-layer network on paper and at work: what the theorems say, and where coarse gradient descent goes.

mod along;
mod descents;
mod picture;
mod report;
mod request;
mod statements;

use std::path::Path;

use hardgrad::ops::ReluSurrogate;
use hardgrad::theory::{Descent, TwoLayerError, saddle, spurious_minimum};

use crate::{LabError, chart, files};
use descents::{descend, starts};
use picture::to_chart;
use statements::{at_saddle, at_spurious_minimum, correlations};

pub use descents::DescentRow;
pub use report::TwoLayerReport;
pub use request::Request;
pub use statements::Statement;

/// Computes statements and descents.
///
/// # Errors
/// If a number of the request cannot be.
pub fn two_layer(request: &Request) -> Result<TwoLayerReport, LabError> {
    request.check()?;
    let (v_star, w_star) = (&request.v_star, request.w_star());
    let (saddle, spurious) = (saddle(v_star), spurious_minimum(v_star));
    let mut statements = Vec::new();
    if let Some(spurious) = &spurious {
        statements.extend(at_spurious_minimum(request, &w_star, spurious).map_err(refused)?);
    }
    if let Some(saddle) = &saddle {
        statements.extend(at_saddle(request, &w_star, saddle).map_err(refused)?);
    }
    statements.extend(correlations(request, &w_star).map_err(refused)?);
    let (mut descents, mut paths) = (Vec::new(), Vec::new());
    for (start, v, w) in starts(request, saddle.as_ref(), spurious.as_ref()) {
        for &surrogate in ReluSurrogate::ALL {
            for samples in [0, request.samples].into_iter().take(if request.samples > 0 { 2 } else { 1 }) {
                let descent = Descent::new(&v, &w, v_star, &w_star, surrogate).map_err(refused)?;
                let (row, walk) = descend(request, descent, start, surrogate.name(), samples);
                descents.push(row);
                paths.push(walk);
            }
        }
    }
    Ok(TwoLayerReport {
        v_star: v_star.clone(),
        saddle_angle: saddle.map(|saddle| saddle.angle.to_degrees()),
        spurious_minimum: spurious.is_some(),
        statements,
        descents,
        paths,
        request: request.clone(),
    })
}

fn refused(problem: TwoLayerError) -> LabError {
    LabError::Usage(problem.to_string())
}

/// Writes `two-layer.csv`, `two-layer.json` and `two-layer.svg` into a folder.
///
/// # Errors
/// If a file cannot be written or the picture cannot be drawn.
pub fn write(report: &TwoLayerReport, folder: &Path) -> Result<(), LabError> {
    let mut csv = "start,surrogate,samples,step,loss,angle_degrees,place\n".to_string();
    for walk in &report.paths {
        let samples = if walk.sampled { report.request.samples.to_string() } else { String::new() };
        for [step, loss, angle, place] in &walk.points {
            csv += &format!("{},{},{samples},{step},{loss},{angle},{place}\n", walk.start, walk.surrogate);
        }
    }
    let picture = folder.join("two-layer.svg");
    let svg = chart::draw(&to_chart(report)).map_err(|problem| LabError::Picture { path: picture.clone(), problem })?;
    let json = serde_json::to_string_pretty(report).expect("a report is a plain struct");
    files::create_folder(folder)?;
    files::write_output(&folder.join("two-layer.csv"), csv.as_bytes())?;
    files::write_output(&folder.join("two-layer.json"), json.as_bytes())?;
    Ok(files::write_output(&picture, svg.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let v_star = vec![1.0, -0.4, 0.7, 0.2, -0.9];
        Request { v_star, filter: 6, learning_rate: 0.05, steps: 400, samples: 50, seed: 0 }
    }

    #[test]
    fn every_statement_holds_and_every_descent_is_told() {
        let report = two_layer(&request()).unwrap();
        assert_eq!((report.statements.len(), report.descents.len()), (10, 24));
        for Statement { statement, formula, found } in &report.statements {
            assert!((formula - found).abs() < 1e-7, "{statement}: {formula}, found {found}");
        }
        let stays =
            report.descents.iter().find(|row| row.start == "spurious_minimum" && row.surrogate == "relu").unwrap();
        assert_eq!((stays.rising_steps, stays.angles[1] > 179.0), ([0, 400], true));
        let folder = tempfile::tempdir().unwrap();
        write(&report, folder.path()).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("two-layer.svg")).unwrap();
        assert!(svg.contains("clipped_relu") && svg.contains("equal loss"));
    }

    #[test]
    fn a_teacher_without_spurious_minima_has_a_random_start_only() {
        let report = two_layer(&Request { v_star: vec![1.0, 1.0], samples: 0, ..request() }).unwrap();
        assert_eq!((report.saddle_angle, report.spurious_minimum, report.descents.len()), (None, false, 3));
        // A sum of 0: the mirror image of the teacher is a global minimum.
        let report = two_layer(&Request { v_star: vec![1.0, -1.0], samples: 0, ..request() }).unwrap();
        assert_eq!((report.saddle_angle, report.spurious_minimum, report.descents.len()), (Some(90.0), false, 9));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |request: Request| two_layer(&request).unwrap_err().to_string();
        assert!(refused(Request { v_star: vec![0.0; 3], ..request() }).contains("--v-star"));
        assert!(refused(Request { filter: 1, ..request() }).contains("--filter"));
        assert!(refused(Request { learning_rate: f64::NAN, ..request() }).contains("--learning-rate"));
        assert!(refused(Request { steps: 0, ..request() }).contains("--steps"));
        assert!(refused(Request { samples: usize::MAX, ..request() }).contains("--samples"));
    }
}
