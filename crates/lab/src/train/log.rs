//! What a run leaves behind of its metrics: `metrics.csv` and the curve.

use super::event::{EpochRow, Measurement};
use super::metrics::{Metric, Table};
use crate::plot::{Curve, Line};
use crate::recipes::Stage;

/// What the rows of a run have in common.
pub(super) struct Log<'a> {
    /// The stages of the recipe.
    pub stages: &'a [Stage],
    /// The metrics that come first.
    pub metrics: &'a [Metric],
    /// The names of what is measured between epochs.
    pub measured: &'a [&'static str],
    /// Steps of an epoch.
    pub steps_an_epoch: u64,
    /// The learning rate of a step of a stage.
    pub rate: &'a dyn Fn(usize, u64) -> f64,
}

const TRAIN: &str = "train";
const VALIDATION: &str = "validation";

impl Log<'_> {
    /// Epochs and measurements in the order of their steps; each leaves the other's columns empty.
    pub fn csv(&self, rows: &[EpochRow], measurements: &[Measurement]) -> String {
        let mut table = Table::new(["stage", "epoch", "step", "learning_rate"]);
        for part in [TRAIN, VALIDATION] {
            for metric in self.metrics {
                table.column(&format!("{part}_{}", metric.name));
            }
        }
        ["forward_equivalents", "skipped_directions"].iter().chain(self.measured).for_each(|name| {
            table.column(name);
        });
        let mut measurements = measurements.iter().peekable();
        for row in rows {
            let before = |measurement: &&Measurement| measurement.stage == row.stage && measurement.step <= row.step;
            while let Some(measurement) = measurements.next_if(before) {
                self.measurement(&mut table, measurement);
            }
            let mut cells = address(&row.stage, row.epoch, row.step, row.learning_rate);
            for (part, metrics) in [(TRAIN, &row.train), (VALIDATION, &row.validation)] {
                cells.extend(metrics.means().map(|(name, mean)| (format!("{part}_{name}"), mean.to_string())));
            }
            cells.push(("forward_equivalents".to_string(), row.forward_equivalents.to_string()));
            cells.push(("skipped_directions".to_string(), row.skipped_directions.to_string()));
            table.row(cells);
        }
        table.to_csv()
    }

    fn measurement(&self, table: &mut Table, measurement: &Measurement) {
        let Measurement { stage, step, values } = measurement;
        let place = self.stages.iter().position(|known| known.name == stage).unwrap_or_default();
        let before = step.saturating_sub(1);
        let mut cells = address(stage, before / self.steps_an_epoch + 1, *step, (self.rate)(place, before));
        let values = values.iter().filter_map(|(name, value)| Some((name.clone(), value.as_ref()?.to_string())));
        cells.extend(values);
        table.row(cells);
    }

    /// The metrics by epoch, a panel each; lines mark where stages begin.
    pub fn curve(&self, rows: &[EpochRow]) -> Result<String, String> {
        let unknown =
            rows.iter().flat_map(|row| row.train.unknown(self.metrics).chain(row.validation.unknown(self.metrics)));
        let mut others: Vec<&str> = Vec::new();
        unknown.for_each(|name| {
            if !others.contains(&name) {
                others.push(name);
            }
        });
        let others = others.into_iter().map(|name| (name, name, false));
        let known = self.metrics.iter().map(|metric| (metric.name, metric.axis, metric.share));
        let panels = known.chain(others).map(|(name, axis, share)| {
            let factor = if share { 100.0 } else { 1.0 };
            let points = |of: fn(&EpochRow) -> &super::metrics::Metrics| {
                let points = rows
                    .iter()
                    .enumerate()
                    .filter_map(|(index, row)| Some((index as f64 + 1.0, factor * of(row).mean(name)?)));
                points.collect::<Vec<(f64, f64)>>()
            };
            let lines = [("training", points(|row| &row.train)), (VALIDATION, points(|row| &row.validation))];
            let lines = lines.into_iter().filter(|(_, points)| !points.is_empty());
            Curve {
                title: name.to_string(),
                axis: axis.to_string(),
                lines: lines.map(|(name, points)| Line { name: name.to_string(), points }).collect(),
            }
        });
        let panels: Vec<Curve> = panels.filter(|panel| !panel.lines.is_empty()).collect();
        let begins = self.stages.iter().enumerate().skip(1).filter_map(|(place, stage)| {
            // Between the last epoch of the stages before and its first one.
            let before = &self.stages[..place];
            let count = rows.iter().filter(|row| before.iter().any(|stage| stage.name == row.stage)).count();
            let any = rows.iter().any(|row| row.stage == stage.name);
            any.then_some((count as f64 + 0.5, stage.begins))
        });
        crate::plot::curves(panels, begins)
    }
}

/// The cells that every row has.
fn address(stage: &str, epoch: u64, step: u64, rate: f64) -> Vec<(String, String)> {
    let cells = [
        ("stage", stage.to_string()),
        ("epoch", epoch.to_string()),
        ("step", step.to_string()),
        ("learning_rate", rate.to_string()),
    ];
    cells.map(|(name, cell)| (name.to_string(), cell)).into()
}

#[cfg(test)]
mod tests {
    use super::super::metrics::{LOSS, Metrics};
    use super::*;

    const METRICS: [Metric; 2] =
        [Metric { name: LOSS, axis: "nats", share: false }, Metric { name: "accuracy", axis: "%", share: true }];

    fn stage(name: &'static str) -> Stage {
        Stage { name, epochs: 1, rate: 1.0, rate_key: "rate", begins: "it begins" }
    }

    fn row(stage: &str, step: u64, validated: bool) -> EpochRow {
        let mut metrics = Metrics::default();
        metrics.add("accuracy", 1.0, 2);
        metrics.add(LOSS, 0.75, 1);
        let mut train = metrics.clone();
        train.add("usage", 3.0, 1);
        EpochRow {
            stage: stage.to_string(),
            epoch: 1,
            step,
            learning_rate: 0.25,
            train,
            validation: if validated { metrics } else { Metrics::default() },
            forward_equivalents: 3.0,
            skipped_directions: 0,
        }
    }

    #[test]
    fn columns_by_name_and_empty_cells() {
        let stages = [stage("float"), stage("quantized")];
        let rate = |stage: usize, step: u64| stage as f64 + step as f64;
        let log =
            Log { stages: &stages, metrics: &METRICS, measured: &["flips", "cosine"], steps_an_epoch: 2, rate: &rate };
        let values = vec![("flips".to_string(), Some(0.5)), ("cosine".to_string(), None)];
        let measured = |step| Measurement { stage: "quantized".to_string(), step, values: values.clone() };
        let rows = [row("float", 2, true), row("quantized", 2, false)];
        // The last one waits for the end of its epoch.
        let csv = log.csv(&rows, &[measured(1), measured(3)]);
        let expected = "stage,epoch,step,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy,\
                        forward_equivalents,skipped_directions,flips,cosine,train_usage\n\
                        float,1,2,0.25,0.75,0.5,0.75,0.5,3,0,,,3\n\
                        quantized,1,1,1,,,,,,,0.5,,\n\
                        quantized,1,2,0.25,0.75,0.5,,,3,0,,,3\n";
        assert_eq!(csv, expected);
        let curve = log.curve(&rows).unwrap();
        for word in ["loss", "accuracy", "usage", "training", "validation", "it begins"] {
            assert!(curve.contains(word), "{word}");
        }
    }
}
