use hardgrad::zeroth_order::{GradientConfig, MethodName};

use super::Settings;
use crate::LabError;

/// One way to train.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub learning_rate: f64,
    pub gradient: GradientConfig,
    /// For the table.
    pub noise: Option<f64>,
}

/// A method with the name under which it was asked for.
pub(super) struct Contender {
    pub name: String,
    pub candidates: Vec<Candidate>,
}

/// The candidates of each method, all methods with the same number.
pub(super) fn contenders(settings: &Settings, values: usize) -> Result<Vec<Contender>, LabError> {
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

impl Candidate {
    /// Learning rate, noise, begin, epsilon, weight; a dash where it does not concern the method.
    pub fn words(&self) -> [String; 5] {
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
