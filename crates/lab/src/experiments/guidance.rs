//! Does zeroth-order guidance lower the loss? Gradient methods on one network, each tuned with the same number of runs, then compared on
//! fresh seeds, paired.
//!
//! Candidates of a method are all combinations of the lists that concern it. The method with most candidates sets the budget; the
//! others get as many, with learning rates between the least and the largest, evenly on a log scale.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use hardgrad::zeroth_order::{GradientConfig, MethodName};

use super::inputs::Inputs;
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
            weight: vec![1e-4],
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
    match settings.learning_rates.iter().find(|rate| !(**rate > 0.0 && **rate <= 1e6)) {
        Some(rate) => usage(format!("learning_rates must be above 0 and at most 1000000, got {rate}")),
        None if settings.methods.is_empty() => usage("methods must name at least one".to_string()),
        None => Ok(()),
    }
}

/// The candidates of each method, all methods with the same number.
fn contenders(settings: &Settings, values: usize) -> Result<Vec<Contender>, LabError> {
    if let Some(noise) = settings.noise.iter().find(|noise| !(0.0..=values as f64).contains(*noise)) {
        let problem = format!("noise must be from 0 to {values}, the number of quantised values, got {noise}");
        return Err(LabError::Usage(problem));
    }
    let mut contenders = Vec::new();
    for name in &settings.methods {
        let (word, directions) = name.split_once('@').unwrap_or((name, "1"));
        let method = MethodName::ALL.iter().copied().find(|method| method.name() == word).ok_or_else(|| {
            let known: Vec<&str> = MethodName::ALL.iter().map(|method| method.name()).collect();
            LabError::Usage(format!("methods: unknown method {word}; expected {}", known.join(", ")))
        })?;
        let directions: u32 = directions
            .parse()
            .map_err(|_| LabError::Usage(format!("methods: {name} must have a whole number of directions behind @")))?;
        let none = [None];
        let some = |list: &[f64]| list.iter().copied().map(Some).collect::<Vec<_>>();
        let (noise, weight) = match method {
            MethodName::Fogzo => (some(&settings.noise), none.to_vec()),
            MethodName::WeightedAverage | MethodName::BiasCorrection => (none.to_vec(), some(&settings.weight)),
            MethodName::StraightThrough | MethodName::Spsa | MethodName::Adaptive => (none.to_vec(), none.to_vec()),
        };
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
                    let named = |problem| LabError::Usage(format!("methods: {name}: {problem}"));
                    gradient.method().map_err(named)?;
                    if guided && gradient.first_step(settings.steps) >= settings.steps {
                        return Err(LabError::Usage(format!(
                            "begin: with {begin} no step of {} is guided; lower it or raise steps",
                            settings.steps
                        )));
                    }
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

/// What all runs of a comparison share.
struct Comparison<'a> {
    settings: &'a Settings,
    images: Inputs,
    held_out: Inputs,
    contenders: Vec<Contender>,
    /// How many times as long as a straight-through step a step of each contender takes.
    ratios: Vec<f64>,
    tell: &'a (dyn Fn(Progress) + Sync),
}

fn compare<N: Subject>(settings: &Settings, sets: &Sets, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, LabError> {
    let [images, held_out] = sets.inputs(settings.images);
    let values = {
        let network = N::new(0);
        let names: Vec<String> = network.perturbed().into_iter().map(|perturbed| perturbed.name).collect();
        let all = hardgrad::parameters::read(&network).into_iter();
        all.filter(|parameter| names.contains(&parameter.name)).map(|parameter| parameter.values.len()).sum()
    };
    let contenders = contenders(settings, values)?;
    let mut comparison = Comparison { settings, images, held_out, contenders, ratios: Vec::new(), tell };
    comparison.measure_steps::<N>()?;
    let of_contender =
        |contender: &Contender| contender.candidates.len() as u64 * settings.tuning_seeds + settings.seeds;
    tell(Progress::Begin(comparison.contenders.iter().map(of_contender).sum()));
    let (best, tuning) = comparison.tune::<N>()?;
    comparison.race::<N>(&best, values, tuning)
}

impl Comparison<'_> {
    /// Measures the ratios, one after the other, before all processors are busy.
    fn measure_steps<N: Subject>(&mut self) -> Result<(), LabError> {
        for contender in &self.contenders {
            let mut candidate = contender.candidates[0].clone();
            candidate.gradient.begin = 0.0;
            self.ratios.push(match candidate.gradient.method {
                MethodName::StraightThrough => 1.0,
                MethodName::Spsa
                | MethodName::Fogzo
                | MethodName::WeightedAverage
                | MethodName::BiasCorrection
                | MethodName::Adaptive => step_ratio::<N>(&self.images, &self.plan(&candidate, 1, 0))?,
            });
        }
        Ok(())
    }

    fn plan(&self, candidate: &Candidate, steps: u64, seed: u64) -> Plan {
        let all = self.images.len();
        Plan {
            batch_size: if self.settings.batch_size == 0 { all } else { self.settings.batch_size.min(all) },
            steps,
            sgd: self.settings.optimizer == "sgd",
            learning_rate: candidate.learning_rate,
            schedule: if self.settings.schedule == "constant" { Schedule::Constant } else { Schedule::Cosine },
            gradient: candidate.gradient.clone(),
            seed,
        }
    }

    /// Steps of a contender's candidate.
    fn steps(&self, place: usize, candidate: &Candidate) -> u64 {
        let begin = candidate.gradient.begin;
        let cost = begin + (1.0 - begin) * self.ratios[place];
        let steps = self.settings.steps;
        if self.settings.equal_time { (steps as f64 / cost).round().max(1.0) as u64 } else { steps }
    }

    fn one<N: Subject>(&self, place: usize, candidate: &Candidate, seed: u64) -> Result<Outcome, LabError> {
        let plan = self.plan(candidate, self.steps(place, candidate), seed);
        let (_, outcome) = train(N::new(seed), [&self.images, &self.held_out], &plan)?;
        (self.tell)(Progress::Done(1));
        Ok(outcome)
    }

    /// The best candidate of each contender, and the table of all.
    fn tune<N: Subject>(&self) -> Result<(Vec<usize>, Table), LabError> {
        let runs = self.settings.tuning_seeds;
        let tasks: Vec<(usize, usize, u64)> = (0..self.contenders.len())
            .flat_map(|place| {
                let candidates = 0..self.contenders[place].candidates.len();
                candidates.flat_map(move |candidate| (0..runs).map(move |run| (place, candidate, run)))
            })
            .collect();
        let losses = tasks
            .par_iter()
            .map(|&(place, candidate, run)| {
                let candidate = &self.contenders[place].candidates[candidate];
                Ok(self.one::<N>(place, candidate, TUNING_SEED + run)?.train_loss)
            })
            .collect::<Result<Vec<f64>, LabError>>()?;
        let header = ["method", "learning rate", "noise", "begin", "epsilon", "weight", "train loss"];
        let mut table = Table::new("tuning", &header);
        let mut best = vec![(f64::INFINITY, 0); self.contenders.len()];
        for (task, losses) in tasks.chunks(runs as usize).zip(losses.chunks(runs as usize)) {
            let (place, candidate, _) = task[0];
            let mean = Spread::of(losses).mean;
            if mean < best[place].0 {
                best[place] = (mean, candidate);
            }
            let contender = &self.contenders[place];
            let mut row = vec![contender.name.clone()];
            row.extend(contender.candidates[candidate].words());
            row.push(format!("{mean:.3e}"));
            table.push(row);
        }
        Ok((best.into_iter().map(|(_, candidate)| candidate).collect(), table))
    }

    /// The best candidates on fresh seeds.
    fn race<N: Subject>(&self, best: &[usize], values: usize, tuning: Table) -> Result<Report, LabError> {
        let Settings { seeds, network, optimizer, .. } = self.settings;
        let tasks: Vec<(usize, u64)> =
            (0..self.contenders.len()).flat_map(|place| (0..*seeds).map(move |seed| (place, seed))).collect();
        let outcomes = tasks
            .par_iter()
            .map(|&(place, seed)| self.one::<N>(place, &self.contenders[place].candidates[best[place]], seed))
            .collect::<Result<Vec<Outcome>, LabError>>()?;
        let outcomes: Vec<&[Outcome]> = outcomes.chunks(*seeds as usize).collect();
        let losses = |place: usize| outcomes[place].iter().map(|outcome| outcome.train_loss).collect::<Vec<_>>();
        let header = [
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
        ];
        let mut table = Table::new("final", &header);
        let mut runs = Table::new("runs", &["method", "seed", "steps", "train loss", "test accuracy"]);
        let mut panel =
            Panel::new(format!("{network}, {optimizer}"), "step", "training loss").scales(Scale::Linear, Scale::Log);
        let reference = self.contenders.iter().position(|contender| contender.name == "straight_through");
        for (place, contender) in self.contenders.iter().enumerate() {
            let candidate = &contender.candidates[best[place]];
            let steps = self.steps(place, candidate);
            let mut row = vec![contender.name.clone()];
            row.extend(candidate.words());
            row.push(steps.to_string());
            row.push(Spread::of(&losses(place)).to_string());
            row.push(match reference.filter(|&reference| reference != place) {
                Some(reference) => paired(&losses(place), &losses(reference)).to_string(),
                None => "-".to_string(),
            });
            let accuracies: Vec<f64> = outcomes[place].iter().map(|outcome| 100.0 * outcome.test_accuracy).collect();
            row.push(format!("{:.2} %", Spread::of(&accuracies).mean));
            row.push(format!("{:.1}", outcomes[place][0].forward_equivalents));
            row.push(format!("{:.2}", self.ratios[place]));
            row.push(outcomes[place].iter().map(|outcome| outcome.skipped).sum::<u64>().to_string());
            table.push(row);
            for (seed, outcome) in outcomes[place].iter().enumerate() {
                let numbers = [format!("{:.4e}", outcome.train_loss), format!("{:.4}", outcome.test_accuracy)];
                runs.push(
                    [vec![contender.name.clone(), seed.to_string(), steps.to_string()], numbers.to_vec()].concat(),
                );
            }
            // In units of the straight-through run's steps, where times are equal.
            panel = panel.with(curve(&contender.name, outcomes[place], self.settings.steps as f64 / steps as f64));
        }
        Ok(Report {
            tables: vec![table, runs, tuning],
            charts: vec![("curves".to_string(), Chart::new([panel]))],
            notes: notes(&self.contenders, best, values),
        })
    }
}

/// Mean and standard deviation of the losses on the way, steps times `unit`.
fn curve(name: &str, outcomes: &[Outcome], unit: f64) -> Series {
    let shortest = outcomes.iter().map(|outcome| outcome.curve.len()).min().unwrap_or(0);
    let points: Vec<(f64, Spread)> = (0..shortest)
        .map(|point| {
            let values: Vec<f64> = outcomes.iter().map(|outcome| outcome.curve[point].1).collect();
            (outcomes[0].curve[point].0 as f64 * unit, Spread::of(&values))
        })
        .collect();
    let line = Series::line(name, points.iter().map(|(step, spread)| (*step, spread.mean)));
    line.band(points.iter().map(|(_, spread)| (spread.mean - spread.deviation, spread.mean + spread.deviation)))
}

/// How many values and candidates there were, and which best rates lie at an end of their grid.
fn notes(contenders: &[Contender], best: &[usize], values: usize) -> Vec<String> {
    let counts = contenders.iter().map(|contender| format!("{} {}", contender.name, contender.candidates.len()));
    let mut notes = vec![format!("{values} quantised values; candidates: {}", counts.collect::<Vec<_>>().join(", "))];
    for (Contender { name, candidates }, best) in contenders.iter().zip(best) {
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
