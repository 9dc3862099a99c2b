//! Does zeroth-order guidance lower the loss? Gradient methods on one network, each tuned with the same number of runs, then compared on
//! fresh seeds, paired.
//!
//! Candidates of a method are all combinations of the lists that concern it. The method with most candidates sets the budget; the
//! others get as many, with learning rates between the least and the largest, evenly on a log scale.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use hardgrad::zeroth_order::{GradientConfig, MethodName};

use super::statistics::{Spread, paired};
use super::subject::{Subject, with_subject};
use super::training::{Outcome, Plan, Schedule, step_ratio, train};
use super::{Progress, Report, Sets, Table};
use crate::LabError;
use crate::chart::{Chart, Panel, Scale, Series};

/// What is trained, and how it is tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// perceptron, two_bit_mlp, two_bit_lenet, binary_mlp or two_bit_transformer.
    pub network: String,
    /// sgd (momentum 0.9) or adam.
    pub optimizer: String,
    /// What becomes of the learning rate: cosine (it falls to 0) or constant.
    pub schedule: String,
    /// Images a step; 0 for all.
    pub batch_size: usize,
    /// Training images; 0 for all.
    pub images: usize,
    /// Steps of a run.
    pub steps: u64,
    /// Learning rates.
    pub learning_rates: Vec<f64>,
    /// Methods, with `@n` behind the name for n directions, such as fogzo@10.
    pub methods: Vec<String>,
    /// FOGZO: 1 - beta_min in units of 1/d.
    pub noise: Vec<f64>,
    /// Shares of the steps before guidance begins.
    pub begin: Vec<f64>,
    /// Lengths of a probe.
    pub epsilon: Vec<f64>,
    /// Weights of the blends.
    pub weight: Vec<f64>,
    /// Give guided runs the time of the straight-through run instead of its steps.
    pub equal_time: bool,
    /// Runs of each candidate; their seeds are 1000, 1001, ...
    pub tuning_seeds: u64,
    /// Runs of the best candidate of each method; their seeds are 0, 1, ...
    pub seeds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network: "perceptron".to_string(),
            optimizer: "sgd".to_string(),
            schedule: "cosine".to_string(),
            batch_size: 128,
            images: 0,
            steps: 2_345,
            learning_rates: vec![0.01, 0.03, 0.1, 0.3],
            methods: ["straight_through", "spsa", "fogzo", "fogzo@10"].map(String::from).to_vec(),
            noise: vec![0.01, 1.0, 10.0],
            begin: vec![0.0, 0.7],
            epsilon: vec![1.0],
            weight: vec![0.5],
            equal_time: false,
            tuning_seeds: 1,
            seeds: 5,
        }
    }
}

/// One way to train.
#[derive(Clone, Debug)]
struct Candidate {
    learning_rate: f64,
    gradient: GradientConfig,
    /// For the table.
    noise: Option<f64>,
}

/// A method with the name under which it was asked for.
struct Contender {
    name: String,
    candidates: Vec<Candidate>,
}

const TUNING_SEED: u64 = 1000;

/// Runs the experiment.
pub(super) fn run(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    check(settings)?;
    with_subject!(settings.network.as_str(), N => compare::<N>(settings, sets, tell))
}

fn check(settings: &Settings) -> Result<(), LabError> {
    let usage = |message: String| Err(LabError::Usage(message));
    if !["sgd", "adam"].contains(&settings.optimizer.as_str()) {
        return usage(format!("optimizer must be sgd or adam, got {}", settings.optimizer));
    }
    if !["cosine", "constant"].contains(&settings.schedule.as_str()) {
        return usage(format!("schedule must be cosine or constant, got {}", settings.schedule));
    }
    if settings.steps == 0 || settings.seeds == 0 || settings.tuning_seeds == 0 {
        return usage("steps, seeds and tuning_seeds must be at least 1".to_string());
    }
    if settings.steps > 100_000_000 || settings.seeds.max(settings.tuning_seeds) > 10_000 {
        return usage("steps must be at most 100000000, seeds and tuning_seeds at most 10000".to_string());
    }
    let lists: [(&str, &[f64]); 5] = [
        ("learning_rates", &settings.learning_rates),
        ("noise", &settings.noise),
        ("begin", &settings.begin),
        ("epsilon", &settings.epsilon),
        ("weight", &settings.weight),
    ];
    if let Some((key, _)) = lists.iter().find(|(_, list)| list.is_empty()) {
        return usage(format!("{key} must have at least one value"));
    }
    match settings.learning_rates.iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
        Some(rate) => usage(format!("learning_rates must be above 0, got {rate}")),
        None if settings.methods.is_empty() => usage("methods must name at least one".to_string()),
        None => Ok(()),
    }
}

