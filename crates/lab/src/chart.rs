//! Charts as SVG pictures: panels of curves with bands and marks, and a legend beside them.
//!
//! A [`Chart`] describes the picture and [`draw`] makes it. Colours go by the name of a series, so the same name looks
//! the same in all panels. No text and no legend ever lies on the data.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A picture of one or more panels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// A line above all panels.
    pub title: Option<String>,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels in a row; where absent, it follows from their number.
    pub columns: Option<usize>,
    /// Where the names of the series stand.
    pub legend: Legend,
}

/// Where the names of the series stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legend {
    /// Below each panel where no two panels share a series; else below all panels where two lines suffice, else right.
    #[default]
    Automatic,
    /// Once, to the right of all panels.
    Right,
    /// Once, below all panels.
    Below,
    /// Below each panel, its own series.
    PerPanel,
    /// Nowhere.
    Hidden,
}

/// One pair of axes and what is drawn between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// The line above.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis counts.
    pub y_label: String,
    /// Scale of the horizontal axis.
    pub x_scale: Scale,
    /// Scale of the vertical axis.
    pub y_scale: Scale,
    /// First and last value of the horizontal axis; where absent, they follow from the series.
    pub x_limits: Option<(f64, f64)>,
    /// First and last value of the vertical axis; where absent, they follow from the series and horizontal marks.
    pub y_limits: Option<(f64, f64)>,
    /// The curves, the last one on top.
    pub series: Vec<Series>,
    /// Lines across the panel.
    pub marks: Vec<Mark>,
}

/// How values become places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps, equal distances.
    #[default]
    Linear,
    /// Equal ratios, equal distances; zero and negative values have no place.
    Log,
}

/// A curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The name in the legend; it decides the colour. An empty one is not listed.
    pub name: String,
    /// The points. One without a place (not finite, or not positive on a log axis) is left out, and the line breaks
    /// there.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper end of a translucent band, one pair for each point.
    pub band: Option<Vec<(f64, f64)>>,
    /// How the points are joined.
    pub style: Style,
    /// Circles at the ends of the branches of a function that jumps.
    pub ends: Vec<End>,
}

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// By a line. From the eighth series on, a few markers tell it from the earlier one of the same colour.
    #[default]
    Line,
    /// By a line with a marker on each point; markers that would touch the one before are left out.
    LineDots,
    /// By a dashed line.
    Dashed,
}

/// The end of a branch of a function that jumps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    /// Where it is.
    pub at: (f64, f64),
    /// Whether the function has this value there (a full circle) or only tends to it (an open one).
    pub attained: bool,
}

/// A labelled line across a panel. One that lies outside the panel's axes is not drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The value that it marks.
    pub at: f64,
    /// The words at its end.
    pub label: String,
    /// Which way it runs.
    pub direction: Direction,
}

/// Which way a mark runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It marks a value of the horizontal axis; its label stands above the panel.
    Vertical,
    /// It marks a value of the vertical axis, which is stretched to show it; its label stands right of the panel.
    Horizontal,
}

impl Chart {
    /// A picture of these panels.
    pub fn new(panels: impl IntoIterator<Item = Panel>) -> Self {
        Self { panels: panels.into_iter().collect(), ..Self::default() }
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
}

impl Series {
    /// A line through points.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), ..Self::default() }
    }

    /// Branches that are not joined, as of a function that jumps.
    pub fn branches<I: IntoIterator<Item = (f64, f64)>>(
        name: impl Into<String>,
        branches: impl IntoIterator<Item = I>,
    ) -> Self {
        // A point without a place breaks the line.
        let gap = [(f64::NAN, f64::NAN)];
        Self::line(name, branches.into_iter().flat_map(|branch| branch.into_iter().chain(gap)))
    }

    /// The series in this style.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// The series with a band of these lower and upper ends, one pair for each point.
    pub fn band(self, band: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { band: Some(band.into_iter().collect()), ..self }
    }

    /// The series with one more end of a branch.
    pub fn end(mut self, at: (f64, f64), attained: bool) -> Self {
        self.ends.push(End { at, attained });
        self
    }
}

impl Mark {
    /// A vertical line at a value of the horizontal axis.
    pub fn vertical(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), direction: Direction::Vertical }
    }

    /// A horizontal line at a value of the vertical axis.
    pub fn horizontal(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), direction: Direction::Horizontal }
    }
}

/// Draws the chart as an SVG picture, or says what is wrong with its description.
pub fn draw(chart: &Chart) -> Result<String, String> {
    check(chart)?;
    let entries = entries(&chart.panels);
    let columns = chart.columns.unwrap_or(match chart.panels.len() {
        count @ ..=3 => count,
        4 => 2,
        5..=6 | 9 => 3,
        _ => 4,
    });
    let columns = columns.min(chart.panels.len());
    let plots: Vec<Plot<'_>> = chart.panels.iter().map(|panel| Plot::new(panel, plot_size(columns))).collect();
    let layout = Layout::new(chart, &plots, &entries, columns);
    let size = (layout.size.0.ceil() as u32, layout.size.1.ceil() as u32);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 * FINE, size.1 * FINE)).into_drawing_area();
        area.fill(&WHITE).map_err(shown)?;
        paint(&Canvas { area: &area, origin: (0.0, 0.0) }, chart, &plots, &entries, &layout)?;
        area.present().map_err(shown)?;
    }
    // The viewer shrinks the fine grid back. Round joints keep noisy curves from growing spikes.
    let fine = format!("width=\"{}\" height=\"{}\"", size.0 * FINE, size.1 * FINE);
    let plain = format!("width=\"{}\" height=\"{}\" stroke-linejoin=\"round\"", size.0, size.1);
    Ok(with_dashes(&svg.replacen(&fine, &plain, 1)))
}

/// A place in the picture, in pixels from the upper left.
type Point = (f64, f64);

/// Plotters knows whole pixels only, which makes curves wobble; so the grid is this much finer than the pixels.
const FINE: u32 = 10;

/// Plotters divides the size of SVG fonts by this.
const FONT_UNIT: f64 = 1.24;

/// Colours that stay apart for the colour-blind (Okabe and Ito), without their yellow, which is faint on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    BLACK,
];

/// Markers that go with the colours: corners of a regular polygon, and the turn of the first one from the top, degrees.
const SHAPES: [(u32, f64); 7] = [(24, 0.0), (4, 45.0), (3, 0.0), (4, 0.0), (3, 180.0), (3, 90.0), (5, 0.0)];

/// Lengths drawn and left out in turn, on the fine grid: whole lines, those of [`Style::Dashed`] and of marks, and
/// others that tell apart series of the same colour.
const DASHES: [&str; 5] = ["", "50 35", "75 30", "20 25", "80 30 20 30"];

/// Index of the dashes of [`Style::Dashed`] and of marks.
const DASHED: usize = 1;

/// Plotters has no dashes for SVG; so a line's width says which, as a multiple of this, until the picture is complete.
const CODE: usize = 1000;

