/// Estimates are dealt to this many groups; leaving out one at a time (the jackknife) gives the confidence intervals.
pub(super) const GROUPS: usize = 40;

/// The gradient that estimates are held against.
pub(super) struct Reference {
    /// Its values.
    pub gradient: Vec<f64>,
    /// Expected squared distance from the true gradient: 0 where it is exact.
    pub variance: f64,
    /// Sums and numbers of its samples in groups; none where it is exact.
    pub groups: Vec<(Vec<f64>, f64)>,
    /// How it was found.
    pub description: String,
}

impl Reference {
    /// Euclidean norm of the true gradient: the noise of the reference is taken off.
    pub fn norm(&self) -> f64 {
        (self.gradient.iter().map(|value| value * value).sum::<f64>() - self.variance).max(0.0).sqrt()
    }

    /// The reference without each of its groups.
    pub fn without_groups(&self) -> Vec<Vec<f64>> {
        let total: f64 = self.groups.iter().map(|(_, count)| count).sum();
        let without = |(sums, count): &(Vec<f64>, f64)| {
            let rest = self.gradient.iter().zip(sums);
            rest.map(|(mean, sum)| (mean * total - sum) / (total - count)).collect()
        };
        self.groups.iter().map(without).collect()
    }
}

/// A reference that is made of samples.
pub(super) struct ReferenceGroups {
    groups: Vec<(Vec<f64>, f64)>,
    squares: f64,
}

impl ReferenceGroups {
    pub fn new(dims: usize) -> Self {
        Self { groups: vec![(vec![0.0; dims], 0.0); GROUPS], squares: 0.0 }
    }

    /// Takes sample `index`.
    pub fn add(&mut self, index: usize, sample: &[f32]) {
        let (sums, count) = &mut self.groups[index % GROUPS];
        *count += 1.0;
        for (sum, value) in sums.iter_mut().zip(sample) {
            *sum += f64::from(*value);
            self.squares += f64::from(*value) * f64::from(*value);
        }
    }

    /// The mean of the samples.
    pub fn finish(self, description: String) -> Reference {
        let count: f64 = self.groups.iter().map(|(_, count)| count).sum();
        let dims = self.groups[0].0.len();
        let gradient: Vec<f64> =
            (0..dims).map(|place| self.groups.iter().map(|(sums, _)| sums[place]).sum::<f64>() / count).collect();
        let norm: f64 = gradient.iter().map(|value| value * value).sum();
        let variance = (self.squares / count - norm) / (count - 1.0);
        Reference { gradient, variance, groups: self.groups, description }
    }
}
