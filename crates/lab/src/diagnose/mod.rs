//! The gradient microscope: how good is an estimator's gradient?
//!
//! [`diagnose`] holds the estimates of a method against the exact gradient of the expected cost: by enumeration of all
//! choices, variable by variable where the cost allows, or, where there are too many, against an unbiased reference with a
//! stated number of samples. Methods are the estimators of [`hardgrad::categorical`] or hard operators with their surrogate
//! ([`operator_methods`]).

mod exact;
mod operator;
mod problem;
mod reference;
mod report;
mod request;
mod row;
mod statistics;

use std::io::ErrorKind;
use std::path::Path;

use hardgrad::categorical::{self, ESTIMATORS, Estimator};
use hardgrad::random::Random;

use crate::objectives::{self, Size};
use crate::{LabError, files, streams};

pub use operator::operator_methods;
use problem::Problem;
use report::{to_csv, to_svg};
pub use request::{Progress, Request};
pub use row::{Diagnosis, Interval, Row};

pub(crate) use exact::softmax;
use exact::{exact, reference};
use reference::Reference;
use row::label;
use statistics::Groups;

/// Estimates before those that are measured, in which learned control variates and baselines settle.
const WARM_UP: usize = 20_000;

/// Samples at most: more would take days.
const MOST_SAMPLES: usize = 1_000_000_000;