const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const QUIET: RGBColor = RGBColor(0x55, 0x55, 0x55);
const FRAME: RGBColor = RGBColor(0x80, 0x80, 0x80);
const GRID: RGBColor = RGBColor(0xe8, 0xe8, 0xe8);

const LINE_WIDTH: f64 = 1.7;
const TICK: f64 = 4.0;
const TICK_FONT: f64 = 11.5;
const LABEL_FONT: f64 = 12.5;
const TITLE_FONT: f64 = 13.5;
const CHART_FONT: f64 = 15.5;
/// Texts that are too long shrink as far as this, then they are cut.
const SMALLEST: f64 = 9.5;
/// Height of a line of labels or of the legend.
const ROW: f64 = 18.0;
/// Space around the picture and between panels.
const SPACE: f64 = 14.0;
/// Length of the line before a name in the legend, with the space after it.
const SAMPLE: f64 = 40.0;
const COLUMN_GAP: f64 = 20.0;

/// Width and height of a panel's frame where `columns` panels share a row.
fn plot_size(columns: usize) -> Point {
    match columns {
        1 => (540.0, 340.0),
        2 => (400.0, 280.0),
        3 => (320.0, 250.0),
        _ => (260.0, 210.0),
    }
}

/// The picture with dashes for the widths that [`Pen::coded`] made. Quotes in texts are escaped, so no text is hit.
fn with_dashes(svg: &str) -> String {
    const WIDTH: &str = "stroke-width=\"";
    let mut parts = svg.split(WIDTH);
    let mut dashed = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (coded, rest) = part.split_once('"').unwrap_or_default();
        let coded: usize = coded.parse().unwrap_or_default();
        dashed.push_str(&format!("{WIDTH}{}\"", coded % CODE));
        if let Some(lengths) = DASHES.get(coded / CODE).filter(|lengths| !lengths.is_empty()) {
            dashed.push_str(&format!(" stroke-dasharray=\"{lengths}\""));
        }
        dashed.push_str(rest);
    }
    dashed
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn check(chart: &Chart) -> Result<(), String> {
    if chart.panels.is_empty() || chart.columns == Some(0) {
        return Err("a chart needs a panel and a column".to_string());
    }
    for panel in &chart.panels {
        for (limits, scale) in [(panel.x_limits, panel.x_scale), (panel.y_limits, panel.y_scale)] {
            if let Some((low, high)) = limits
                && !(scale.has(low) && scale.has(high) && scale.coordinate(low) < scale.coordinate(high))
            {
                return Err(format!("panel `{}`: {low} to {high} are no limits of a {scale:?} axis", panel.title));
            }
        }
        for series in &panel.series {
            let points = series.points.len();
            if let Some(pairs) = series.band.as_ref().map(Vec::len).filter(|&pairs| pairs != points) {
                return Err(format!("series `{}`: {points} points, but a band of {pairs} pairs", series.name));
            }
        }
    }
    Ok(())
}

/// A line of the legend; its index decides how the series looks.
struct Entry<'a> {
    text: String,
    name: &'a str,
    style: Style,
    band: bool,
    /// How many panels have the series.
    panels: usize,
}

/// The names of all series in order of appearance.
fn entries(panels: &[Panel]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut drawn: Vec<bool> = Vec::new();
    for panel in panels {
        let mut here = Vec::new();
        for series in &panel.series {
            let index = entries.iter().position(|entry| entry.name == series.name).unwrap_or_else(|| {
                let (name, style) = (series.name.as_str(), series.style);
                entries.push(Entry { text: name.to_string(), name, style, band: false, panels: 0 });
                drawn.push(false);
                entries.len() - 1
            });
            entries[index].band |= series.band.is_some();
            let mut places = series.points.iter().copied().chain(series.ends.iter().map(|end| end.at));
            drawn[index] |= places.any(|point| panel.has(point));
            if !here.contains(&index) {
                here.push(index);
                entries[index].panels += 1;
            }
        }
    }
    for (entry, _) in entries.iter_mut().zip(drawn).filter(|(_, drawn)| !drawn) {
        // Else the reader would search for the curve.
        entry.text.push_str(" (nothing to draw)");
    }
    entries
}

impl Scale {
    /// Whether a value has a place. The bounds keep sums and ratios of values finite.
    fn has(self, value: f64) -> bool {
        match self {
            Self::Linear => value.abs() <= 1e300,
            Self::Log => (1e-300..=1e300).contains(&value),
        }
    }

    fn coordinate(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// Lowest and highest coordinate of an axis that shows these values with some space around them.
    fn range(self, values: &[f64], space: f64) -> (f64, f64) {
        let coordinates = values.iter().map(|&value| self.coordinate(value));
        let (low, high) = coordinates.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(c), h.max(c)));
        if low > high {
            return (0.0, 1.0);
        }
        let (middle, span) = (low / 2.0 + high / 2.0, high - low);
        let largest = low.abs().max(high.abs());
        // Narrower axes would need labels of more than six digits.
        let narrowest = match self {
            Self::Linear => largest * 1e-5,
            Self::Log => 1e-4,
        };
        let half = match self {
            _ if span > narrowest && largest > 1e-290 => span * (0.5 + space),
            _ if span > 0.0 && largest > 1e-290 => narrowest,
            Self::Linear if largest > 1e-290 => largest * 0.1,
            Self::Linear => 1.0,
            Self::Log => 0.5,
        };
        (middle - half, middle + half)
    }
}

/// An axis: where values lie along it, and what is written beside it.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    length: f64,
    /// Long ticks with their labels: value and text.
    labels: Vec<(f64, String)>,
    /// Values of short ticks.
    minor: Vec<f64>,
}

impl Axis {
    /// The axis from `low` to `high` (coordinates) with as many labels as fit.
    fn new(scale: Scale, (low, high): (f64, f64), length: f64, whole: bool, horizontal: bool) -> Self {
        let mut axis = Self { scale, low, high, length, labels: Vec::new(), minor: Vec::new() };
        let most = (length / if horizontal { 36.0 } else { 34.0 }) as usize;
        for most in (1..=most.max(1)).rev() {
            (axis.labels, axis.minor) = match scale {
                Scale::Linear => (linear_ticks(low, high, most, whole), Vec::new()),
                Scale::Log => log_ticks(low, high, most),
            };
            let extent = |label: &str| if horizontal { text_width(label, TICK_FONT) + 10.0 } else { TICK_FONT * 1.3 };
            let fits = axis.labels.windows(2).all(|pair| {
                axis.place(pair[1].0) - axis.place(pair[0].0) >= (extent(&pair[0].1) + extent(&pair[1].1)) / 2.0
            });
            if fits {
                break;
            }
        }
        axis
    }

    /// Distance from the axis's beginning, in pixels; outside the axis it is negative or beyond its length.
    fn place(&self, value: f64) -> f64 {
        (self.scale.coordinate(value) - self.low) / (self.high - self.low) * self.length
    }

