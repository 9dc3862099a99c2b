//! The picture of a run: loss and accuracy by epoch.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::train::EpochRow;

const TRAIN: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const TEST: RGBColor = RGBColor(0xd6, 0x27, 0x28);

/// Loss and accuracy, on training and held-out images, as an SVG picture; a line marks where quantisation begins.
pub(crate) fn training_curve(rows: &[EpochRow], float_epochs: u64) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (960, 400)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let (left, right) = area.split_horizontally(480);
        let begins = float_epochs as f64 + 0.5;
        let points = |pick: fn(&EpochRow) -> f64| points(rows, pick);
        panel(
            &left,
            "loss (cross-entropy, nats)",
            begins,
            &points(|row| row.train_loss),
            &points(|row| row.test_loss),
        )?;
        panel(
            &right,
            "accuracy (%)",
            begins,
            &points(|row| 100.0 * row.train_accuracy),
            &points(|row| 100.0 * row.test_accuracy),
        )?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn points(rows: &[EpochRow], pick: fn(&EpochRow) -> f64) -> Vec<(f64, f64)> {
    rows.iter().enumerate().map(|(index, row)| (index as f64 + 1.0, pick(row))).collect()
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    begins: f64,
    train: &[(f64, f64)],
    test: &[(f64, f64)],
) -> Result<(), String> {
    let values = || train.iter().chain(test).map(|point| point.1);
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let margin = ((high - low) * 0.05).max(1e-6);
    let last = train.len().max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(1.0..last, low - margin..high + margin)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels(train.len().clamp(2, 10))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(WHITE)
        .draw()
        .map_err(|error| error.to_string())?;
    let mark = [(begins, low - margin), (begins, high + margin)];
    chart
        .draw_series(LineSeries::new(mark, BLACK.mix(0.4)))
        .map_err(|error| error.to_string())?
        .label("quantisation begins")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.mix(0.4)));
    for (name, colour, points) in [("training", TRAIN, train), ("held out", TEST, test)] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(|error| error.to_string())?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let position =
        if title.starts_with("loss") { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::LowerRight };
    let labels = chart.configure_series_labels().position(position).background_style(WHITE.mix(0.8)).draw();
    labels.map_err(|error| error.to_string())
}
