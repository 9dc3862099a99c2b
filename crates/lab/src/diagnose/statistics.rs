use serde::Serialize;

use super::Row;
use super::exact::Reference;

/// Estimates are dealt to this many groups; leaving out one at a time (the jackknife) gives the confidence intervals.
pub(super) const GROUPS: usize = 40;

/// Student's t for 95 % of 39 degrees of freedom.
const QUANTILE: f64 = 2.0227;

/// A value with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Both ends and the value by a growing function.
    fn map(self, function: impl Fn(f64) -> f64) -> Self {
        Self { value: function(self.value), low: function(self.low), high: function(self.high) }
    }
}

/// Sums over some estimates.
#[derive(Clone)]
struct Sums {
    count: f64,
    estimate: Vec<f64>,
    squares: f64,
    squared_errors: f64,
    cosines: f64,
    agreements: f64,
}

impl Sums {
    fn new(dims: usize) -> Self {
        Self { count: 0.0, estimate: vec![0.0; dims], squares: 0.0, squared_errors: 0.0, cosines: 0.0, agreements: 0.0 }
    }

    /// These sums with those of another, taken `sign` times.
    fn combine(&mut self, other: &Self, sign: f64) {
        self.count += sign * other.count;
        self.estimate.iter_mut().zip(&other.estimate).for_each(|(sum, value)| *sum += sign * value);
        self.squares += sign * other.squares;
        self.squared_errors += sign * other.squared_errors;
        self.cosines += sign * other.cosines;
        self.agreements += sign * other.agreements;
    }

    /// Squared bias (its own noise and that of the reference taken off), variance, mean squared error, mean cosine, cosine
    /// of the mean, sign agreement.
    fn statistics(&self, truth: &Reference) -> [f64; 6] {
        let mean: Vec<f64> = self.estimate.iter().map(|sum| sum / self.count).collect();
        let square_of_mean: f64 = mean.iter().map(|value| value * value).sum();
        let variance = ((self.squares / self.count - square_of_mean) * self.count / (self.count - 1.0)).max(0.0);
        let distance: f64 = mean.iter().zip(&truth.gradient).map(|(a, b)| (a - b) * (a - b)).sum();
        [
            distance - variance / self.count - truth.variance,
            variance,
            self.squared_errors / self.count - truth.variance,
            self.cosines / self.count,
            cosine(mean.iter().copied(), &truth.gradient),
            self.agreements / self.count,
        ]
    }
}

/// The cosine of two vectors; 0 where one of them is 0.
fn cosine(a: impl Iterator<Item = f64> + Clone, b: &[f64]) -> f64 {
    let product: f64 = a.clone().zip(b).map(|(a, b)| a * b).sum();
    let lengths = a.map(|a| a * a).sum::<f64>().sqrt() * b.iter().map(|b| b * b).sum::<f64>().sqrt();
    if lengths > 0.0 { product / lengths } else { 0.0 }
}

/// Estimates in groups.
pub(super) struct Groups(Vec<Sums>);

impl Groups {
    /// For estimates of `dims` coordinates.
    pub fn new(dims: usize) -> Self {
        Self(vec![Sums::new(dims); GROUPS])
    }

    /// Takes estimate `index`.
    pub fn add(&mut self, index: usize, estimate: &[f32], truth: &Reference) {
        let sums = &mut self.0[index % GROUPS];
        let values = || estimate.iter().map(|value| f64::from(*value));
        sums.count += 1.0;
        let (mut agreements, mut counted) = (0.0, 0.0);
        for ((sum, value), truth) in sums.estimate.iter_mut().zip(values()).zip(&truth.gradient) {
            *sum += value;
            sums.squares += value * value;
            sums.squared_errors += (value - truth) * (value - truth);
            if *truth != 0.0 {
                counted += 1.0;
                agreements += f64::from(u8::from(value * truth > 0.0));
            }
        }
        sums.cosines += cosine(values(), &truth.gradient);
        sums.agreements += if counted > 0.0 { agreements / counted } else { 0.0 };
    }

    /// The measures of estimates of one gradient.
    pub fn row(&self, method: String, temperature: Option<f32>, truth: &Reference) -> Row {
        let [squared_bias, variance, mean_squared_error, cosine, cosine_of_mean, sign_agreement] =
            self.intervals(truth);
        let bias = squared_bias.map(|square| square.max(0.0).sqrt());
        Row {
            method,
            temperature,
            bias,
            relative_bias: relative(bias, truth.norm()),
            variance,
            mean_squared_error,
            cosine,
            cosine_of_mean,
            sign_agreement,
        }
    }

