//! Numbers that training follows, by name: columns of `metrics.csv`, lines of progress, curves and the state of checkpoints.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// What a number is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Its word, also in the names of columns.
    pub name: &'static str,
    /// The label of its axis.
    pub axis: &'static str,
    /// True for shares, which people read in percent.
    pub share: bool,
}

/// The loss that is trained on, or the same of other data.
pub(crate) const LOSS: &str = "loss";

/// Means by name, in the order in which they first came: sums of values, and of how many things they are.
///
/// Sums are kept and stored to the last bit, so that a mean does not depend on where training was interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(Vec<Sum>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    name: String,
    /// The bits of an f64.
    sum: u64,
    count: u64,
}

impl Metrics {
    /// Adds the sum of `count` values.
    pub fn add(&mut self, name: &str, sum: f64, count: u64) {
        let place = self.0.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            self.0.push(Sum { name: name.to_string(), sum: 0.0f64.to_bits(), count: 0 });
            self.0.len() - 1
        });
        let entry = &mut self.0[place];
        entry.sum = (f64::from_bits(entry.sum) + sum).to_bits();
        entry.count += count;
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|Sum { name, sum, count }| self.add(name, f64::from_bits(*sum), *count));
    }

    /// The mean of a name; none where nothing was added.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|entry| entry.name == name)?.mean()
    }

    /// The names with their means, those of which nothing was added left out.
    pub fn means(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(|entry| Some((entry.name.as_str(), entry.mean()?)))
    }

    /// The first name whose mean is not finite.
    pub fn not_finite(&self) -> Option<&str> {
        self.means().find(|(_, mean)| !mean.is_finite()).map(|(name, _)| name)
    }

    /// `loss 0.4211, accuracy 89.20 %`: the known ones first, in their order.
    pub(crate) fn text(&self, known: &[Metric]) -> String {
        let mut text = String::new();
        let mut names: Vec<&str> = known.iter().map(|metric| metric.name).collect();
        names.extend(self.unknown(known));
        for name in names {
            let Some(mean) = self.mean(name) else { continue };
            let comma = if text.is_empty() { "" } else { ", " };
            let share = known.iter().any(|metric| metric.name == name && metric.share);
            let written = match share {
                true => write!(text, "{comma}{name} {:.2} %", 100.0 * mean),
                false => write!(text, "{comma}{name} {mean:.4}"),
            };
            written.expect("a text grows in memory");
        }
        text
    }

    /// The names that are not among the known ones.
    pub(crate) fn unknown<'a>(&'a self, known: &'a [Metric]) -> impl Iterator<Item = &'a str> {
        self.means().map(|(name, _)| name).filter(move |name| known.iter().all(|metric| metric.name != *name))
    }
}

impl Sum {
    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from_bits(self.sum) / self.count as f64)
    }
}

/// A table of text cells under named columns, which come as they are needed; a row leaves those empty that it does not name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<(usize, String)>>,
}

impl Table {
    /// A table that begins with these columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { columns: columns.into_iter().map(String::from).collect(), rows: Vec::new() }
    }

    /// Adds a column, unless it is there.
    pub fn column(&mut self, name: &str) -> usize {
        self.columns.iter().position(|column| column == name).unwrap_or_else(|| {
            self.columns.push(name.to_string());
            self.columns.len() - 1
        })
    }

    /// Adds a row of cells by the names of their columns.
    pub fn row<N: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (N, String)>) {
        let row = cells.into_iter().map(|(name, cell)| (self.column(name.as_ref()), cell)).collect();
        self.rows.push(row);
    }

    /// The table as comma-separated values; no cell has a comma.
    pub fn to_csv(&self) -> String {
        let mut csv = self.columns.join(",") + "\n";
        for row in &self.rows {
            let mut cells = vec![""; self.columns.len()];
            row.iter().for_each(|(place, cell)| cells[*place] = cell.as_str());
            csv += &cells.join(",");
            csv.push('\n');
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [Metric; 2] =
        [Metric { name: LOSS, axis: "nats", share: false }, Metric { name: "accuracy", axis: "%", share: true }];

    #[test]
    fn means_of_what_was_added() {
        let mut metrics = Metrics::default();
        metrics.add("accuracy", 3.0, 4);
        metrics.add("usage", 5.0, 2);
        metrics.add(LOSS, 0.5, 1);
        metrics.add(LOSS, 0.75, 1);
        metrics.add("empty", 0.0, 0);
        assert_eq!(metrics.mean(LOSS), Some(0.625));
        assert_eq!((metrics.mean("empty"), metrics.mean("other")), (None, None));
        assert_eq!(metrics.text(&KNOWN), "loss 0.6250, accuracy 75.00 %, usage 2.5000");
        let mut twice = metrics.clone();
        twice.merge(&metrics);
        assert_eq!(twice.mean("accuracy"), Some(0.75));
        assert_eq!(twice.not_finite(), None);
        twice.add("usage", f64::INFINITY, 1);
        assert_eq!(twice.not_finite(), Some("usage"));
    }

    #[test]
    fn a_row_leaves_empty_what_it_does_not_name() {
        let mut table = Table::new(["stage", "loss"]);
        table.row([("loss", "1".to_string()), ("stage", "a".to_string())]);
        table.row([("flips", "0.5".to_string())]);
        assert_eq!(table.to_csv(), "stage,loss,flips\na,1,\n,,0.5\n");
    }

    proptest! {
        #[test]
        fn what_is_stored_is_what_is_read_to_the_last_bit(bits in prop::collection::vec((any::<u64>(), 0..1000u64), 1..20)) {
            let mut metrics = Metrics::default();
            for (place, (bits, count)) in bits.into_iter().enumerate() {
                metrics.add(["a", "b", "c"][place % 3], f64::from_bits(bits), count);
            }
            let text = serde_json::to_string(&metrics).unwrap();
            prop_assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), metrics);
        }
    }
}
