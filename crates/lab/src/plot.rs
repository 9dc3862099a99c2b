//! The picture of a run: loss and accuracy by epoch.

use crate::chart::{self, Chart, Mark, Panel, Series};
use crate::train::EpochRow;

/// Loss and accuracy, on training and held-out images, as an SVG picture; a line marks where quantisation begins.
pub(crate) fn training_curve(rows: &[EpochRow], float_epochs: u64) -> Result<String, String> {
    let series = |name: &str, pick: fn(&EpochRow) -> f64| {
        Series::line(name, rows.iter().enumerate().map(|(index, row)| (index as f64 + 1.0, pick(row))))
    };
    // Between the last float epoch and the first quantised one.
    let begins = Mark::vertical(float_epochs as f64 + 0.5, "quantisation begins");
    let loss = Panel::new("loss", "epoch", "cross-entropy (nats)")
        .with(series("training", |row| row.train_loss))
        .with(series("held out", |row| row.test_loss))
        .with_mark(begins.clone());
    let accuracy = Panel::new("accuracy", "epoch", "classified correctly (%)")
        .with(series("training", |row| 100.0 * row.train_accuracy))
        .with(series("held out", |row| 100.0 * row.test_accuracy))
        .with_mark(begins);
    chart::draw(&Chart::new([loss, accuracy]))
}
