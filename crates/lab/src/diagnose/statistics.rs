#[cfg(test)]
use super::reference::ReferenceGroups;
use super::reference::{GROUPS, Reference};
use super::row::{Interval, Row};

/// Sums over some estimates.
#[derive(Clone)]
struct Sums {
    count: f64,
    estimate: Vec<f64>,
    squares: f64,
    squared_errors: f64,
    /// Sum and number of the cosines that there are: none where the true gradient is 0.
    cosines: [f64; 2],
    /// Sum and number of the shares of coordinates with the right sign.
    agreements: [f64; 2],
}

/// What is measured of estimates of one gradient.
#[derive(Clone, Copy)]
struct Measures {
    squared_bias: f64,
    variance: f64,
    mean_squared_error: f64,
    cosine: f64,
    cosine_of_mean: f64,
    sign_agreement: f64,
}

impl Sums {
    fn new(dims: usize) -> Self {
        Self {
            count: 0.0,
            estimate: vec![0.0; dims],
            squares: 0.0,
            squared_errors: 0.0,
            cosines: [0.0; 2],
            agreements: [0.0; 2],
        }
    }

    /// These sums with those of another, taken `sign` times.
    fn combine(&mut self, other: &Self, sign: f64) {
        self.count += sign * other.count;
        self.estimate.iter_mut().zip(&other.estimate).for_each(|(sum, value)| *sum += sign * value);
        self.squares += sign * other.squares;
        self.squared_errors += sign * other.squared_errors;
        for (sums, others) in [(&mut self.cosines, other.cosines), (&mut self.agreements, other.agreements)] {
            sums.iter_mut().zip(others).for_each(|(sum, value)| *sum += sign * value);
        }
    }

    /// The measures against a reference, the noise of both taken off.
    fn measures(&self, reference: &[f64], reference_variance: f64) -> Measures {
        let mean: Vec<f64> = self.estimate.iter().map(|sum| sum / self.count).collect();
        let square_of_mean = square(&mean);
        let variance = (self.squares / self.count - square_of_mean) * self.count / (self.count - 1.0);
        let distance: f64 = mean.iter().zip(reference).map(|(a, b)| (a - b) * (a - b)).sum();
        let squared_bias = distance - variance / self.count - reference_variance;
        // A noisy reference is longer than the true gradient, which makes every cosine with it smaller.
        let norm = square(reference);
        let stretch = if norm > 0.0 { (norm / (norm - reference_variance).max(0.0)).sqrt() } else { 1.0 };
        Measures {
            squared_bias,
            variance,
            mean_squared_error: squared_bias + variance,
            cosine: mean_of(self.cosines) * stretch,
            cosine_of_mean: cosine(mean.iter().copied(), reference).unwrap_or(f64::NAN) * stretch,
            sign_agreement: mean_of(self.agreements),
        }
    }
}

fn square(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum()
}

/// The mean of a sum over a number of values.
fn mean_of([sum, count]: [f64; 2]) -> f64 {
    sum / count
}

/// The cosine of a vector with the true gradient: 0 where the vector is 0, nothing where the gradient is.
fn cosine(a: impl Iterator<Item = f64> + Clone, truth: &[f64]) -> Option<f64> {
    let product: f64 = a.clone().zip(truth).map(|(a, b)| a * b).sum();
    let (length, truth) = (a.map(|a| a * a).sum::<f64>().sqrt(), square(truth).sqrt());
    (truth > 0.0).then(|| if length > 0.0 { product / length / truth } else { 0.0 })
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
        if let Some(cosine) = cosine(values(), &truth.gradient) {
            sums.cosines = [sums.cosines[0] + cosine, sums.cosines[1] + 1.0];
        }
        if counted > 0.0 {
            sums.agreements = [sums.agreements[0] + agreements / counted, sums.agreements[1] + 1.0];
        }
    }

    /// The measures of estimates of one gradient.
    pub fn row(&self, method: String, temperature: Option<f32>, truth: &Reference) -> Row {
        let all = self.all();
        let whole = all.measures(&truth.gradient, truth.variance);
        let without: Vec<Measures> =
            self.0.iter().map(|group| all.without(group).measures(&truth.gradient, truth.variance)).collect();
        // What the measures owe to the reference: one group of its samples is left out at a time.
        let share = GROUPS as f64 / (GROUPS as f64 - 1.0);
        let references: Vec<Measures> =
            truth.without_groups().iter().map(|part| all.measures(part, truth.variance * share)).collect();
        let interval = |of: fn(&Measures) -> f64| {
            let spread = jackknife(without.iter().map(of)) + jackknife(references.iter().map(of));
            Interval::around(of(&whole), spread)
        };
        let bias = interval(|measures| measures.squared_bias).map(|square| square.max(0.0).sqrt());
        Row {
            method,
            temperature,
            bias,
            relative_bias: relative(bias, truth.norm()),
            variance: interval(|measures| measures.variance),
            mean_squared_error: interval(|measures| measures.mean_squared_error),
            cosine: interval(|measures| measures.cosine),
            cosine_of_mean: interval(|measures| measures.cosine_of_mean),
            sign_agreement: interval(|measures| measures.sign_agreement),
        }
    }

    /// The measures of estimates that do not vary, each of another gradient, whose root mean square norm is `norm`.
    pub fn row_of_inputs(&self, method: String, norm: f64) -> Row {
        let all = self.all();
        let interval = |of: fn(&Sums) -> f64| {
            let spread = jackknife(self.0.iter().map(|group| of(&all.without(group))));
            Interval::around(of(&all), spread)
        };
        let mean_squared_error = interval(|sums| sums.squared_errors / sums.count);
        let cosine = interval(|sums| mean_of(sums.cosines));
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
            sign_agreement: interval(|sums| mean_of(sums.agreements)),
        }
    }

    fn all(&self) -> Sums {
        let mut all = Sums::new(self.0[0].estimate.len());
        self.0.iter().for_each(|group| all.combine(group, 1.0));
        all
    }
}