    /// The place, if the value lies on the axis.
    fn place_within(&self, value: f64) -> Option<f64> {
        let place = self.scale.has(value).then(|| self.place(value))?;
        (-0.01..=self.length + 0.01).contains(&place).then_some(place)
    }
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, in at most `most` steps; `whole` forbids fractions.
fn linear_ticks(low: f64, high: f64, most: usize, whole: bool) -> Vec<(f64, String)> {
    let finest = (high - low) / most as f64;
    let power = finest.log10().floor() as i32;
    let factor = [1, 2, 5].into_iter().find(|&factor| f64::from(factor) * 10f64.powi(power) >= finest * 0.999_999);
    let (factor, power) = factor.map_or((1, power + 1), |factor| (factor, power));
    let (factor, power) = if whole && power < 0 { (1, 0) } else { (factor, power) };
    let step = f64::from(factor) * 10f64.powi(power);
    let indices = (low / step - 1e-6).ceil() as i64..=(high / step + 1e-6).floor() as i64;
    let largest = low.abs().max(high.abs());
    let plain = largest < 1e6 && (power >= -4 || largest >= 0.1);
    let label = |value: f64| match plain {
        true => format!("{value:.*}", (-power).max(0) as usize),
        false => scientific(value, power),
    };
    indices.map(|index| index as f64 * step).map(|value| (value, label(value))).collect()
}

/// Ticks at powers of ten, or closer where the axis is short.
fn log_ticks(low: f64, high: f64, most: usize) -> (Vec<(f64, String)>, Vec<f64>) {
    let within = |value: &f64| (low - 1e-6..=high + 1e-6).contains(&value.log10());
    let in_decades = |factors: &[f64]| -> Vec<f64> {
        let decades = low.floor() as i32..=high.ceil() as i32;
        let values = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
        values.filter(within).collect()
    };
    let labelled = |values: Vec<f64>| values.into_iter().map(|value| (value, log_label(value))).collect();
    let powers = in_decades(&[1.0]);
    let between = in_decades(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let finer = in_decades(&[1.0, 2.0, 5.0]);
    if high - low < 0.7 {
        // Over a factor of five or less the axis is nearly linear.
        return (linear_ticks(10f64.powf(low), 10f64.powf(high), most, false), Vec::new());
    }
    if powers.len() < 2 || powers.len() == 2 && finer.len() <= most + 1 {
        return (labelled(finer), between);
    }
    let stride = powers.len().div_ceil(most + 1) as i64;
    let on_stride = |value: &f64| (value.log10().round() as i64).rem_euclid(stride) == 0;
    let minor = match powers.len() {
        ..=9 if stride == 1 => between,
        ..=60 => powers.clone(),
        _ => Vec::new(),
    };
    (labelled(powers.into_iter().filter(on_stride).collect()), minor)
}

/// 0.001 to 10000 in full, others as 2e-5.
fn log_label(value: f64) -> String {
    let power = (value.log10() + 1e-9).floor() as i32;
    match power {
        -3..=4 => format!("{value:.*}", (-power).max(0) as usize),
        _ => scientific(value, power),
    }
}

/// The value with digits down to 10^power, as 1.25e-7.
fn scientific(value: f64, power: i32) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    let digits = ((value.abs().log10() + 1e-9).floor() as i32 - power).max(0);
    let text = format!("{value:.*e}", digits as usize);
    match text.split_once('e') {
        Some((front, exponent)) if front.contains('.') => {
            format!("{}e{exponent}", front.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Width of a text in a wide font: which font the viewer has is unknown.
fn text_width(text: &str, size: f64) -> f64 {
    let em = |character: char| match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.33,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 0.41,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
        'A'..='Z' => 0.72,
        character if character.is_ascii() => 0.63,
        // Other scripts may be as wide as high.
        character if character as u32 > 0x2e80 => 1.0,
        _ => 0.68,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// The text with a font size at which it is no longer than `length`; where that could not be read, it is cut.
fn fitted(text: &str, size: f64, length: f64) -> (String, f64) {
    let fitting = size * (length / text_width(text, size).max(1e-9)).min(1.0);
    let size = (fitting * 10.0).floor().max(SMALLEST * 10.0) / 10.0;
    let mut text = text.to_string();
    if text_width(&text, size) > length + 0.1 * size {
        while !text.is_empty() && text_width(&text, size) + size > length {
            text.pop();
        }
        text.push('…');
    }
    (text, size)
}

impl Panel {
    fn has(&self, (x, y): (f64, f64)) -> bool {
        self.x_scale.has(x) && self.y_scale.has(y)
    }
}

/// A panel whose axes are laid out. Its own places are pixels from the upper left of its frame.
struct Plot<'a> {
    panel: &'a Panel,
    x: Axis,
    y: Axis,
    /// Whether nothing has a place; then the axes have no numbers and the marks no place either.
    empty: bool,
}

impl<'a> Plot<'a> {
    fn new(panel: &'a Panel, (width, height): Point) -> Self {
        let coordinates = |(low, high), scale: Scale| (scale.coordinate(low), scale.coordinate(high));
        let points = || panel.series.iter().flat_map(|series| &series.points).copied();
        let ends = || panel.series.iter().flat_map(|series| &series.ends).map(|end| end.at);
        let xs: Vec<f64> = points().chain(ends()).filter(|&point| panel.has(point)).map(|point| point.0).collect();
        let x_range = match panel.x_limits {
            Some(limits) => coordinates(limits, panel.x_scale),
            None => panel.x_scale.range(&xs, 0.025),
        };
        // Half an epoch is no epoch.
        let whole = !xs.is_empty() && xs.iter().all(|x| x.fract() == 0.0);
        let x = Axis::new(panel.x_scale, x_range, width, whole, true);

        let visible = |point: &(f64, f64)| x.place_within(point.0).is_some() && panel.y_scale.has(point.1);
        let mut ys: Vec<f64> = points().chain(ends()).filter(visible).map(|point| point.1).collect();
        for series in &panel.series {
            let pairs = series.points.iter().zip(series.band.iter().flatten());
            for (point, &(low, high)) in pairs.filter(|pair| visible(pair.0)) {
                // On a log axis, a band that nearly reaches zero must not squeeze all curves into the top.
                let low = if panel.y_scale == Scale::Log { low.max(point.1 / 4.0) } else { low };
                ys.extend([low, high].into_iter().filter(|&value| panel.y_scale.has(value)));
            }
        }
        let horizontal = panel.marks.iter().filter(|mark| mark.direction == Direction::Horizontal);
        ys.extend(horizontal.map(|mark| mark.at).filter(|&value| panel.y_scale.has(value)));
        let y_range = match panel.y_limits {
            Some(limits) => coordinates(limits, panel.y_scale),
            None => panel.y_scale.range(&ys, 0.05),
        };
        let y = Axis::new(panel.y_scale, y_range, height, false, false);
        let mut plot = Self { panel, x, y, empty: xs.is_empty() };
        if plot.empty {
            for axis in [&mut plot.x, &mut plot.y] {
                axis.labels.clear();
                axis.minor.clear();
            }
        }
        plot
    }

    /// From the frame to the left end of the vertical axis's numbers.
    fn numbers_width(&self) -> f64 {
        TICK + 4.0 + self.y.labels.iter().map(|label| text_width(&label.1, TICK_FONT)).fold(0.0, f64::max)
    }

    fn size(&self) -> Point {
        (self.x.length, self.y.length)
    }

    fn place(&self, (x, y): (f64, f64)) -> Point {
        (self.x.place(x), self.y.length - self.y.place(y))
    }

    fn place_within(&self, (x, y): (f64, f64)) -> Option<Point> {
        Some((self.x.place_within(x)?, self.y.length - self.y.place_within(y)?))
    }

    /// Labels of vertical marks: middle, the row above the frame, font size, text.
    fn labels_above(&self) -> Vec<(f64, usize, f64, String)> {
        let mut labels: Vec<(f64, usize, f64, String)> = Vec::new();
        for (place, mark) in self.marks(Direction::Vertical).filter(|(_, mark)| !mark.label.is_empty()) {
            let (text, font) = fitted(&mark.label, TICK_FONT, self.x.length);
            let half = text_width(&text, font) / 2.0;
            let middle = place.min(self.x.length - half).max(half);
            let taken = |row: usize| {
                labels.iter().any(|(other, other_row, font, text)| {
                    row == *other_row && (middle - other).abs() < half + text_width(text, *font) / 2.0 + 8.0
                })
            };
            let row = (0..).find(|&row| !taken(row)).unwrap_or_default();
            labels.push((middle, row, font, text));
        }
        labels
    }

    /// Labels of horizontal marks: height in the frame, moved apart where they would touch, and text.
    fn labels_right(&self) -> Vec<(f64, &'a str)> {
        let marks = self.marks(Direction::Horizontal).filter(|(_, mark)| !mark.label.is_empty());
        let mut labels: Vec<(f64, &str)> =
            marks.map(|(place, mark)| (self.y.length - place, mark.label.as_str())).collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let distance = TICK_FONT * 1.2;
        for index in 1..labels.len() {
            labels[index].0 = labels[index].0.max(labels[index - 1].0 + distance);
        }
        // Those pushed below the frame come up again.
        let mut lowest = self.y.length;
        for label in labels.iter_mut().rev() {
            label.0 = label.0.min(lowest);
            lowest = label.0 - distance;
        }
        labels
    }

    fn marks(&self, direction: Direction) -> impl Iterator<Item = (f64, &'a Mark)> + '_ {
        let axis = if direction == Direction::Vertical { &self.x } else { &self.y };
        let shown = !self.empty;
        let marks = self.panel.marks.iter().filter(move |mark| shown && mark.direction == direction);
        marks.filter_map(|mark| Some((axis.place_within(mark.at)?, mark)))
    }
}

/// Names in rows and columns, filled column by column.
struct Block {
    /// Indices of entries.
    entries: Vec<usize>,
    rows: usize,
    /// Widths of the columns.
    widths: Vec<f64>,
}

impl Block {
    fn new(entries: &[Entry<'_>], listed: Vec<usize>, rows: usize) -> Self {
        let rows = rows.max(1);
        let width = |&index: &usize| SAMPLE + text_width(&entries[index].text, TICK_FONT);
        let widths = listed.chunks(rows).map(|column| column.iter().map(width).fold(0.0, f64::max)).collect();
        Self { entries: listed, rows, widths }
    }

    /// The block with the fewest rows that is no wider than `width`, if any is.
    fn flat(entries: &[Entry<'_>], listed: Vec<usize>, width: f64) -> Self {
        let block = |rows| Self::new(entries, listed.clone(), rows);
        (1..listed.len()).map(block).find(|block| block.size().0 <= width).unwrap_or_else(|| block(listed.len()))
    }

    fn size(&self) -> Point {
        let gaps = self.widths.len().saturating_sub(1) as f64 * COLUMN_GAP;
        let rows = self.rows.min(self.entries.len());
        (self.widths.iter().sum::<f64>() + gaps, rows as f64 * ROW)
    }
}

/// Where everything stands.
struct Layout {
    size: Point,
    columns: usize,
    /// Upper left of the first panel's frame, and the steps to the next column and row.
    first: Point,
    step: Point,
    /// Space between frame and title.
    above: f64,
    /// From the frame down to the panel's own legend.
    below: f64,
    /// Legends and their upper left.
    legends: Vec<(Point, Block)>,
}

impl Layout {
    fn new(chart: &Chart, plots: &[Plot<'_>], entries: &[Entry<'_>], columns: usize) -> Self {
        let most = |of: &dyn Fn(&Plot<'_>) -> f64| plots.iter().map(of).fold(0.0, f64::max);
        let any = |of: &dyn Fn(&Panel) -> bool| chart.panels.iter().any(of);
        let line = |present: bool, height: f64| if present { height } else { 0.0 };
        let (width, height) = plot_size(columns);
        let rows = plots.len().div_ceil(columns);

        let left = most(&|plot| plot.numbers_width()) + line(any(&|panel| !panel.y_label.is_empty()), 22.0);
        let words =
            most(&|plot| plot.labels_right().iter().map(|l| text_width(l.1, TICK_FONT) + 6.0).fold(0.0, f64::max));
        let last_number = most(&|plot| {
            let ends = plot.x.labels.iter().map(|l| plot.x.place(l.0) + text_width(&l.1, TICK_FONT) / 2.0);
            ends.fold(width, f64::max) - width
        });
        let right = words.max(last_number);
        let above = most(&|plot| plot.labels_above().iter().map(|l| (l.1 + 1) as f64 * 15.0).fold(0.0, f64::max));
        let top = 6.0 + above + line(any(&|panel| !panel.title.is_empty()), 20.0);
        let below = TICK + 16.0 + line(any(&|panel| !panel.x_label.is_empty()), 19.0);
        let heading = line(chart.title.is_some(), 26.0);

        let listed = |panel: Option<&Panel>| -> Vec<usize> {
            let has = |name: &str| panel.is_none_or(|panel| panel.series.iter().any(|series| series.name == name));
            let named = entries.iter().enumerate().filter(|(_, entry)| !entry.name.is_empty() && has(entry.name));
            named.map(|(index, _)| index).collect()
        };
        let panels_width = columns as f64 * (left + width + right) + (columns - 1) as f64 * SPACE;
        let flat = Block::flat(entries, listed(None), panels_width);
        let shared = entries.iter().any(|entry| entry.panels > 1) || plots.len() == 1;
        let legend = match chart.legend {
            Legend::Automatic if !shared => Legend::PerPanel,
            Legend::Automatic if flat.rows <= 2 => Legend::Below,
            Legend::Automatic => Legend::Right,
            given => given,
        };
        let own: Vec<Block> = match legend {
            Legend::PerPanel => {
                let blocks = plots.iter().map(|plot| Block::flat(entries, listed(Some(plot.panel)), left + width));
                blocks.collect()
            }
            _ => Vec::new(),
        };
        let own_height = own.iter().map(|block| block.size().1 + 6.0).fold(0.0, f64::max);
        let own_width = own.iter().map(|block| block.size().0).fold(left + width + right, f64::max);

        let step = (own_width + SPACE, top + height + below + own_height + SPACE);
        let first = (SPACE + left, SPACE + heading + top);
        let size = (SPACE + columns as f64 * step.0, SPACE + heading + rows as f64 * step.1);
        let mut layout = Self { size, columns, first, step, above, below, legends: Vec::new() };
        match legend {
            Legend::PerPanel => {
                for (index, block) in own.into_iter().enumerate() {
                    let (x, y) = layout.frame(index);
                    let start = x + ((width - block.size().0) / 2.0).max(-left);
                    layout.legends.push(((start, y + height + below + 6.0), block));
                }
            }
            Legend::Below => {
                let block = flat.size();
                let middle = size.0.max(block.0 + 2.0 * SPACE) / 2.0;
                layout.first.0 += middle - size.0 / 2.0;
                layout.legends.push(((middle - block.0 / 2.0, size.1 - 4.0), flat));
                layout.size = (2.0 * middle, size.1 + block.1 + line(block.1 > 0.0, 6.0));
            }
            Legend::Right => {
                let tallest = rows as f64 * step.1 - SPACE - top;
                let count = listed(None).len();
                let block_columns = count.div_ceil(((tallest / ROW) as usize).max(1)).max(1);
                let block = Block::new(entries, listed(None), count.div_ceil(block_columns));
                let place = (size.0 + 4.0, first.1 - 2.0);
                layout.size.0 += line(!block.entries.is_empty(), block.size().0 + 4.0 + SPACE);
                layout.legends.push((place, block));
            }
            Legend::Automatic | Legend::Hidden => {}
        }
        layout
    }

    /// Upper left of a panel's frame.
    fn frame(&self, panel: usize) -> Point {
        let (column, row) = (panel % self.columns, panel / self.columns);
        (self.first.0 + column as f64 * self.step.0, self.first.1 + row as f64 * self.step.1)
    }
}

/// How a line is drawn.
#[derive(Clone, Copy)]
struct Pen {
    colour: RGBColor,
    width: f64,
    /// Index of [`DASHES`].
    dashes: usize,
}

impl Pen {
    fn solid(colour: RGBColor, width: f64) -> Self {
        Self { colour, width, dashes: 0 }
    }

    /// The width on the fine grid, and the dashes in its thousands.
    fn coded(self) -> u32 {
        (self.width * f64::from(FINE)).round() as u32 + (self.dashes * CODE) as u32
    }
}

/// How a text is drawn.
#[derive(Clone, Copy)]
struct Type {
    colour: RGBColor,
    size: f64,
    bold: bool,
    upwards: bool,
}

impl Type {
    fn new(colour: RGBColor, size: f64) -> Self {
        Self { colour, size, bold: false, upwards: false }
    }
}

/// What is drawn on; places count from `origin`.
struct Canvas<'a, 'b> {
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
    origin: Point,
}

impl<'a, 'b> Canvas<'a, 'b> {
    fn at(&self, origin: Point) -> Canvas<'a, 'b> {
        Canvas { area: self.area, origin }
    }

    fn fine(&self, (x, y): Point) -> (i32, i32) {
        let fine = |value: f64| (value * f64::from(FINE)).round() as i32;
        (fine(x + self.origin.0), fine(y + self.origin.1))
    }

    fn line(&self, points: &[Point], pen: Pen) -> Result<(), String> {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.fine(point)).collect();
        self.area.draw(&PathElement::new(points, pen.colour.stroke_width(pen.coded()))).map_err(shown)
    }

    fn polygon(&self, points: &[Point], colour: RGBAColor) -> Result<(), String> {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.fine(point)).collect();
        self.area.draw(&Polygon::new(points, colour.filled())).map_err(shown)
    }

    /// A regular polygon; one that is not filled has a thick border.
    fn marker(
        &self,
        at: Point,
        (corners, turn): (u32, f64),
        radius: f64,
        colour: RGBColor,
        filled: bool,
    ) -> Result<(), String> {
        let step = std::f64::consts::TAU / f64::from(corners);
        let polygon = |grown: f64| -> Vec<Point> {
            // Sides that move by `grown` move the corners further.
            let radius = radius + grown / (step / 2.0).cos();
            let angle = |corner: u32| turn.to_radians() + f64::from(corner) * step;
            (0..corners).map(|c| (at.0 + radius * angle(c).sin(), at.1 - radius * angle(c).cos())).collect()
        };
        // A white rim keeps a marker apart from what lies under it.
        self.polygon(&polygon(0.8), WHITE.into())?;
        self.polygon(&polygon(0.1), colour.into())?;
        if filled { Ok(()) } else { self.polygon(&polygon(-1.3), WHITE.into()) }
    }

    fn text(&self, text: &str, at: Point, anchor: HPos, look: Type) -> Result<(), String> {
        // Characters that XML forbids.
        let text = text.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), " ");
        // Plotters centres small letters; capitals and digits are higher.
        let lower = look.size * 0.09;
        let at = if look.upwards { (at.0 + lower, at.1) } else { (at.0, at.1 + lower) };
        let size = (look.size * f64::from(FINE)).round() * FONT_UNIT;
        let weight = if look.bold { FontStyle::Bold } else { FontStyle::Normal };
        let turn = if look.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let font = FontDesc::new(FontFamily::SansSerif, size, weight).transform(turn).color(&look.colour);
        self.area.draw(&Text::new(text, self.fine(at), font.pos(Pos::new(anchor, VPos::Center)))).map_err(shown)
    }
}

fn paint(
    canvas: &Canvas<'_, '_>,
    chart: &Chart,
    plots: &[Plot<'_>],
    entries: &[Entry<'_>],
    layout: &Layout,
) -> Result<(), String> {
    if let Some(title) = &chart.title {
        let (title, size) = fitted(title, CHART_FONT, 0.92 * (layout.size.0 - 2.0 * SPACE));
        let look = Type { bold: true, ..Type::new(TEXT, size) };
        canvas.text(&title, (layout.size.0 / 2.0, SPACE + 8.0), HPos::Center, look)?;
    }
    for (index, plot) in plots.iter().enumerate() {
        let canvas = canvas.at(layout.frame(index));
        axes(&canvas, plot, layout)?;
        let look = |series: &Series| {
            Look::of(entries.iter().position(|entry| entry.name == series.name).unwrap_or_default(), series.style)
        };
        for series in &plot.panel.series {
            band(&canvas, plot, series, &look(series))?;
        }
        frame_and_marks(&canvas, plot)?;
        for series in &plot.panel.series {
            curve(&canvas, plot, series, &look(series))?;
        }
        for series in &plot.panel.series {
            markers(&canvas, plot, series, &look(series))?;
        }
    }
    layout.legends.iter().try_for_each(|(at, block)| legend(&canvas.at(*at), block, entries))
}

fn axes(canvas: &Canvas<'_, '_>, plot: &Plot<'_>, layout: &Layout) -> Result<(), String> {
    let (width, height) = plot.size();
    let (number, label) = (Type::new(TEXT, TICK_FONT), Type::new(TEXT, LABEL_FONT));
    for (value, _) in &plot.x.labels {
        let x = plot.x.place(*value);
        canvas.line(&[(x, 0.0), (x, height)], Pen::solid(GRID, 0.8))?;
    }
    for (value, _) in &plot.y.labels {
        let y = height - plot.y.place(*value);
        canvas.line(&[(0.0, y), (width, y)], Pen::solid(GRID, 0.8))?;
    }
    let tick = Pen::solid(FRAME, 1.0);
    for &value in &plot.x.minor {
        let x = plot.x.place(value);
        canvas.line(&[(x, height), (x, height + TICK / 2.0)], tick)?;
    }
    for &value in &plot.y.minor {
        let y = height - plot.y.place(value);
        canvas.line(&[(0.0, y), (-TICK / 2.0, y)], tick)?;
    }
    for (value, text) in &plot.x.labels {
        let x = plot.x.place(*value);
        canvas.line(&[(x, height), (x, height + TICK)], tick)?;
        canvas.text(text, (x, height + TICK + 9.0), HPos::Center, number)?;
    }
    for (value, text) in &plot.y.labels {
        let y = height - plot.y.place(*value);
        canvas.line(&[(0.0, y), (-TICK, y)], tick)?;
        canvas.text(text, (-TICK - 4.0, y), HPos::Right, number)?;
    }

    let panel = plot.panel;
    // Bold letters are wider.
    let (title, size) = fitted(&panel.title, TITLE_FONT, width * 0.92);
    let bold = Type { bold: true, ..Type::new(TEXT, size) };
    canvas.text(&title, (width / 2.0, -layout.above - 13.0), HPos::Center, bold)?;
    let (text, size) = fitted(&panel.x_label, LABEL_FONT, width);
    canvas.text(&text, (width / 2.0, height + layout.below - 9.0), HPos::Center, Type { size, ..label })?;
    let (text, size) = fitted(&panel.y_label, LABEL_FONT, height);
    let upwards = Type { size, upwards: true, ..label };
    canvas.text(&text, (-plot.numbers_width() - 13.0, height / 2.0), HPos::Center, upwards)?;
    if plot.empty {
        canvas.text("nothing to draw", (width / 2.0, height / 2.0), HPos::Center, Type::new(QUIET, LABEL_FONT))?;
    }
    Ok(())
}

fn frame_and_marks(canvas: &Canvas<'_, '_>, plot: &Plot<'_>) -> Result<(), String> {
    let (width, height) = plot.size();
    let frame = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height), (0.0, 0.0)];
    canvas.line(&frame, Pen::solid(FRAME, 1.0))?;
    let pen = Pen { dashes: DASHED, ..Pen::solid(QUIET, 1.1) };
    for (x, _) in plot.marks(Direction::Vertical) {
        canvas.line(&[(x, -3.0), (x, height)], pen)?;
    }
    for (place, _) in plot.marks(Direction::Horizontal) {
        canvas.line(&[(0.0, height - place), (width + 3.0, height - place)], pen)?;
    }
    for (x, row, size, text) in plot.labels_above() {
        canvas.text(&text, (x, -10.0 - row as f64 * 15.0), HPos::Center, Type::new(QUIET, size))?;
    }
    for (y, text) in plot.labels_right() {
        canvas.text(text, (width + 6.0, y), HPos::Left, Type::new(QUIET, TICK_FONT))?;
    }
    Ok(())
}

/// How a series looks.
struct Look {
    pen: Pen,
    shape: (u32, f64),
    /// Whether its markers are filled.
    filled: bool,
    /// Least distance of markers, and the least place of the first one.
    markers: Option<(f64, f64)>,
}

impl Look {
    /// The look of the series that is number `index` in the order of appearance.
    fn of(index: usize, style: Style) -> Self {
        let (place, round) = (index % COLOURS.len(), index / COLOURS.len());
        let dashes = match (round, style) {
            (0, Style::Dashed) => DASHED,
            (0, _) => 0,
            _ => DASHED + 1 + (round - 1) % (DASHES.len() - DASHED - 1),
        };
        let pen = Pen { colour: COLOURS[place], width: LINE_WIDTH, dashes };
        let markers = match style {
            Style::LineDots => Some((10.0, f64::NEG_INFINITY)),
            // Dashes drown in a noisy curve. The markers of different curves stand apart.
            Style::Line if round > 0 => Some((90.0, 14.0 + 11.0 * place as f64)),
            Style::Line | Style::Dashed => None,
        };
        Self { pen, shape: SHAPES[place], filled: round % 2 == 0, markers }
    }

    fn marker(&self, canvas: &Canvas<'_, '_>, at: Point) -> Result<(), String> {
        // A triangle of the same radius looks smaller.
        let radius = if self.shape.0 == 3 { 4.2 } else { 3.4 };
        canvas.marker(at, self.shape, radius, self.pen.colour, self.filled)
    }

    fn circle(&self, canvas: &Canvas<'_, '_>, at: Point, radius: f64, filled: bool) -> Result<(), String> {
        canvas.marker(at, SHAPES[0], radius, self.pen.colour, filled)
    }
}

fn band(canvas: &Canvas<'_, '_>, plot: &Plot<'_>, series: &Series, look: &Look) -> Result<(), String> {
    // Many bands lie on each other.
    let colour = look.pen.colour.mix(if plot.panel.series.len() <= 4 { 0.18 } else { 0.11 });
    let scale = plot.panel.y_scale;
    let place = |(point, &(low, high)): (&(f64, f64), &(f64, f64))| -> Option<(f64, f64, f64)> {
        let (x, top) = plot.panel.has((point.0, high)).then(|| plot.place((point.0, high)))?;
        let bottom = match scale {
            // Zero is endlessly far below.
            Scale::Log if low < 1e-300 => plot.y.length.max(top),
            _ if scale.has(low) => plot.place((point.0, low)).1,
            _ => return None,
        };
        Some((x, top, bottom))
    };
    let places: Vec<_> = series.points.iter().zip(series.band.iter().flatten()).map(place).collect();
    for piece in places.split(Option::is_none) {
        let mut outline = Vec::new();
        for group in piece.iter().flatten().collect::<Vec<_>>().chunk_by(|a, b| a.0.floor() == b.0.floor()) {
            let (top, bottom) = group.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(top, bottom), place| {
                (top.min(place.1), bottom.max(place.2))
            });
            // A lone pair is as wide as can be seen.
            let around = if piece.len() == 1 { 1.5 } else { 0.0 };
            outline.push((group[0].0 - around, top, bottom));
            if group.len() > 1 || piece.len() == 1 {
                outline.push((group[group.len() - 1].0 + around, top, bottom));
            }
        }
        let upper = outline.iter().map(|place| (place.0, place.1));
        let lower = outline.iter().rev().map(|place| (place.0, place.2));
        let area = clipped_area(upper.chain(lower).collect(), plot.size());
        if area.len() > 2 {
            canvas.polygon(&area, colour)?;
        }
    }
    Ok(())
}

fn curve(canvas: &Canvas<'_, '_>, plot: &Plot<'_>, series: &Series, look: &Look) -> Result<(), String> {
    for piece in series.points.split(|&point| !plot.panel.has(point)) {
        let places: Vec<Point> = piece.iter().map(|&point| plot.place(point)).collect();
        match (series.style, piece) {
            (Style::Line | Style::Dashed, &[point]) => {
                if let Some(at) = plot.place_within(point) {
                    look.circle(canvas, at, 2.6, true)?;
                }
            }
            _ => clipped(&thinned(&places), plot.size()).iter().try_for_each(|line| canvas.line(line, look.pen))?,
        }
    }
    Ok(())
}

fn markers(canvas: &Canvas<'_, '_>, plot: &Plot<'_>, series: &Series, look: &Look) -> Result<(), String> {
    if let Some((distance, first)) = look.markers {
        let mut last: Option<Point> = None;
        for at in series.points.iter().filter_map(|&point| plot.place_within(point)) {
            let due = match last {
                Some(last) => (at.0 - last.0).hypot(at.1 - last.1) >= distance,
                None => at.0 >= first,
            };
            if due {
                look.marker(canvas, at)?;
                last = Some(at);
            }
        }
    }
    for end in &series.ends {
        if let Some(at) = plot.place_within(end.at) {
            look.circle(canvas, at, 3.6, end.attained)?;
        }
    }
    Ok(())
}

fn legend(canvas: &Canvas<'_, '_>, block: &Block, entries: &[Entry<'_>]) -> Result<(), String> {
    let mut x = 0.0;
    for (column, width) in block.entries.chunks(block.rows).zip(&block.widths) {
        for (row, &index) in column.iter().enumerate() {
            let (entry, y) = (&entries[index], (row as f64 + 0.5) * ROW);
            let (look, end) = (Look::of(index, entry.style), x + SAMPLE - 8.0);
            if entry.band {
                let corners = [(x, y - 5.0), (end, y - 5.0), (end, y + 5.0), (x, y + 5.0)];
                canvas.polygon(&corners, look.pen.colour.mix(0.18))?;
            }
            canvas.line(&[(x, y), (end, y)], look.pen)?;
            if look.markers.is_some() {
                look.marker(canvas, ((x + end) / 2.0, y))?;
            }
            canvas.text(&entry.text, (x + SAMPLE, y), HPos::Left, Type::new(TEXT, TICK_FONT))?;
        }
        x += width + COLUMN_GAP;
    }
    Ok(())
}

/// A long curve with at most four points in each half pixel of width: the first, the extremes and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let mut thinned = Vec::new();
    for group in points.chunk_by(|a, b| (a.0 * 2.0).floor() == (b.0 * 2.0).floor()) {
        if group.len() <= 4 {
            thinned.extend_from_slice(group);
            continue;
        }
        let by_height = |&a: &usize, &b: &usize| group[a].1.total_cmp(&group[b].1);
        let all = 0..group.len();
        let extremes = [all.clone().min_by(by_height), all.max_by(by_height)];
        let mut kept: Vec<usize> = extremes.into_iter().flatten().chain([0, group.len() - 1]).collect();
        kept.sort_unstable();
        kept.dedup();
        thinned.extend(kept.into_iter().map(|index| group[index]));
    }
    thinned
}

/// The pieces of a line that lie in a frame of this size.
fn clipped(points: &[Point], (width, height): Point) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for pair in points.windows(2) {
        let ((x, y), (dx, dy)) = (pair[0], (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1));
        // The part of the way from one point to the next that lies inside of all four sides.
        let (mut from, mut to) = (0.0f64, 1.0f64);
        for (speed, room) in [(-dx, x), (dx, width - x), (-dy, y), (dy, height - y)] {
            match speed {
                0.0 if room < -1e-6 => to = -1.0,
                0.0 => {}
                speed if speed < 0.0 => from = from.max(room / speed),
                speed => to = to.min(room / speed),
            }
        }
        if from > to {
            continue;
        }
        let (start, end) = ((x + from * dx, y + from * dy), (x + to * dx, y + to * dy));
        match pieces.last_mut() {
            Some(piece) if from == 0.0 && piece.last() == Some(&start) => piece.push(end),
            _ => pieces.push(vec![start, end]),
        }
    }
    pieces
}

/// The part of an area that lies in a frame of this size.
fn clipped_area(mut corners: Vec<Point>, (width, height): Point) -> Vec<Point> {
    let sides: [&dyn Fn(Point) -> f64; 4] = [&|p| p.0, &|p| width - p.0, &|p| p.1, &|p| height - p.1];
    for room in sides {
        let mut inside = Vec::new();
        for (index, &corner) in corners.iter().enumerate() {
            let before = corners[(index + corners.len() - 1) % corners.len()];
            let (a, b) = (room(before), room(corner));
            if (a < 0.0) != (b < 0.0) {
                let part = a / (a - b);
                inside.push((before.0 + part * (corner.0 - before.0), before.1 + part * (corner.1 - before.1)));
            }
            if b >= 0.0 {
                inside.push(corner);
            }
        }
        corners = inside;
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture, after a look at what must hold for every picture: balanced tags, and numbers only.
    fn drawn(chart: &Chart) -> String {
        let svg = draw(chart).unwrap();
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').unwrap();
            assert!(!text.contains('>'), "{text}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
        }
        assert!(open.is_empty() && svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{open:?}");
        assert!(texts(&svg).iter().all(|text| text != "NaN" && text != "inf"));
        svg
    }

    fn texts(svg: &str) -> Vec<String> {
        let inside = svg.split("<text").skip(1).filter_map(|part| part.split_once('>')?.1.split_once("</text>"));
        inside.map(|(text, _)| text.trim().to_string()).collect()
    }

    /// Points of the lines in the colour of the series that is number `index`, in pixels.
    fn lines(svg: &str, index: usize) -> Vec<Vec<Point>> {
        let RGBColor(red, green, blue) = COLOURS[index];
        let colour = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"");
        let number = |text: &str| text.parse::<f64>().unwrap() / f64::from(FINE);
        let point = |pair: &str| pair.split_once(',').map(|(x, y)| (number(x), number(y))).unwrap();
        let tags = svg.split("<polyline").skip(1).filter(|part| part.split('>').next().unwrap().contains(&colour));
        let places = tags.map(|tag| tag.split_once("points=\"").unwrap().1.split('"').next().unwrap());
        places.map(|places| places.split_whitespace().map(point).collect()).collect()
    }

    fn unnamed(points: &[(f64, f64)]) -> Chart {
        Chart::new([Panel::new("", "", "").with(Series::line("", points.iter().copied()))])
    }

    #[test]
    fn texts_are_escaped_and_sizes_are_in_plain_pixels() {
        let panel = Panel::new("a < b & \"c\"", "x\u{0}y", "'").with(Series::line("<s>", [(0.0, 0.0), (1.0, 1.0)]));
        let svg = drawn(&Chart { title: Some("T".to_string()), ..Chart::new([panel]) });
        for text in ["a &lt; b &amp; &quot;c&quot;", "x y", "&apos;", "&lt;s&gt;", "T"] {
            assert!(texts(&svg).iter().any(|found| found == text), "{text}");
        }
        let attribute = |name: &str| svg.split_once(name).unwrap().1.split('"').nth(1).unwrap().to_string();
        let width: u32 = attribute(" width=").parse().unwrap();
        assert!((500..900).contains(&width), "{width}");
        assert!(attribute("viewBox=").starts_with(&format!("0 0 {} ", width * FINE)));
    }

    #[test]
    fn a_log_axis_leaves_out_what_is_not_positive() {
        let points = [(0.01, 0.0), (0.1, 1e-4), (1.0, -3.0), (10.0, 1e2), (100.0, f64::NAN), (0.0, 1.0)];
        let series = Series::line("a", points).band(points.map(|point| (point.1 - 1e-4, point.1 * 2.0)));
        let zeros = Series::line("b", [(1.0, 0.0), (2.0, 0.0)]);
        let panel = Panel::new("", "", "").scales(Scale::Log, Scale::Log).with(series).with(zeros);
        let texts = texts(&drawn(&Chart::new([panel])));
        for (text, present) in [("0.1", true), ("10", true), ("0.01", true), ("1e-4", true), ("100", true)] {
            assert_eq!(texts.iter().any(|found| found == text), present, "{text}: {texts:?}");
        }
        assert!(texts.iter().any(|text| text == "b (nothing to draw)"), "{texts:?}");
    }

    #[test]
    fn hard_cases_give_pictures_with_short_numbers() {
        let cases: [&[(f64, f64)]; 12] = [
            &[],
            &[(3.0, 0.7)],
            &[(0.0, 0.0)],
            &[(1.0, 2.5), (2.0, 2.5), (3.0, 2.5)],
            &[(1.0, 2.5), (2.0, 2.5 + 1e-15)],
            &[(-1e300, 1e300), (1e300, -1e300)],
            &[(1e-300, 1e-310), (1e300, 1e300)],
            &[(f64::MIN, f64::MAX), (1.0, 1.0)],
            &[(f64::NAN, 1.0), (1.0, f64::INFINITY), (f64::NEG_INFINITY, f64::NAN)],
            &[(1e-12, 3e-12), (2e-12, 4.123456789e-12)],
            &[(123456789.0, 0.1 + 0.2), (123456790.0, 0.3)],
            &[(5.0, 1.0), (4.0, 2.0), (3.0, 1.5)],
        ];
        for points in cases {
            for (x_scale, y_scale) in [(Scale::Linear, Scale::Linear), (Scale::Log, Scale::Log)] {
                let mut chart = unnamed(points);
                chart.panels[0] = chart.panels[0].clone().scales(x_scale, y_scale).with_mark(Mark::horizontal(0.3, ""));
                for text in texts(&drawn(&chart)) {
                    assert!(text.len() <= 10 || text == "nothing to draw", "{text}");
                }
            }
        }
    }

    #[test]
    fn branches_are_not_joined() {
        let step = Series::branches("step", [[(-1.0, 0.0), (0.0, 0.0)], [(0.0, 1.0), (1.0, 1.0)]]);
        let step = step.end((0.0, 0.0), false).end((0.0, 1.0), true);
        let svg = drawn(&Chart { legend: Legend::Hidden, ..Chart::new([Panel::new("", "", "").with(step)]) });
        let lines = lines(&svg, 0);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().flat_map(|line| line.windows(2)).all(|pair| pair[0].1 == pair[1].1), "{lines:?}");
    }

    #[test]
    fn a_name_has_one_colour_and_one_line_in_the_legend() {
        let series = |name: &str| Series::line(name, [(0.0, 0.0), (1.0, 1.0)]);
        let left = Panel::new("", "", "").with(series("a")).with(series("b"));
        let right = Panel::new("", "", "").with(series("b"));
        let svg = drawn(&Chart::new([left, right]));
        assert_eq!(texts(&svg).iter().filter(|text| *text == "b").count(), 1);
        // Two curves and the sample.
        assert_eq!((lines(&svg, 0).len(), lines(&svg, 1).len(), lines(&svg, 2).len()), (2, 3, 0));
    }

    #[test]
    fn dashes_become_attributes_and_widths_are_plain() {
        let line = |name: String| Series::line(name, [(0.0, 0.0), (1.0, 1.0)]);
        let mut panel = Panel::new("", "", "").with(line("0".to_string()).style(Style::Dashed));
        panel.series.extend((1..8).map(|index| line(index.to_string())));
        let svg = drawn(&Chart::new([panel]));
        assert_eq!(svg.matches("stroke-width=\"17\" stroke-dasharray=\"50 35\"").count(), 2);
        assert_eq!(svg.matches("stroke-width=\"17\" stroke-dasharray=\"75 30\"").count(), 2);
        let widths = svg.split("stroke-width=\"").skip(1).map(|part| part.split('"').next().unwrap());
        assert!(widths.map(|width| width.parse::<u32>().unwrap()).all(|width| (8..20).contains(&width)));
    }

    #[test]
    fn curves_stay_in_their_frame() {
        let points = (0..200).map(|k| f64::from(k) / 10.0 - 10.0).map(|x| (x, x * x * x));
        let series = Series::line("", points.clone()).band(points.map(|(_, y)| (y - 1e6, y + 3.0)));
        let limited = Panel { x_limits: Some((-3.0, 3.0)), y_limits: Some((-2.0, 2.0)), ..Panel::new("", "", "") };
        let svg = drawn(&Chart::new([limited.with(series)]));
        let lines = lines(&svg, 0);
        let (width, height) = plot_size(1);
        let extent = |of: fn(&Point) -> f64| {
            let values = || lines.iter().flatten().map(of);
            values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
        };
        assert!(extent(|point| point.0) <= width && extent(|point| point.1) <= height + 0.1);
        assert!(extent(|point| point.1) >= height - 0.1, "the curve is cut at the frame, not before");
    }

    #[test]
    fn long_curves_are_thinned_but_keep_their_extremes() {
        let wave = |k: u32| if k == 54_321 { 9.0 } else { (f64::from(k) / 50.0).sin() };
        let points: Vec<(f64, f64)> = (0..100_000).map(|k| (f64::from(k), wave(k))).collect();
        let svg = drawn(&unnamed(&points));
        assert!(svg.len() < 100_000, "{}", svg.len());
        let heights = || lines(&svg, 0).into_iter().flatten().map(|point| point.1);
        let (top, middle) =
            (heights().fold(f64::INFINITY, f64::min), heights().sum::<f64>() / heights().count() as f64);
        assert!(middle - top > 200.0);
    }

    #[test]
    fn a_wrong_description_is_refused() {
        assert!(draw(&Chart::default()).unwrap_err().contains("panel"));
        let short = Series::line("a", [(0.0, 0.0), (1.0, 1.0)]).band([(0.0, 1.0)]);
        assert!(draw(&Chart::new([Panel::new("", "", "").with(short)])).unwrap_err().contains("2 points"));
        for limits in [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, f64::NAN)] {
            let panel = Panel { y_limits: Some(limits), ..Panel::new("t", "", "").scales(Scale::Linear, Scale::Log) };
            assert!(draw(&Chart::new([panel])).unwrap_err().contains("`t`"), "{limits:?}");
        }
    }
}