/// The candidates of each method, all methods with the same number.
fn contenders(settings: &Settings, values: usize) -> Result<Vec<Contender>, LabError> {
    let mut contenders = Vec::new();
    for name in &settings.methods {
        let (word, directions) = name.split_once('@').unwrap_or((name, "1"));
        let method = MethodName::ALL.into_iter().find(|method| method.name() == word).ok_or_else(|| {
            let known = MethodName::ALL.map(MethodName::name).join(", ");
            LabError::Usage(format!("methods: unknown method {word}; expected {known}"))
        })?;
        let directions: u32 = directions
            .parse()
            .map_err(|_| LabError::Usage(format!("methods: {name} must have a whole number of directions behind @")))?;
        let none = [None];
        let some = |list: &[f64]| list.iter().copied().map(Some).collect::<Vec<_>>();
        let noise = if method == MethodName::Fogzo { some(&settings.noise) } else { none.to_vec() };
        let blends = [MethodName::WeightedAverage, MethodName::BiasCorrection];
        let weight = if blends.contains(&method) { some(&settings.weight) } else { none.to_vec() };
        let guided = method != MethodName::StraightThrough;
        let (begin, epsilon) = match guided {
            true => (settings.begin.clone(), settings.epsilon.clone()),
            false => (vec![0.0], vec![1.0]),
        };
        let mut candidates = Vec::new();
        for &learning_rate in &settings.learning_rates {
            for (&begin, &epsilon) in begin.iter().flat_map(|begin| epsilon.iter().map(move |epsilon| (begin, epsilon)))
            {
                for (&noise, &weight) in noise.iter().flat_map(|noise| weight.iter().map(move |weight| (noise, weight)))
                {
                    let default = GradientConfig::default();
                    let gradient = GradientConfig {
                        method,
                        directions,
                        beta_min: noise.map_or(default.beta_min, |noise| 1.0 - noise / values as f64),
                        epsilon,
                        weight: weight.unwrap_or(default.weight),
                        begin,
                    };
                    gradient.method()?;
                    candidates.push(Candidate { learning_rate, gradient, noise });
                }
            }
        }
        contenders.push(Contender { name: name.clone(), candidates });
    }
    let budget = contenders.iter().map(|contender| contender.candidates.len()).max().unwrap_or(1);
    for contender in &mut contenders {
        let rates = settings.learning_rates.len();
        let variants: Vec<Candidate> = contender.candidates[..contender.candidates.len() / rates].to_vec();
        let count = budget / variants.len();
        if count > rates {
            let least = settings.learning_rates.iter().copied().fold(f64::INFINITY, f64::min);
            let most = settings.learning_rates.iter().copied().fold(0.0, f64::max);
            let rate = |place: usize| least * (most / least).powf(place as f64 / (count - 1) as f64);
            let all = (0..count).flat_map(|place| {
                variants.iter().map(move |variant| Candidate { learning_rate: rate(place), ..variant.clone() })
            });
            contender.candidates = all.collect();
        }
    }
    Ok(contenders)
}