impl Sums {
    /// These sums without those of a group.
    fn without(&self, group: &Self) -> Self {
        let mut rest = self.clone();
        rest.combine(group, -1.0);
        rest
    }
}

/// A share of the norm of the true gradient, where that is not 0.
fn relative(bias: Interval, norm: f64) -> Option<Interval> {
    (norm > 0.0).then(|| bias.map(|bias| bias / norm))
}

/// The variance of a statistic, from its values on all groups but each one; 0 without groups.
fn jackknife(without: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let count = (without.len() as f64).max(1.0);
    let mean = without.clone().sum::<f64>() / count;
    let squares: f64 = without.map(|value| (value - mean) * (value - mean)).sum();
    squares * (count - 1.0) / count
}

#[cfg(test)]
mod tests {
    use hardgrad::random::Random;

    use super::*;

    #[test]
    fn normal_estimates_around_a_shifted_mean_are_measured_as_they_are() {
        let truth =
            Reference { gradient: vec![1.0, -2.0, 0.5], variance: 0.0, groups: Vec::new(), description: String::new() };
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
    fn intervals_know_the_noise_of_the_reference() {
        // Estimates without bias against references made of 400 noisy samples: the interval of the bias must reach 0 nearly
        // always, that of the cosine 1.
        let truth = [1.0f32, -2.0, 0.5, 0.0];
        let (mut biases, mut cosines) = (0, 0);
        for seed in 0..40 {
            let mut noise = vec![0.0f32; 4 * 2400];
            Random::new(seed, 0, 0).fill_normal(&mut noise);
            let sample = |index: usize| -> Vec<f32> { (0..4).map(|i| truth[i] + 3.0 * noise[4 * index + i]).collect() };
            let mut reference = ReferenceGroups::new(4);
            (0..400).for_each(|index| reference.add(index, &sample(index)));
            let reference = reference.finish(String::new());
            let mut groups = Groups::new(4);
            (400..2400).for_each(|index| groups.add(index, &sample(index), &reference));
            let row = groups.row("test".to_string(), None, &reference);
            biases += u32::from(row.bias.low > 0.0);
            cosines += u32::from(row.cosine_of_mean.high < 1.0);
        }
        // 40 intervals of 95 %, one-sided: 1 or 2 misses expected, 6 would be far off.
        assert!(biases <= 5 && cosines <= 5, "{biases} and {cosines} of 40 miss");
    }

    #[test]
    fn a_gradient_of_zero_has_no_direction_and_counts_for_none() {
        let gradient =
            |value| Reference { gradient: vec![value], variance: 0.0, groups: Vec::new(), description: String::new() };
        let mut groups = Groups::new(1);
        for index in 0..4 * GROUPS {
            let value = f64::from(u8::from(index % 4 == 0));
            groups.add(index / 4 * 3 + index, &[value as f32], &gradient(value));
        }
        let row = groups.row_of_inputs("test".to_string(), 0.5);
        assert_eq!((row.cosine.value, row.sign_agreement.value, row.bias.value), (1.0, 1.0, 0.0));
    }

    #[test]
    fn estimates_that_never_vary_have_their_exact_bias_and_no_width() {
        let truth =
            Reference { gradient: vec![0.0, 3.0], variance: 0.0, groups: Vec::new(), description: String::new() };
        let mut groups = Groups::new(2);
        (0..2 * GROUPS).for_each(|index| groups.add(index, &[4.0, 6.0], &truth));
        let row = groups.row("test".to_string(), None, &truth);
        assert!((row.bias.value - 5.0).abs() < 1e-9 && (row.bias.high - row.bias.low).abs() < 1e-9, "{:?}", row.bias);
        assert_eq!((row.variance.value, row.sign_agreement.value), (0.0, 1.0));
    }
}
