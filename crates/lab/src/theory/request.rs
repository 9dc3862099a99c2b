use crate::LabError;

/// What to compute.
#[derive(Clone, Debug)]
pub struct Request {
    /// The teacher's output weights.
    pub v_star: Vec<f64>,
    /// Weights of the filter.
    pub filter: usize,
    /// Step size.
    pub learning_rate: f64,
    /// Steps of each descent.
    pub steps: u64,
    /// Samples of each step of the sampled descents; 0 for none.
    pub samples: usize,
    /// Seed of random starts and samples.
    pub seed: u64,
}

impl Request {
    /// Fails where a number cannot be.
    pub(super) fn check(&self) -> Result<(), LabError> {
        let usage = |message: &str| Err(LabError::Usage(message.to_string()));
        let Request { v_star, filter, learning_rate, steps, samples, .. } = self;
        let size = v_star.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        if !(1e-6..=1e6).contains(&size) || v_star.iter().any(|v| v.is_nan()) || v_star.len() > 1000 {
            return usage("--v-star must be 1 to 1000 numbers, the largest of a size from 0.000001 to 1000000");
        }
        if !(2..=1000).contains(filter) {
            return usage("--filter must be from 2 to 1000");
        }
        if !(*learning_rate > 0.0 && *learning_rate <= 10.0) {
            return usage("--learning-rate must be above 0 and at most 10");
        }
        if *steps == 0 || *steps > 10_000_000 {
            return usage("--steps must be from 1 to 10000000");
        }
        if samples.saturating_mul(v_star.len() * filter) > 1 << 26 {
            return usage("--samples times hidden units times filter weights must be at most 67108864");
        }
        Ok(())
    }

    /// A filter of this length at an angle to w* = (1, 0, ...).
    pub(super) fn filter_at(&self, angle: f64, norm: f64) -> Vec<f64> {
        let mut w = vec![0.0; self.filter];
        (w[0], w[1]) = (norm * angle.cos(), norm * angle.sin());
        w
    }

    /// The teacher's filter, (1, 0, ...).
    pub(super) fn w_star(&self) -> Vec<f64> {
        self.filter_at(0.0, 1.0)
    }
}

/// The Euclidean norm.
pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}
