//! The names of all series, each with a sample of its line.

use plotters::style::text_anchor::HPos;

use super::data::{Panel, Series, Style};
use super::look::Look;
use super::palette::NUMBER;
use super::svg::{Canvas, Point, SPACE, text_width};

/// Height of a name with the space around it.
const LINE: f64 = 18.0;
/// Length of a sample.
const SAMPLE: f64 = 32.0;
/// Space between sample and name.
const GAP: f64 = 8.0;
/// Space between names in a row.
const BETWEEN: f64 = 20.0;

/// The names of all series in order of appearance.
pub(super) struct Legend<'a> {
    entries: Vec<Entry<'a>>,
    /// Whether the names stand in a row, else in a column.
    row: bool,
}

/// A line of the legend.
struct Entry<'a> {
    name: &'a str,
    text: String,
    look: Look,
    band: bool,
    /// From the sample to the next one in a row.
    width: f64,
}

impl<'a> Legend<'a> {
    /// The legend of these panels.
    pub(super) fn new(panels: &'a [Panel]) -> Self {
        let all = || panels.iter().flat_map(|panel| panel.series.iter().map(move |series| (panel, series)));
        let (mut entries, mut coloured): (Vec<Entry<'a>>, usize) = (Vec::new(), 0);
        for (_, series) in all() {
            let name = &series.name;
            if entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            let same = || all().filter(|(_, other)| other.name == *name);
            let drawn = same().any(|(panel, other)| other.points.iter().any(|&point| panel.has(point)));
            // Else the reader would search for the curve.
            let text = if drawn { name.clone() } else { format!("{name} (nothing to draw)") };
            let width = SAMPLE + GAP + text_width(&text, NUMBER) + BETWEEN;
            let (look, band) = (Look::new(coloured, series), same().any(|(_, other)| !other.band.is_empty()));
            entries.push(Entry { name, text, look, band, width });
            coloured += usize::from(series.style != Style::Quiet);
        }
        Self { entries, row: false }
    }

    /// How a series of the panels looks.
    pub(super) fn look(&self, series: &Series) -> Option<&Look> {
        self.entries.iter().find(|entry| entry.name == series.name).map(|entry| &entry.look)
    }

    /// Goes below panels of this size if a row suffices, else right of them and `top` down. Gives the size of all
    /// together and its own place.
    pub(super) fn beside(&mut self, panels: Point, top: f64) -> (Point, Point) {
        let row: f64 = self.entries.iter().map(|entry| entry.width).sum();
        let column = self.entries.iter().map(|entry| entry.width).fold(0.0, f64::max);
        self.row = row <= panels.0;
        match self.row {
            true => ((panels.0, panels.1 + LINE + 6.0), ((panels.0 - row + BETWEEN) / 2.0, panels.1 - 4.0)),
            false => {
                let bottom = top + self.entries.len() as f64 * LINE + SPACE;
                ((panels.0 + column, panels.1.max(bottom)), (panels.0 + 4.0, top - 2.0))
            }
        }
    }

    /// Draws the legend.
    pub(super) fn draw(&self, canvas: &Canvas<'_>) {
        let (mut x, mut y) = (0.0, LINE / 2.0);
        for Entry { text, look, band, width, .. } in &self.entries {
            let end = x + SAMPLE;
            if *band {
                canvas.area(&[(x, y - 5.0), (end, y - 5.0), (end, y + 5.0), (x, y + 5.0)], look.wash(1));
            }
            canvas.line(&[(x, y), (end, y)], look.pen);
            if look.markers.is_some() {
                look.marker(canvas, (x + SAMPLE / 2.0, y));
            }
            canvas.text(text, (end + GAP, y), HPos::Left, NUMBER);
            (x, y) = if self.row { (x + width, y) } else { (x, y + LINE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::super::tests::{drawn, texts};
    use super::*;

    #[test]
    fn a_name_has_one_line_and_says_if_nothing_is_drawn() {
        let series = |name: &str, y: f64| Series::line(name, [(1.0, y), (2.0, y)]);
        let log = || Panel::default().scales(Scale::Linear, Scale::Log);
        let left = log().with(series("a", 1.0)).with(series("zero", 0.0));
        let svg = drawn([left, log().with(series("<b>", 2.0)).with(series("a", 0.0))]);
        let names = ["a", "&lt;b&gt;", "zero", "zero (nothing to draw)"];
        assert_eq!(names.map(|name| texts(&svg).iter().filter(|text| **text == name).count()), [1, 1, 0, 1]);
    }
}
