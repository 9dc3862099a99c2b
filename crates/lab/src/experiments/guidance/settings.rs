use serde::{Deserialize, Serialize};

use crate::LabError;

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

impl Settings {
    /// Fails where a setting is out of its range.
    pub fn check(&self) -> Result<(), LabError> {
        let usage = |message: String| Err(LabError::Usage(message));
        if !["sgd", "adam"].contains(&self.optimizer.as_str()) {
            return usage(format!("optimizer must be sgd or adam, got {}", self.optimizer));
        }
        if !["cosine", "constant"].contains(&self.schedule.as_str()) {
            return usage(format!("schedule must be cosine or constant, got {}", self.schedule));
        }
        if self.steps == 0 || self.seeds == 0 || self.tuning_seeds == 0 {
            return usage("steps, seeds and tuning_seeds must be at least 1".to_string());
        }
        if self.steps > 100_000_000 || self.seeds.max(self.tuning_seeds) > 10_000 {
            return usage("steps must be at most 100000000, seeds and tuning_seeds at most 10000".to_string());
        }
        let lists: [(&str, &[f64]); 5] = [
            ("learning_rates", &self.learning_rates),
            ("noise", &self.noise),
            ("begin", &self.begin),
            ("epsilon", &self.epsilon),
            ("weight", &self.weight),
        ];
        if let Some((key, _)) = lists.iter().find(|(_, list)| list.is_empty()) {
            return usage(format!("{key} must have at least one value"));
        }
        match self.learning_rates.iter().find(|rate| !(**rate > 0.0 && **rate <= 1e6)) {
            Some(rate) => usage(format!("learning_rates must be above 0 and at most 1000000, got {rate}")),
            None if self.methods.is_empty() => usage("methods must name at least one".to_string()),
            None => Ok(()),
        }
    }
}
