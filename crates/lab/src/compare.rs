//! Training small problems with several estimators, side by side.

use std::cell::RefCell;
use std::path::Path;

use burn::tensor::Tensor;
use hardgrad::categorical::{self, ESTIMATORS, TemperatureSchedule};
use hardgrad::optim::{Method, Optimizer};
use hardgrad::parameters::Role;
use hardgrad::random::Random;
use rayon::prelude::*;
use serde::Serialize;

use crate::chart::{self, Chart, Mark, Panel, Scale, Series};
use crate::objectives::{self, Learner, Objective, Size};
use crate::train::step::{self, Group, Step};
use crate::{LabError, files, streams};

/// What to train.
#[derive(Clone, Debug)]
pub struct Request {
    /// Estimators, by name; all that suit the objective where empty.
    pub estimators: Vec<String>,
    /// The objective, by name.
    pub objective: String,
    /// Variables; the objective's usual number where absent.
    pub variables: Option<usize>,
    /// Categories of each variable.
    pub categories: usize,
    /// Runs of each estimator, with seeds `seed`, `seed + 1`, ...
    pub seeds: u64,
    /// First seed.
    pub seed: u64,
    /// Steps of a run.
    pub steps: u64,
    /// Rows of a step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Temperature of estimators that have one.
    pub temperature: TemperatureSchedule,
}

/// Points of a curve.
const POINTS: u64 = 50;

/// Values that the choices of one step may hold.
const VALUES: usize = 1 << 27;

/// Rows from which an expected cost is estimated where it has no closed form.
const EVALUATION_ROWS: usize = 4_096;

/// What training gave.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The objective, as it was asked for.
    pub objective: String,
    /// Variables.
    pub variables: usize,
    /// Categories of each.
    pub categories: usize,
    /// Steps of a run.
    pub steps: u64,
    /// Rows of a step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Temperature of estimators that have one.
    pub temperature: TemperatureSchedule,
    /// The least cost that choices can have, where it is known.
    pub floor: Option<f64>,
    /// How expected costs were found.
    pub evaluation: String,
    /// A row for each estimator.
    pub rows: Vec<Row>,
}

/// What training with one estimator gave.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The estimator, as it was asked for.
    pub estimator: String,
    /// Expected cost at the end, run by run.
    pub costs: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation; 0 for one run.
    pub standard_deviation: f64,
    /// Distance of the mean from the floor as a share of the floor.
    pub above_floor: Option<f64>,
    /// Expected costs on the way: step, mean and standard deviation over the runs.
    pub curve: Vec<(u64, f64, f64)>,
}

/// What a comparison tells while it runs.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many steps will be made.
    Begin(u64),
    /// So many more steps are done.
    Steps(u64),
}

/// Trains the objective with each estimator and seed.
///
/// # Errors
/// If a name, a setting or a size cannot be, or an estimator does not suit the objective or meets a value that is not finite.
pub fn compare(request: &Request, tell: &(dyn Fn(Progress) + Sync)) -> Result<Comparison, LabError> {
    check(request)?;
    let objective = objectives::by_name(&request.objective, request.variables, request.categories, request.seed)?;
    let Size { variables, categories } = objective.size();
    let least = request.temperature.start.min(request.temperature.end);
    let estimators = if request.estimators.is_empty() {
        let suited = ESTIMATORS.iter().filter(|entry| {
            (!entry.binary || categories == 2) && (!entry.uses_temperature || least >= entry.least_temperature)
        });
        suited.map(|entry| entry.name.to_string()).collect()
    } else {
        request.estimators.clone()
    };
    for estimator in &estimators {
        let (entry, _) = categorical::find(estimator)?;
        let copies = crate::diagnose::copies(estimator)?;
        let values = request.batch_size.saturating_mul(variables * categories).saturating_mul(copies);
        if values > VALUES {
            return Err(LabError::Usage(format!(
                "{estimator}: --batch-size times variables, categories and samples must be at most {VALUES}, got {values}"
            )));
        }
        if entry.uses_temperature && least < entry.least_temperature {
            return Err(LabError::Usage(format!(
                "{estimator} needs temperatures of at least {}, got {least}; name other --estimators or raise --temperature",
                entry.least_temperature
            )));
        }
    }
    tell(Progress::Begin(request.steps * request.seeds * estimators.len() as u64));
    let runs: Vec<(&String, u64)> =
        estimators.iter().flat_map(|name| (0..request.seeds).map(move |run| (name, request.seed + run))).collect();
    let curves: Vec<Vec<(u64, f64)>> = runs
        .par_iter()
        .map(|(name, seed)| train(request, objective.as_ref(), name, *seed, tell))
        .collect::<Result<_, _>>()?;
    let floor = objective.floor();
    let rows = estimators.iter().zip(curves.chunks(request.seeds as usize));
    let rows = rows.map(|(estimator, curves)| row(estimator, curves, floor)).collect();
    let evaluation = match objective.variable_costs() {
        Some(_) => "closed form".to_string(),
        None => format!("mean of {} sampled rows", evaluation_contexts(objective.as_ref()).len()),
    };
    Ok(Comparison {
        objective: request.objective.clone(),
        variables,
        categories,
        steps: request.steps,
        batch_size: request.batch_size,
        learning_rate: request.learning_rate,
        temperature: request.temperature,
        floor,
        evaluation,
        rows,
    })
}

