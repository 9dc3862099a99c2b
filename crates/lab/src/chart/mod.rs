//! Charts as SVG pictures: panels of curves with bands and marks, and one legend.
//!
//! A [`Chart`] describes the picture and [`draw`] makes it. A series is known by its name: the same name looks the same
//! in all panels. No text and no legend ever lies on the data.

mod data;
pub(crate) mod graph;
mod legend;
mod look;
mod palette;
mod panel;
mod scale;
mod svg;

use std::array;

pub use data::{Chart, Mark, Panel, Series, Style};
use legend::Legend;
use panel::Plot;
pub use scale::Scale;
use svg::SPACE;

/// Draws the chart as an SVG picture, or says what is wrong with its description.
pub fn draw(chart: &Chart) -> Result<String, String> {
    let panels = &chart.panels;
    for Series { name, points, band, .. } in panels.iter().flat_map(|panel| &panel.series) {
        if !band.is_empty() && band.len() != points.len() {
            return Err(format!("series `{name}`: {} points, but a band of {} pairs", points.len(), band.len()));
        }
    }
    let frame = match panels.len() {
        0 => return Err("a chart needs a panel".to_string()),
        1 => (540.0, 340.0),
        _ => (400.0, 280.0),
    };
    let plots: Vec<Plot<'_>> = panels.iter().map(|panel| Plot::new(panel, frame)).collect();
    // All panels get the same margins, so that their frames stand in line.
    let widest = |a: [f64; 4], b: [f64; 4]| array::from_fn(|side| a[side].max(b[side]));
    let [left, right, top, bottom] = plots.iter().map(Plot::margins).fold([0.0; 4], widest);
    let step = left + frame.0 + right + SPACE;
    let mut legend = Legend::new(panels);
    let together = (SPACE + step * plots.len() as f64, SPACE + top + frame.1 + bottom + SPACE);
    let (size, at) = legend.beside(together, SPACE + top);
    Ok(svg::picture(size, |canvas| {
        for (index, plot) in plots.iter().enumerate() {
            plot.draw(&canvas.at((SPACE + step * index as f64 + left, SPACE + top)), top, &legend);
        }
        legend.draw(&canvas.at(at));
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture of panels, after a look at what must hold for every picture.
    pub(in crate::chart) fn drawn(panels: impl IntoIterator<Item = Panel>) -> String {
        let svg = draw(&Chart::new(panels)).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        svg
    }

    /// All texts of a picture.
    pub(in crate::chart) fn texts(svg: &str) -> Vec<&str> {
        let inside = svg.split("<text").skip(1).filter_map(|part| part.split_once('>')?.1.split_once("</text>"));
        inside.map(|(text, _)| text.trim()).collect()
    }

    #[test]
    fn any_values_give_pictures_with_short_numbers() {
        let values = [0.0, 1.0, -2.0, 0.1 + 0.2, 0.3, 1e-250, 1e-260, -1e250, 1e250, f64::MAX, f64::NAN, f64::INFINITY];
        for (a, b) in values.into_iter().flat_map(|a| values.map(|b| (a, b))) {
            for scale in [Scale::Linear, Scale::Log] {
                let points = Series::line("a", [(a, b), (123456789.0, a), (b, 1e-12)]).band([(a, b); 3]);
                let panel = Panel::default().scales(scale, scale).with(points).with_mark(Mark::horizontal(b, "b"));
                let svg = drawn([panel]);
                for text in texts(&svg) {
                    assert!(text.len() <= 9 || text.contains("draw"), "{a} {b} {scale:?} {text}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_description_is_refused() {
        assert!(draw(&Chart::new([])).unwrap_err().contains("panel"));
        let short = Series::line("a", [(0.0, 0.0), (1.0, 1.0)]).band([(0.0, 1.0)]);
        assert!(draw(&Chart::new([Panel::default().with(short)])).unwrap_err().contains("2 points"));
    }
}
