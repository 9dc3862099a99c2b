//! Charts as SVG pictures: panels of curves with bands and marks, and one legend.
//!
//! A [`Chart`] describes the picture and [`draw`] makes it. A series is known by its name: the same name looks the same
//! in all panels. No text and no legend ever lies on the data.

pub(crate) mod graph;
mod legend;
mod palette;
mod panel;
mod scale;
mod svg;

use std::array;

use legend::Legend;
use panel::Plot;
pub use scale::Scale;

/// A picture of panels side by side.
#[derive(Clone, Debug)]
pub struct Chart {
    panels: Vec<Panel>,
}

/// One pair of axes and what is drawn between them. The axes are as long as the series and horizontal marks demand.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    title: String,
    x_label: String,
    y_label: String,
    x_scale: Scale,
    y_scale: Scale,
    /// The last one lies on top.
    series: Vec<Series>,
    marks: Vec<Mark>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    /// Lower and upper end for each point, or nothing.
    band: Vec<(f64, f64)>,
    style: Style,
}

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// By a line, with markers on the points if there are 20 or fewer. From the eighth series on, dashes and a few
    /// markers tell it from the earlier one of the same colour.
    #[default]
    Line,
    /// By a dashed line without markers.
    Dashed,
    /// By a thin grey line without markers, and without a colour of its own: what lies behind the data.
    Quiet,
}

/// A labelled line across a panel.
#[derive(Clone, Debug)]
pub struct Mark {
    at: f64,
    label: String,
    vertical: bool,
}

impl Chart {
    /// A picture of these panels.
    pub fn new(panels: impl IntoIterator<Item = Panel>) -> Self {
        Self { panels: panels.into_iter().collect() }
    }
}

impl Panel {
    /// An empty panel with linear axes.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self { title: title.into(), x_label: x_label.into(), y_label: y_label.into(), ..Self::default() }
    }

    /// The panel with these scales.
    pub fn scales(self, x_scale: Scale, y_scale: Scale) -> Self {
        Self { x_scale, y_scale, ..self }
    }

    /// The panel with one more curve.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The panel with one more mark.
    pub fn with_mark(mut self, mark: Mark) -> Self {
        self.marks.push(mark);
        self
    }

    /// Whether a point has a place on both axes.
    fn has(&self, (x, y): (f64, f64)) -> bool {
        self.x_scale.has(x) && self.y_scale.has(y)
    }
}

impl Series {
    /// A line through points. It breaks at those without a place: not finite, or not positive on a log axis.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), ..Self::default() }
    }

    /// Branches that are not joined, as of a function that jumps.
    pub fn branches(name: impl Into<String>, branches: impl IntoIterator<Item = Vec<(f64, f64)>>) -> Self {
        // A point without a place breaks the line.
        let gap = [(f64::NAN, f64::NAN)];
        Self::line(name, branches.into_iter().flat_map(|branch| branch.into_iter().chain(gap)))
    }

    /// The series in this style. The first one of a name decides for all panels.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// The series with a band of these lower and upper ends, one pair for each point.
    pub fn band(self, band: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { band: band.into_iter().collect(), ..self }
    }
}

impl Mark {
    /// A line at a value of the horizontal axis, with its label above the panel; not drawn where the axis ends before.
    pub fn vertical(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), vertical: true }
    }

    /// A line at a value of the vertical axis, which is stretched to show it, with its label right of the panel.
    pub fn horizontal(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), vertical: false }
    }
}

/// Space around the picture and between panels.
const SPACE: f64 = 14.0;

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
