use rayon::prelude::*;

use hardgrad::parameters;
use hardgrad::zeroth_order::MethodName;

use super::Settings;
use super::candidates::{Candidate, Contender, contenders};
use crate::LabError;
use crate::chart::{Chart, Panel, Scale, Series};
use crate::experiments::inputs::Inputs;
use crate::experiments::statistics::{Spread, paired};
use crate::experiments::subject::Subject;
use crate::experiments::training::{Outcome, Plan, Schedule, step_ratio, train};
use crate::experiments::{Progress, Report, Sets, Table};

/// The first seed of the runs that tune.
const TUNING_SEED: u64 = 1000;

/// What all runs of a comparison share.
struct Comparison<'a, N> {
    /// Makes the network of a seed.
    make: fn(u64) -> N,
    settings: &'a Settings,
    /// Training and held-out images.
    sets: [Inputs<'a>; 2],
    contenders: Vec<Contender>,
    /// How many times as long as a straight-through step a step of each contender takes.
    ratios: Vec<f64>,
    tell: &'a (dyn Fn(Progress) + Sync),
}

/// Tunes the methods on the networks that `make` gives, and compares them.
pub(super) fn compare<N: Subject>(
    make: fn(u64) -> N,
    settings: &Settings,
    sets: &Sets,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LabError> {
    let values = {
        let network = make(0);
        let names: Vec<String> = network.perturbed().into_iter().map(|perturbed| perturbed.name).collect();
        let all = parameters::read(&network).into_iter();
        all.filter(|parameter| names.contains(&parameter.name)).map(|parameter| parameter.values.len()).sum()
    };
    let (sets, contenders) = (sets.inputs(settings.images), contenders(settings, values)?);
    let mut comparison = Comparison { make, settings, sets, contenders, ratios: Vec::new(), tell };
    comparison.measure_steps()?;
    let of_contender =
        |contender: &Contender| contender.candidates.len() as u64 * settings.tuning_seeds + settings.seeds;
    tell(Progress::Begin(comparison.contenders.iter().map(of_contender).sum()));
    let (best, tuning) = comparison.tune()?;
    comparison.race(&best, values, tuning)
}

impl<N: Subject> Comparison<'_, N> {
    /// Measures the ratios, one after the other, before all processors are busy.
    fn measure_steps(&mut self) -> Result<(), LabError> {
        for contender in &self.contenders {
            let mut candidate = contender.candidates[0].clone();
            candidate.gradient.begin = 0.0;
            self.ratios.push(match candidate.gradient.method {
                MethodName::StraightThrough => 1.0,
                MethodName::Spsa
                | MethodName::Fogzo
                | MethodName::WeightedAverage
                | MethodName::BiasCorrection
                | MethodName::Adaptive => step_ratio(self.make, self.sets[0], &self.plan(&candidate, 1, 0))?,
            });
        }
        Ok(())
    }

    fn plan(&self, candidate: &Candidate, steps: u64, seed: u64) -> Plan {
        let all = self.sets[0].len();
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

    fn one(&self, place: usize, candidate: &Candidate, seed: u64) -> Result<Outcome, LabError> {
        let plan = self.plan(candidate, self.steps(place, candidate), seed);
        let (_, outcome) = train((self.make)(seed), self.sets, &plan)?;
        (self.tell)(Progress::Done(1));
        Ok(outcome)
    }

    /// The best candidate of each contender, and the table of all.
    fn tune(&self) -> Result<(Vec<usize>, Table), LabError> {
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
                Ok(self.one(place, candidate, TUNING_SEED + run)?.train_loss)
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
    fn race(&self, best: &[usize], values: usize, tuning: Table) -> Result<Report, LabError> {
        let Settings { seeds, network, optimizer, .. } = self.settings;
        let tasks: Vec<(usize, u64)> =
            (0..self.contenders.len()).flat_map(|place| (0..*seeds).map(move |seed| (place, seed))).collect();
        let outcomes = tasks
            .par_iter()
            .map(|&(place, seed)| self.one(place, &self.contenders[place].candidates[best[place]], seed))
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
