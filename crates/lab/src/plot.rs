//! The picture of a run: its metrics by epoch.

use crate::chart::{self, Chart, Mark, Panel, Series};

/// A metric, on training and on validation data.
pub(crate) struct Curve {
    /// What it is.
    pub title: String,
    /// The label of its axis.
    pub axis: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a curve.
pub(crate) struct Line {
    /// On which data.
    pub name: String,
    /// Epoch and value.
    pub points: Vec<(f64, f64)>,
}

/// Curves side by side as an SVG picture; `begins` are epochs at which something begins, and what.
pub(crate) fn curves<'a>(
    panels: impl IntoIterator<Item = Curve>,
    begins: impl IntoIterator<Item = (f64, &'a str)>,
) -> Result<String, String> {
    let marks: Vec<Mark> = begins.into_iter().map(|(at, label)| Mark::vertical(at, label)).collect();
    let panels = panels.into_iter().map(|Curve { title, axis, lines }| {
        let panel = Panel::new(title, "epoch", axis);
        let panel =
            lines.into_iter().fold(panel, |panel, Line { name, points }| panel.with(Series::line(name, points)));
        marks.iter().fold(panel, |panel, mark| panel.with_mark(mark.clone()))
    });
    chart::draw(&Chart::new(panels))
}