/// Measures the methods.
///
/// # Errors
/// If a name, a setting or a size cannot be, or a method does not suit the objective.
pub fn diagnose(request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Diagnosis, LabError> {
    check(request)?;
    if request.methods.iter().any(|method| operator::is_operator(method)) {
        return operator::diagnose(request, tell);
    }
    let objective = objectives::by_name(&request.objective, request.variables, request.categories, request.seed)?;
    let methods = methods(request, objective.size());
    let (measurements, omitted) = measurements(&methods, &request.temperatures, !request.methods.is_empty())?;
    tell(Progress::Begin(measurements.len() as u64));
    let problem = Problem::new(objective.as_ref(), request);
    let truth = match exact(&problem) {
        Some(truth) => truth,
        None => reference(&problem, request.reference_samples, request.seed)?,
    };
    let mut rows = Vec::new();
    for (method, temperature) in measurements {
        tell(Progress::Method(label(&method, temperature)));
        let mut estimator = categorical::by_name(&method)?;
        let groups = measure(&problem, &method, estimator.as_mut(), temperature.unwrap_or(1.0), request, &truth)?;
        rows.push(groups.row(method, temperature, &truth));
        tell(Progress::Done);
    }
    let Size { variables, categories } = objective.size();
    Ok(Diagnosis {
        objective: request.objective.clone(),
        variables,
        categories,
        reference: truth.description.clone(),
        gradient_norm: Some(truth.norm()),
        samples: request.samples,
        rows,
        omitted,
    })
}

fn check(request: &Request) -> Result<(), LabError> {
    let usage = |message: String| Err(LabError::Usage(message));
    if request.samples < 2 * reference::GROUPS {
        return usage(format!("--samples must be at least {}, got {}", 2 * reference::GROUPS, request.samples));
    }
    if request.samples.max(request.reference_samples) > MOST_SAMPLES {
        return usage(format!("--samples and --reference-samples can be at most {MOST_SAMPLES}"));
    }
    if request.reference_samples < 2 * reference::GROUPS {
        return usage(format!("--reference-samples must be at least {}", 2 * reference::GROUPS));
    }
    if request.temperatures.is_empty() {
        return usage("--temperatures must name at least one".to_string());
    }
    match request.temperatures.iter().find(|temperature| !(**temperature > 0.0 && temperature.is_finite())) {
        Some(temperature) => usage(format!("--temperatures must be above 0, got {temperature}")),
        None if !(request.spread >= 0.0 && request.spread.is_finite()) => {
            usage(format!("--spread must be at least 0, got {}", request.spread))
        }
        None => Ok(()),
    }
}

/// The methods that were asked for, or all estimators that the number of categories suits.
fn methods(request: &Request, size: Size) -> Vec<String> {
    if !request.methods.is_empty() {
        return request.methods.clone();
    }
    let suited = ESTIMATORS.iter().filter(|entry| !entry.binary || size.categories == 2);
    suited.map(|entry| entry.name.to_string()).collect()
}

/// A method at a temperature, or without one.
type Measurement = (String, Option<f32>);

/// Each method with each temperature that it can have, once without where it has none; and what is left out.
fn measurements(
    methods: &[String],
    temperatures: &[f32],
    named: bool,
) -> Result<(Vec<Measurement>, Vec<String>), LabError> {
    let (mut measurements, mut omitted) = (Vec::new(), Vec::new());
    for method in methods {
        let (entry, _) = categorical::find(method)?;
        if !entry.uses_temperature {
            measurements.push((method.clone(), None));
            continue;
        }
        for temperature in temperatures {
            let least = entry.least_temperature;
            let reason = || format!("{method} needs a temperature of at least {least}, got {temperature}");
            match *temperature >= least {
                true => measurements.push((method.clone(), Some(*temperature))),
                false if named => return Err(LabError::Usage(reason())),
                false => omitted.push(reason()),
            }
        }
    }
    Ok((measurements, omitted))
}

/// How many copies of its choices an estimator holds at once.
pub(crate) fn copies(method: &str) -> Result<usize, LabError> {
    let (entry, numbers) = categorical::find(method)?;
    let samples = entry.settings.iter().position(|setting| setting.key == "samples");
    Ok(samples.map_or(1, |place| numbers[place] as usize))
}

/// The estimates of a method, after a warm-up.
fn measure(
    problem: &Problem<'_>,
    method: &str,
    estimator: &mut dyn Estimator,
    temperature: f32,
    request: &Request,
    truth: &Reference,
) -> Result<Groups, LabError> {
    let a_call = problem.estimates_a_call(copies(method)?);
    if categorical::find(method)?.0.learns {
        // Small batches: what settles here settles by the number of calls.
        let calls = WARM_UP / 64;
        for call in 0..calls {
            problem.estimates(
                estimator,
                64,
                temperature,
                &Random::new(request.seed, call as u32, streams::DIAGNOSE_WARM_UP),
            )?;
        }
    }
    let mut groups = Groups::new(problem.dims());
    let mut done = 0;
    let mut call = 0;
    while done < request.samples {
        let count = a_call.min(request.samples - done);
        let random = Random::new(request.seed, call, streams::DIAGNOSE_MEASURE);
        let estimates = problem.estimates(estimator, count, temperature, &random)?;
        for (index, estimate) in estimates.chunks_exact(problem.dims()).enumerate() {
            groups.add(done + index, estimate, truth);
        }
        done += count;
        call += 1;
    }
    Ok(groups)
}

/// Writes `diagnose.csv`, `diagnose.json` and, where temperatures matter, `diagnose.svg` into a folder.
///
/// # Errors
/// If a file cannot be written or the picture cannot be drawn.
pub fn write(diagnosis: &Diagnosis, folder: &Path) -> Result<(), LabError> {
    let picture = folder.join("diagnose.svg");
    let json = serde_json::to_string_pretty(diagnosis).expect("a diagnosis is a plain struct");
    files::create_folder(folder)?;
    files::write_output(&folder.join("diagnose.csv"), to_csv(diagnosis).as_bytes())?;
    files::write_output(&folder.join("diagnose.json"), json.as_bytes())?;
    if diagnosis.rows.iter().any(|row| row.temperature.is_some()) {
        let svg = to_svg(diagnosis).map_err(|problem| LabError::Picture { path: picture.clone(), problem })?;
        files::write_output(&picture, svg.as_bytes())?;
    } else if let Err(cause) = std::fs::remove_file(&picture)
        && cause.kind() != ErrorKind::NotFound
    {
        // A picture of other measurements must not stay beside these.
        return Err(files::FileError::new(&picture, "removing the old picture", cause).into());
    }
    Ok(())
}