fn check(request: &Request) -> Result<(), LabError> {
    let usage = |message: String| Err(LabError::Usage(message));
    let Request { seeds, steps, batch_size, learning_rate, temperature, .. } = request;
    if *seeds == 0 || *steps == 0 || *batch_size == 0 {
        return usage("--seeds, --steps and --batch-size must be at least 1".to_string());
    }
    if *seeds > 1 << 20 || *steps > u64::from(u32::MAX) {
        return usage("--seeds can be at most 1048576, --steps at most 4294967295".to_string());
    }
    if !(*learning_rate > 0.0 && learning_rate.is_finite()) {
        return usage(format!("--learning-rate must be above 0, got {learning_rate}"));
    }
    match [temperature.start, temperature.end].iter().find(|value| !(**value > 0.0 && value.is_finite())) {
        Some(value) => usage(format!("temperatures must be above 0, got {value}")),
        None => Ok(()),
    }
}

/// One run: the expected cost at the start and after each fiftieth of the steps.
fn train(
    request: &Request,
    objective: &dyn Objective,
    name: &str,
    seed: u64,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<(u64, f64)>, LabError> {
    let mut learner = objective.learner(seed, 0.0);
    let estimator = RefCell::new(categorical::by_name(name)?);
    let mut optimizer = Optimizer::new();
    let owns = |_: &str, _: Role| true;
    let groups =
        [Group { owns: &owns, method: Method::ADAM, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 }];
    let diverged = |done: u64| {
        LabError::Usage(format!("{name}: the cost is not finite after {done} steps; lower --learning-rate"))
    };
    let every = request.steps.div_ceil(POINTS);
    let mut curve = vec![(0, expected_cost(objective, &learner, seed, 0))];
    for step in 0..request.steps {
        let contexts = contexts(objective, request.batch_size, seed, step as u32);
        let temperature = request.temperature.at(step, request.steps);
        let loss = |learner: &Learner| -> Result<Tensor<1>, LabError> {
            let logits = objective.logits(learner, &contexts);
            let mut cost = |choices: Tensor<3>| objective.cost(learner, choices, &contexts);
            let random = Random::new(seed, step as u32, streams::COMPARE_ESTIMATOR);
            Ok(estimator.borrow_mut().cost(logits, &mut cost, temperature, &random)?.mean())
        };
        let at = Step {
            loss: &loss,
            guidance: None,
            perturbed: None,
            slopes: None,
            clip_norm: None,
            groups: &groups,
            rate: request.learning_rate,
        };
        let taken = step::step(learner, &mut optimizer, &at);
        learner = taken.map_err(|problem| if problem.is_not_finite() { diverged(step) } else { problem })?.0;
        let done = step + 1;
        if done.is_multiple_of(every) || done == request.steps {
            let cost = expected_cost(objective, &learner, seed, done as u32);
            if !cost.is_finite() {
                return Err(diverged(done));
            }
            curve.push((done, cost));
            tell(Progress::Steps(if done.is_multiple_of(every) { every } else { done % every }));
        }
    }
    Ok(curve)
}

/// Inputs of a step: all the same where there is but one.
fn contexts(objective: &dyn Objective, rows: usize, seed: u64, step: u32) -> Vec<u32> {
    let random = Random::new(seed, step, streams::COMPARE_CONTEXTS);
    (0..rows as u64).map(|row| random.below(row, objective.contexts() as u32)).collect()
}

/// All inputs, as often as makes enough rows.
fn evaluation_contexts(objective: &dyn Objective) -> Vec<u32> {
    let count = objective.contexts();
    (0..count as u32).collect::<Vec<_>>().repeat(EVALUATION_ROWS.div_ceil(count))
}

/// The expected cost of hard choices.
fn expected_cost(objective: &dyn Objective, learner: &Learner, seed: u64, step: u32) -> f64 {
    let Size { variables, categories } = objective.size();
    if let Some(costs) = objective.variable_costs() {
        let logits: Vec<f32> = objective.logits(learner, &[0]).inner().into_data().iter().collect();
        let rows = logits.chunks(categories).zip(costs.chunks(categories));
        let means = rows.map(|(logits, costs)| {
            let probabilities = crate::diagnose::softmax(logits);
            probabilities.iter().zip(costs).map(|(p, cost)| p * cost).sum::<f64>()
        });
        return means.sum::<f64>() / variables as f64;
    }
    let contexts = evaluation_contexts(objective);
    let logits = objective.logits(learner, &contexts).inner();
    let logits = logits.reshape([contexts.len() * variables, categories]);
    let chosen = categorical::sample(&logits, &Random::new(seed, step, streams::COMPARE_EVALUATION));
    let choices = categorical::one_hot(&chosen, categories).reshape([contexts.len(), variables, categories]);
    f64::from(objective.cost(learner, choices, &contexts).inner().mean().into_scalar::<f32>())
}

fn row(estimator: &str, curves: &[Vec<(u64, f64)>], floor: Option<f64>) -> Row {
    let costs: Vec<f64> = curves.iter().filter_map(|curve| curve.last()).map(|(_, cost)| *cost).collect();
    let (mean, standard_deviation) = spread(&costs);
    let curve = (0..curves[0].len()).map(|place| {
        let (mean, deviation) = spread(&curves.iter().map(|curve| curve[place].1).collect::<Vec<_>>());
        (curves[0][place].0, mean, deviation)
    });
    Row {
        estimator: estimator.to_string(),
        curve: curve.collect(),
        above_floor: floor.filter(|floor| *floor > 0.0).map(|floor| (mean - floor) / floor),
        costs,
        mean,
        standard_deviation,
    }
}

/// Mean and sample standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// Writes `compare.csv` (a line for each run), `compare.svg` (the curves) and `compare.json` into a folder.
///
/// # Errors
/// If a file cannot be written or the picture cannot be drawn.
pub fn write(comparison: &Comparison, folder: &Path) -> Result<(), LabError> {
    let mut csv = "estimator,run,cost\n".to_string();
    for row in &comparison.rows {
        for (run, cost) in row.costs.iter().enumerate() {
            csv += &format!("{},{run},{cost}\n", row.estimator);
        }
    }
    let picture = folder.join("compare.svg");
    let svg = to_svg(comparison).map_err(|problem| LabError::Picture { path: picture.clone(), problem })?;
    let json = serde_json::to_string_pretty(comparison).expect("a comparison is a plain struct");
    files::create_folder(folder)?;
    files::write_output(&folder.join("compare.csv"), csv.as_bytes())?;
    files::write_output(&folder.join("compare.json"), json.as_bytes())?;
    Ok(files::write_output(&picture, svg.as_bytes())?)
}

/// The curves with bands of one standard deviation.
fn to_svg(comparison: &Comparison) -> Result<String, String> {
    let above = comparison.floor.is_some();
    let floor = comparison.floor.unwrap_or(0.0);
    let (title, label) =
        if above { ("distance from the least cost", "expected cost - least cost") } else { ("cost", "expected cost") };
    let mut panel = Panel::new(format!("{}: {title}", comparison.objective), "step", label);
    if above {
        panel = panel.scales(Scale::Linear, Scale::Log);
        if floor > 0.0 {
            panel = panel.with_mark(Mark::horizontal(0.01 * floor, "1 % of it"));
        }
    }
    for row in &comparison.rows {
        let curve = row.curve.iter();
        let points = curve.clone().map(|(step, mean, _)| (*step as f64, mean - floor));
        let band = curve.map(|(_, mean, deviation)| (mean - deviation - floor, mean + deviation - floor));
        panel = panel.with(Series::line(row.estimator.as_str(), points).band(band));
    }
    chart::draw(&Chart::new([panel]))
}
