use hardgrad::ops::ReluSurrogate;
use hardgrad::theory::{CriticalPoint, TwoLayer, saddle, spurious_minimum};

use super::along::Along;
use super::report::TwoLayerReport;
use super::request::Request;
use crate::chart::{Chart, Panel, Scale, Series, Style};

/// Paths over the loss surface, and angle and loss along the way from the first start.
pub(super) fn to_chart(report: &TwoLayerReport) -> Chart {
    // Random starts lie outside this plane.
    let known = report.saddle_angle.is_some();
    let exact = || report.paths.iter().filter(|walk| !(walk.sampled || known && walk.start == "random"));
    let places = exact().flat_map(|walk| &walk.points).map(|point| point[3]).filter(|place| place.is_finite());
    let (low, high) =
        places.fold((-0.2f64, 1.2f64), |(low, high), place| (low.min(place - 0.1), high.max(place + 0.1)));
    let (low, high) = (low.max(-2.0), high.min(3.0));
    let mut surface = Panel::new(
        "paths over the loss (grey: equal loss)",
        "angle between w and w* (degrees)",
        if known { "v: 0 spurious, 1 teacher" } else { "v: 0 opposite, 1 teacher" },
    );
    surface = surface.with(Series::branches("equal loss", level_lines(report, low, high)).style(Style::Quiet));
    let first = report.paths.first().map_or("", |walk| walk.start);
    let near = first.replace('_', " ");
    let mut angle = Panel::new(format!("angle, start: {near}"), "step", "degrees");
    let mut loss = Panel::new(format!("loss, start: {near}"), "step", "loss").scales(Scale::Linear, Scale::Log);
    for surrogate in ReluSurrogate::ALL.iter().map(|surrogate| surrogate.name()) {
        let walks = exact().filter(|walk| walk.surrogate == surrogate);
        // A filter that passes through 0 turns at once: no path joins the two sides.
        let paths = walks.flat_map(|walk| walk.points.chunk_by(|a, b| (a[2] - b[2]).abs() < 45.0));
        let paths = paths.filter(|points| points.len() > 2);
        let paths = paths.map(|points| points.iter().map(|[_, _, angle, place]| (*angle, *place)).collect());
        surface = surface.with(Series::branches(surrogate, paths));
    }
    let place = |point: &CriticalPoint| (point.angle.to_degrees(), Along::new(&report.v_star).place(&point.v));
    if let Some(point) = spurious_minimum(&report.v_star) {
        surface = surface.with(Series::line("spurious minimum", [place(&point)]));
    }
    if let Some(point) = saddle(&report.v_star) {
        surface = surface.with(Series::line("saddle", [place(&point)]));
    }
    surface = surface.with(Series::line("teacher", [(0.0, 1.0)]));
    for walk in report.paths.iter().filter(|walk| walk.start == first) {
        let (name, style) = match walk.sampled {
            true => (format!("{}, {} samples", walk.surrogate, report.request.samples), Style::Dashed),
            false => (walk.surrogate.to_string(), Style::Line),
        };
        let points = |pick: fn(&[f64; 4]) -> f64| walk.points.iter().map(move |point| (point[0], pick(point)));
        angle = angle.with(Series::line(name.as_str(), points(|point| point[2])).style(style));
        loss = loss.with(Series::line(name.as_str(), points(|point| point[1])).style(style));
    }
    Chart::new([surface, angle, loss])
}

/// Cells of the grid on which level lines are found, and the number of levels.
const CELLS: usize = 60;
const LEVELS: usize = 14;

/// Pieces of level lines of the loss in the plane of angle and place.
fn level_lines(report: &TwoLayerReport, low: f64, high: f64) -> Vec<Vec<(f64, f64)>> {
    let Request { v_star, .. } = &report.request;
    let along = Along::new(v_star);
    let w_star = report.request.w_star();
    let part = |index: usize| index as f64 / CELLS as f64;
    let at = |column: usize, row: usize| (180.0 * part(column), low + (high - low) * part(row));
    let loss = |column: usize, row: usize| {
        let (angle, place) = at(column, row);
        let (v, w) = (along.at(place), report.request.filter_at(angle.to_radians(), 1.0));
        TwoLayer::new(&v, &w, v_star, &w_star).map_or(f64::NAN, |network| network.loss())
    };
    let grid: Vec<Vec<f64>> = (0..=CELLS).map(|column| (0..=CELLS).map(|row| loss(column, row)).collect()).collect();
    let most = grid.iter().flatten().copied().fold(0.0, f64::max);
    let mut pieces = Vec::new();
    for level in 1..=LEVELS {
        // Closer together where the loss is small.
        let level = most * (level as f64 / (LEVELS + 1) as f64).powi(2);
        for (column, row) in (0..CELLS).flat_map(|column| (0..CELLS).map(move |row| (column, row))) {
            let corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)];
            let crossings: Vec<(f64, f64)> = (0..4)
                .filter_map(|side| {
                    let (from, to) = (corners[side], corners[(side + 1) % 4]);
                    let (a, b) = (grid[from.0][from.1] - level, grid[to.0][to.1] - level);
                    let share = a / (a - b);
                    let ((x, y), (to_x, to_y)) = (at(from.0, from.1), at(to.0, to.1));
                    ((a < 0.0) != (b < 0.0)).then_some((x + share * (to_x - x), y + share * (to_y - y)))
                })
                .collect();
            pieces.extend(crossings.chunks_exact(2).map(<[_]>::to_vec));
        }
    }
    pieces
}
