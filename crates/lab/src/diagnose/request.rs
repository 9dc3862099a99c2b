//! What a diagnosis measures, and what it tells meanwhile.

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