fn compare<N: Subject>(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    let [train_images, test_images] = sets.inputs(settings.images);
    let values = {
        let network = N::new(0);
        let names: Vec<String> = network.perturbed().into_iter().map(|perturbed| perturbed.name).collect();
        let all = hardgrad::parameters::read(&network).into_iter();
        all.filter(|parameter| names.contains(&parameter.name)).map(|parameter| parameter.values.len()).sum()
    };
    let contenders = contenders(settings, values)?;
    let batch_size =
        if settings.batch_size == 0 { train_images.len() } else { settings.batch_size.min(train_images.len()) };
    let plan = |candidate: &Candidate, steps: u64, seed: u64| Plan {
        batch_size,
        steps,
        sgd: settings.optimizer == "sgd",
        learning_rate: candidate.learning_rate,
        schedule: if settings.schedule == "constant" { Schedule::Constant } else { Schedule::Cosine },
        gradient: candidate.gradient.clone(),
        seed,
    };
    // Measured one after the other, before all processors are busy.
    let mut ratios = Vec::new();
    for contender in &contenders {
        let mut gradient = contender.candidates[0].gradient.clone();
        gradient.begin = 0.0;
        let ratio = match gradient.method {
            MethodName::StraightThrough => 1.0,
            _ => {
                step_ratio::<N>(&train_images, &plan(&Candidate { gradient, ..contender.candidates[0].clone() }, 1, 0))?
            }
        };
        ratios.push(ratio);
    }
    let steps = |place: usize, candidate: &Candidate| {
        let share = 1.0 - candidate.gradient.begin;
        let cost = candidate.gradient.begin + share * ratios[place];
        if settings.equal_time { (settings.steps as f64 / cost).round().max(1.0) as u64 } else { settings.steps }
    };
    let one = |place: usize, candidate: &Candidate, seed: u64| -> Result<Outcome, LabError> {
        let plan = plan(candidate, steps(place, candidate), seed);
        let (_, outcome) = train(N::new(seed), [&train_images, &test_images], &plan)?;
        tell(Progress::Done(1));
        Ok(outcome)
    };

    let runs: u64 = contenders.iter().map(|c| c.candidates.len() as u64 * settings.tuning_seeds + settings.seeds).sum();
    tell(Progress::Begin(runs));
    let tasks: Vec<(usize, usize, u64)> = contenders
        .iter()
        .enumerate()
        .flat_map(|(place, contender)| {
            let candidates = 0..contender.candidates.len();
            candidates.flat_map(move |candidate| (0..settings.tuning_seeds).map(move |run| (place, candidate, run)))
        })
        .collect();
    let tuned = tasks
        .par_iter()
        .map(|&(place, candidate, run)| {
            one(place, &contenders[place].candidates[candidate], TUNING_SEED + run).map(|outcome| outcome.train_loss)
        })
        .collect::<Result<Vec<f64>, LabError>>()?;
    let mut tuning =
        Table::new("tuning", &["method", "learning rate", "noise", "begin", "epsilon", "weight", "train loss"]);
    let mut best: Vec<(f64, usize)> = vec![(f64::INFINITY, 0); contenders.len()];
    for (task, losses) in tasks.chunks(settings.tuning_seeds as usize).zip(tuned.chunks(settings.tuning_seeds as usize))
    {
        let (place, candidate, _) = task[0];
        let mean = Spread::of(losses).mean;
        if mean < best[place].0 {
            best[place] = (mean, candidate);
        }
        let contender = &contenders[place];
        let mut row = vec![contender.name.clone()];
        row.extend(contender.candidates[candidate].words());
        row.push(format!("{mean:.3e}"));
        tuning.push(row);
    }

    let tasks: Vec<(usize, u64)> =
        (0..contenders.len()).flat_map(|place| (0..settings.seeds).map(move |seed| (place, seed))).collect();
    let outcomes = tasks
        .par_iter()
        .map(|&(place, seed)| one(place, &contenders[place].candidates[best[place].1], seed))
        .collect::<Result<Vec<Outcome>, LabError>>()?;
    let by_method: Vec<&[Outcome]> = outcomes.chunks(settings.seeds as usize).collect();
    let losses = |place: usize| by_method[place].iter().map(|outcome| outcome.train_loss).collect::<Vec<_>>();

    let mut table = Table::new(
        "final",
        &[
            "method",
            "learning rate",
            "noise",
            "begin",
            "epsilon",
            "weight",
            "steps",
            "train loss",
            "difference",
            "accuracy",
            "forward-equivalents",
            "time of a step",
            "skipped",
        ],
    );
    let mut runs = Table::new("runs", &["method", "seed", "steps", "train loss", "test accuracy"]);
    let mut panel = Panel::new(format!("{}, {}", settings.network, settings.optimizer), "step", "training loss")
        .scales(Scale::Linear, Scale::Log);
    let reference = contenders.iter().position(|contender| contender.name == "straight_through");
    for (place, contender) in contenders.iter().enumerate() {
        let candidate = &contender.candidates[best[place].1];
        let steps = steps(place, candidate);
        let mut row = vec![contender.name.clone()];
        row.extend(candidate.words());
        row.push(steps.to_string());
        row.push(Spread::of(&losses(place)).to_string());
        row.push(match reference.filter(|&reference| reference != place) {
            Some(reference) => paired(&losses(place), &losses(reference)).to_string(),
            None => "-".to_string(),
        });
        let accuracies: Vec<f64> = by_method[place].iter().map(|outcome| 100.0 * outcome.test_accuracy).collect();
        row.push(format!("{:.2} %", Spread::of(&accuracies).mean));
        row.push(format!("{:.1}", by_method[place][0].forward_equivalents));
        row.push(format!("{:.2}", ratios[place]));
        row.push(by_method[place].iter().map(|outcome| outcome.skipped).sum::<u64>().to_string());
        table.push(row);
        for (seed, outcome) in by_method[place].iter().enumerate() {
            let numbers = [format!("{:.4e}", outcome.train_loss), format!("{:.4}", outcome.test_accuracy)];
            runs.push([vec![contender.name.clone(), seed.to_string(), steps.to_string()], numbers.to_vec()].concat());
        }
        // In units of the straight-through run's steps, where times are equal.
        let unit = settings.steps as f64 / steps as f64;
        let shortest = by_method[place].iter().map(|outcome| outcome.curve.len()).min().unwrap_or(0);
        let points = (0..shortest).map(|point| {
            let values: Vec<f64> = by_method[place].iter().map(|outcome| outcome.curve[point].1).collect();
            (by_method[place][0].curve[point].0 as f64 * unit, Spread::of(&values))
        });
        let points: Vec<(f64, Spread)> = points.collect();
        let line = Series::line(contender.name.as_str(), points.iter().map(|(step, spread)| (*step, spread.mean)));
        panel = panel.with(line.band(points.iter().map(|(_, s)| (s.mean - s.deviation, s.mean + s.deviation))));
    }
    Ok(Report {
        tables: vec![table, runs, tuning],
        charts: vec![("curves".to_string(), Chart::new([panel]))],
        notes: notes(&contenders, &best, values),
    })
}

