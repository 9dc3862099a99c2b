//! The gradient microscope: how good is an estimator's gradient?
//!
//! [`diagnose`] holds the estimates of a method against the exact gradient of the expected cost: by enumeration of all
//! choices, variable by variable where the cost allows, or, where there are too many, against an unbiased reference with a
//! stated number of samples. Methods are the estimators of [`hardgrad::categorical`] or hard operators with their surrogate
//! ([`operator_methods`]).

mod exact;
mod operator;
mod reference;
mod report;
mod statistics;

use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::categorical::{self, CategoricalError, ESTIMATORS, Estimator};
use hardgrad::random::Random;
use hardgrad_kernels::reduce::all_finite;
use serde::Serialize;

use crate::objectives::{self, Objective, Size};
use crate::train::step::tensor_gradient;
use crate::{LabError, files, streams};

pub use operator::operator_methods;
use report::{to_csv, to_svg};
pub use statistics::Interval;

pub(crate) use exact::softmax;
use exact::{exact, reference};
use reference::Reference;
use statistics::Groups;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Request {
    /// Estimators and hard operators, by name; all estimators that suit the objective where empty.
    pub methods: Vec<String>,
    /// The objective, by name.
    pub objective: String,
    /// Variables; where absent the objective's usual number, or 8 for hard operators.
    pub variables: Option<usize>,
    /// Categories of each variable.
    pub categories: usize,
    /// Temperatures at which estimators that have one are measured.
    pub temperatures: Vec<f32>,
    /// Estimates of each method.
    pub samples: usize,
    /// Samples of the reference, where the exact gradient is out of reach.
    pub reference_samples: usize,
    /// Standard deviation of the logits.
    pub spread: f32,
    /// Seed of everything random.
    pub seed: u64,
}

/// Estimates before those that are measured, in which learned control variates and baselines settle.
const WARM_UP: usize = 20_000;

/// Inputs of an objective that has inputs.
const CONTEXTS: usize = 4;

/// Rows of one evaluation at most.
const ROWS: usize = 2_048;

/// Samples at most: more would take days.
const MOST_SAMPLES: usize = 1_000_000_000;

/// Values that the choices of one evaluation may hold.
const VALUES: usize = 1 << 24;

/// How good the gradients of some methods are.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The objective, as it was asked for.
    pub objective: String,
    /// Variables.
    pub variables: usize,
    /// Categories of each.
    pub categories: usize,
    /// How the true gradient was found.
    pub reference: String,
    /// Its norm; none for hard operators, where each input has a gradient of its own.
    pub gradient_norm: Option<f64>,
    /// Estimates of each method.
    pub samples: usize,
    /// A row for each method and temperature.
    pub rows: Vec<Row>,
    /// Estimators that nobody named and that cannot have a temperature, with the reason.
    pub omitted: Vec<String>,
}

/// How good the gradient of one method is; all with 95 % confidence intervals.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method, as it was asked for.
    pub method: String,
    /// Its temperature, where it has one.
    pub temperature: Option<f32>,
    /// Norm of the mean estimate minus the true gradient; for hard operators its root mean square over the inputs.
    pub bias: Interval,
    /// The same as a share of the norm of the true gradient, where that is not 0.
    pub relative_bias: Option<Interval>,
    /// Sum over the coordinates of the variance of an estimate.
    pub variance: Interval,
    /// Mean squared distance of an estimate from the true gradient.
    pub mean_squared_error: Interval,
    /// Mean cosine of an estimate with the true gradient.
    pub cosine: Interval,
    /// Cosine of the mean estimate with the true gradient; for hard operators, which do not vary, that of the estimate.
    pub cosine_of_mean: Interval,
    /// Mean share of the coordinates that have the sign of the true gradient.
    pub sign_agreement: Interval,
}

/// What a diagnosis tells while it runs.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many measurements will be made.
    Begin(u64),
    /// One begins.
    Method(String),
    /// One is done.
    Done,
}

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

fn label(method: &str, temperature: Option<f32>) -> String {
    temperature.map_or_else(|| method.to_string(), |temperature| format!("{method} at temperature {temperature}"))
}

/// An objective at one point: fixed logits for fixed inputs. The gradient of all inputs together is one vector.
struct Problem<'a> {
    objective: &'a dyn Objective,
    learner: objectives::Learner,
    contexts: Vec<u32>,
    /// `[contexts, variables, categories]`, row by row.
    logits: Vec<f32>,
}

impl<'a> Problem<'a> {
    fn new(objective: &'a dyn Objective, request: &Request) -> Self {
        let learner = objective.learner(request.seed, request.spread);
        let contexts: Vec<u32> = (0..objective.contexts().min(CONTEXTS) as u32).collect();
        let logits = objective.logits(&learner, &contexts).inner();
        let logits = logits.into_data().iter::<f32>().collect();
        Self { objective, learner, contexts, logits }
    }

    /// Coordinates of the gradient.
    fn dims(&self) -> usize {
        self.logits.len()
    }

    /// Estimates of one call: `count` of them, one below the other, each `dims` long.
    fn estimates(
        &self,
        estimator: &mut dyn Estimator,
        count: usize,
        temperature: f32,
        random: &Random,
    ) -> Result<Vec<f32>, CategoricalError> {
        let Size { variables, categories } = self.objective.size();
        let rows = count * self.contexts.len();
        let logits = TensorData::new(self.logits.repeat(count), [rows, variables, categories]);
        let logits = Tensor::<3>::from_data(logits, &Device::flex().autodiff()).require_grad();
        let contexts = self.contexts.repeat(count);
        let mut cost = |choices: Tensor<3>| self.objective.cost(&self.learner, choices, &contexts);
        let costs = estimator.cost(logits.clone(), &mut cost, temperature, random)?;
        let gradient: Vec<f32> = tensor_gradient(costs.sum(), &logits).into_data().iter().collect();
        match all_finite(&gradient) {
            true => Ok(gradient),
            false => Err(CategoricalError::NotFinite { estimator: estimator.name(), what: "the gradient" }),
        }
    }

    /// Estimates of one call: as many as [`ROWS`] and [`VALUES`] allow, where each holds `copies` of its choices.
    fn estimates_a_call(&self, copies: usize) -> usize {
        (ROWS / self.contexts.len()).min(VALUES / (self.dims() * copies)).max(1)
    }
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
