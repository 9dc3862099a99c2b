//! What a picture shows: panels, curves, marks.

use super::scale::Scale;

/// A picture of panels side by side.
#[derive(Clone, Debug)]
pub struct Chart {
    pub(super) panels: Vec<Panel>,
}

/// One pair of axes and what is drawn between them. The axes are as long as the series and horizontal marks demand.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    pub(super) title: String,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) x_scale: Scale,
    pub(super) y_scale: Scale,
    /// The last one lies on top.
    pub(super) series: Vec<Series>,
    pub(super) marks: Vec<Mark>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Lower and upper end for each point, or nothing.
    pub(super) band: Vec<(f64, f64)>,
    pub(super) style: Style,
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
    pub(super) at: f64,
    pub(super) label: String,
    pub(super) vertical: bool,
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
    pub(super) fn has(&self, (x, y): (f64, f64)) -> bool {
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