/// How many values and candidates there were, and which best rates lie at an end of their grid.
fn notes(contenders: &[Contender], best: &[(f64, usize)], values: usize) -> Vec<String> {
    let counts = contenders.iter().map(|contender| format!("{} {}", contender.name, contender.candidates.len()));
    let mut notes = vec![format!("{values} quantised values; candidates: {}", counts.collect::<Vec<_>>().join(", "))];
    for (Contender { name, candidates }, (_, best)) in contenders.iter().zip(best) {
        let rates = candidates.iter().map(|candidate| candidate.learning_rate);
        let (least, most) = (rates.clone().fold(f64::INFINITY, f64::min), rates.fold(0.0, f64::max));
        let rate = candidates[*best].learning_rate;
        if least < most && (rate == least || rate == most) {
            notes.push(format!("{name}: the best learning rate lies at an end of its grid"));
        }
    }
    notes
}

impl Candidate {
    /// Learning rate, noise, begin, epsilon, weight; a dash where it does not concern the method.
    fn words(&self) -> [String; 5] {
        let dash = || "-".to_string();
        let guided = self.gradient.method != MethodName::StraightThrough;
        let blends = [MethodName::WeightedAverage, MethodName::BiasCorrection];
        let when = |holds: bool, value: f64| if holds { value.to_string() } else { dash() };
        [
            format!("{:.3e}", self.learning_rate),
            self.noise.map_or_else(dash, |noise| noise.to_string()),
            when(guided, self.gradient.begin),
            when(guided, self.gradient.epsilon),
            when(blends.contains(&self.gradient.method), self.gradient.weight),
        ]
    }
}
