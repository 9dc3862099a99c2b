//! Means and spreads over seeds.

use std::fmt;

/// Mean, sample standard deviation and standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub mean: f64,
    pub deviation: f64,
    pub error: f64,
}

impl Spread {
    /// Of at least one value; spreads of one value are 0.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        Self { mean, deviation, error: deviation / count.sqrt() }
    }

    /// With two decimals, for percentages.
    pub fn percent(&self) -> String {
        format!("{:.2}{}", self.mean, self.behind(|deviation| format!("{deviation:.2}")))
    }

    /// With two digits, for small losses.
    pub fn small(&self) -> String {
        format!("{:.1e}{}", self.mean, self.behind(|deviation| format!("{deviation:.0e}")))
    }

    /// The deviation, where there was more than one value.
    fn behind(&self, format: impl Fn(f64) -> String) -> String {
        if self.deviation > 0.0 { format!(" ± {}", format(self.deviation)) } else { String::new() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = digits(self.mean);
        write!(out, "{:.digits$} ± {:.digits$}", self.mean, self.deviation)
    }
}

/// Mean difference of runs with the same seeds, and its standard error.
pub(super) struct Paired {
    difference: Spread,
    /// Mean of the reference, which tells how many digits count.
    reference: f64,
}

pub(super) fn paired(found: &[f64], reference: &[f64]) -> Paired {
    let differences: Vec<f64> = found.iter().zip(reference).map(|(found, reference)| found - reference).collect();
    Paired { difference: Spread::of(&differences), reference: Spread::of(reference).mean }
}

impl fmt::Display for Paired {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = digits(self.reference);
        write!(out, "{:+.digits$} (se {:.digits$})", self.difference.mean, self.difference.error)
    }
}

/// Decimals that show four digits of a value.
fn digits(value: f64) -> usize {
    if value > 0.0 && value < 1.0 { (3.0 - value.log10().floor()).clamp(4.0, 12.0) as usize } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_by_hand() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!((spread.mean, spread.error), (3.0, (14f64 / 3.0).sqrt() / 2.0));
        assert_eq!(Spread::of(&[5.0]).deviation, 0.0);
        assert_eq!(paired(&[1.0, 2.5], &[2.0, 2.0]).to_string(), "-0.2500 (se 0.7500)");
        assert_eq!(Spread::of(&[0.001, 0.002]).to_string(), "0.001500 ± 0.000707");
    }
}