    /// The measures of estimates that do not vary, each of another gradient, whose root mean square norm is `norm`.
    pub fn row_of_inputs(&self, method: String, norm: f64) -> Row {
        let zero =
            Reference { gradient: vec![0.0; self.0[0].estimate.len()], variance: 0.0, description: String::new() };
        let [_, _, mean_squared_error, cosine, _, sign_agreement] = self.intervals(&zero);
        let bias = mean_squared_error.map(|square| square.max(0.0).sqrt());
        Row {
            method,
            temperature: None,
            bias,
            relative_bias: relative(bias, norm),
            variance: Interval { value: 0.0, low: 0.0, high: 0.0 },
            mean_squared_error,
            cosine,
            cosine_of_mean: cosine,
            sign_agreement,
        }
    }

    fn intervals(&self, truth: &Reference) -> [Interval; 6] {
        let mut all = Sums::new(truth.gradient.len());
        self.0.iter().for_each(|group| all.combine(group, 1.0));
        let whole = all.statistics(truth);
        let without = self.0.iter().map(|group| {
            let mut rest = all.clone();
            rest.combine(group, -1.0);
            rest.statistics(truth)
        });
        let without: Vec<[f64; 6]> = without.collect();
        std::array::from_fn(|place| jackknife(whole[place], without.iter().map(|values| values[place])))
    }
}

/// A share of the norm of the true gradient.
fn relative(bias: Interval, norm: f64) -> Interval {
    bias.map(|bias| if norm > 0.0 { bias / norm } else { 0.0 })
}

/// The interval of a statistic from its value on all groups and on all but each one.
fn jackknife(value: f64, without: impl ExactSizeIterator<Item = f64> + Clone) -> Interval {
    let count = without.len() as f64;
    let mean = without.clone().sum::<f64>() / count;
    let squares: f64 = without.map(|value| (value - mean) * (value - mean)).sum();
    let half = QUANTILE * (squares * (count - 1.0) / count).sqrt();
    Interval { value, low: value - half, high: value + half }
}

#[cfg(test)]
mod tests {
    use hardgrad::random::Random;

    use super::*;

    #[test]
    fn normal_estimates_around_a_shifted_mean_are_measured_as_they_are() {
        let truth = Reference { gradient: vec![1.0, -2.0, 0.5], variance: 0.0, description: String::new() };
        let count = 20_000;
        let mut noise = vec![0.0f32; 3 * count];
        Random::new(7, 0, 0).fill_normal(&mut noise);
        let mut groups = Groups::new(3);
        for (index, noise) in noise.chunks(3).enumerate() {
            // Bias (0.3, 0, -0.4): norm 0.5; standard deviation 2 in each coordinate: variance 12.
            groups.add(index, &[1.3 + 2.0 * noise[0], -2.0 + 2.0 * noise[1], 0.1 + 2.0 * noise[2]], &truth);
        }
        let row = groups.row("test".to_string(), None, &truth);
        for (interval, expected) in [(row.bias, 0.5), (row.variance, 12.0), (row.mean_squared_error, 12.25)] {
            let Interval { low, high, .. } = interval;
            assert!(low < expected && expected < high && high - low < 0.2 * expected + 0.1, "{interval:?} {expected}");
        }
        let cosine = (1.3 + 4.0 + 0.05) / ((1.69f64 + 4.0 + 0.01).sqrt() * 5.25f64.sqrt());
        assert!((row.cosine_of_mean.value - cosine).abs() < 0.01, "{:?}", row.cosine_of_mean);
    }

    #[test]
    fn estimates_that_never_vary_have_their_exact_bias_and_no_width() {
        let truth = Reference { gradient: vec![0.0, 3.0], variance: 0.0, description: String::new() };
        let mut groups = Groups::new(2);
        (0..2 * GROUPS).for_each(|index| groups.add(index, &[4.0, 6.0], &truth));
        let row = groups.row("test".to_string(), None, &truth);
        assert!((row.bias.value - 5.0).abs() < 1e-9 && (row.bias.high - row.bias.low).abs() < 1e-9, "{:?}", row.bias);
        assert_eq!((row.variance.value, row.sign_agreement.value), (0.0, 1.0));
    }
}
