//! A panel: its axes, marks, bands and curves.

use std::collections::BTreeSet;

use plotters::style::text_anchor::HPos;

use super::data::{Mark, Panel, Series};
use super::legend::Legend;
use super::look::Look;
use super::palette::{FRAME, GRID, LABEL, MARK, NOTE, NUMBER, TITLE};
use super::scale::{Axis, Scale, TINY};
use super::svg::{Canvas, Font, Point, text_width};

/// Length of a tick.
const TICK: f64 = 4.0;
/// Height of a label.
const LINE: f64 = 15.0;

/// A panel whose axes are laid out. Its places count from the upper left of its frame.
pub(super) struct Plot<'a> {
    panel: &'a Panel,
    x: Axis,
    y: Axis,
}

impl<'a> Plot<'a> {
    /// The panel in a frame of this width and height.
    pub(super) fn new(panel: &'a Panel, (width, height): Point) -> Self {
        let points = panel.series.iter().flat_map(|series| &series.points).filter(|point| panel.has(**point)).copied();
        let (xs, mut ys): (Vec<f64>, Vec<f64>) = points.unzip();
        for series in &panel.series {
            for (point, &(low, high)) in series.points.iter().zip(&series.band) {
                // On a log axis, a band that nearly reaches zero must not squeeze all curves into the top.
                let low = if panel.y_scale == Scale::Log { low.max(point.1 / 4.0) } else { low };
                ys.extend([low, high].into_iter().filter(|&value| panel.has(*point) && panel.y_scale.has(value)));
            }
        }
        let marks = panel.marks.iter().filter(|mark| !mark.vertical && !xs.is_empty());
        ys.extend(marks.map(|mark| mark.at).filter(|&value| panel.y_scale.has(value)));
        let x = Axis::new(panel.x_scale, &xs, width, true);
        let y = Axis::new(panel.y_scale, &ys, height, false);
        Self { panel, x, y }
    }

    /// The space that words need left and right of the frame, above and below.
    pub(super) fn margins(&self) -> [f64; 4] {
        let words = self.marks(false).map(|(_, label)| text_width(label, NOTE) + 6.0);
        let numbers = self.x.numbers().map(|(x, text)| x + text_width(text, NUMBER) / 2.0 - self.x.length);
        let above = 26.0 + LINE * self.marks(true).count() as f64;
        [self.numbers_width() + 22.0, words.chain(numbers).fold(0.0, f64::max), above, TICK + 35.0]
    }

    /// From the frame to the left end of the vertical axis's numbers.
    fn numbers_width(&self) -> f64 {
        TICK + 4.0 + self.y.numbers().map(|(_, text)| text_width(text, NUMBER)).fold(0.0, f64::max)
    }

    /// Places and labels of the vertical or the other marks, if they lie on their axis.
    fn marks(&self, vertical: bool) -> impl Iterator<Item = (f64, &'a str)> {
        let axis = if vertical { &self.x } else { &self.y };
        let marks = self.panel.marks.iter().filter(move |mark| mark.vertical == vertical);
        marks.filter_map(|Mark { at, label, .. }| Some((axis.place_within(*at)?, label.as_str())))
    }

    /// Where a point is, if it has a place.
    fn place(&self, point: (f64, f64)) -> Option<Point> {
        self.panel.has(point).then(|| (self.x.place(point.0), self.y.length - self.y.place(point.1)))
    }

    /// Draws everything but the legend, with the title so far above the frame.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, above: f64, legend: &Legend<'_>) {
        let (middle, height) = (self.x.length / 2.0, self.y.length);
        canvas.text(&self.panel.title, (middle, 13.0 - above), HPos::Center, TITLE);
        canvas.text(&self.panel.x_label, (middle, height + TICK + 26.0), HPos::Center, LABEL);
        let beside = (-self.numbers_width() - 13.0, height / 2.0);
        canvas.text(&self.panel.y_label, beside, HPos::Center, Font { upwards: true, ..LABEL });
        if self.x.ticks.is_empty() {
            canvas.text("nothing to draw", (middle, height / 2.0), HPos::Center, NOTE);
        }
        self.draw_ticks(canvas);
        let series = || self.panel.series.iter().filter_map(|series| Some((series, legend.look(series)?)));
        series().for_each(|(series, look)| self.draw_band(canvas, series, look));
        self.draw_frame_and_marks(canvas);
        series().for_each(|(series, look)| self.draw_curve(canvas, series, look));
        series().for_each(|(series, look)| self.draw_markers(canvas, series, look));
    }

    /// Draws grid, ticks and numbers.
    fn draw_ticks(&self, canvas: &Canvas<'_>) {
        let (width, height) = (self.x.length, self.y.length);
        let length = |number: &Option<String>| if number.is_some() { TICK } else { TICK / 2.0 };
        for (x, number) in self.x.ticks.iter().map(|(place, number)| (*place, number)) {
            if let Some(number) = number {
                canvas.line(&[(x, 0.0), (x, height)], GRID);
                canvas.text(number, (x, height + TICK + 9.0), HPos::Center, NUMBER);
            }
            canvas.line(&[(x, height), (x, height + length(number))], FRAME);
        }
        for (y, number) in self.y.ticks.iter().map(|(place, number)| (height - place, number)) {
            if let Some(number) = number {
                canvas.line(&[(0.0, y), (width, y)], GRID);
                canvas.text(number, (-TICK - 4.0, y), HPos::Right, NUMBER);
            }
            canvas.line(&[(0.0, y), (-length(number), y)], FRAME);
        }
    }

    /// Draws the frame, and the marks with their labels.
    fn draw_frame_and_marks(&self, canvas: &Canvas<'_>) {
        let (width, height) = (self.x.length, self.y.length);
        canvas.line(&[(0.0, 0.0), (width, 0.0), (width, height), (0.0, height), (0.0, 0.0)], FRAME);
        for (row, (x, label)) in self.marks(true).enumerate() {
            canvas.line(&[(x, -3.0), (x, height)], MARK);
            let half = text_width(label, NOTE) / 2.0;
            let middle = x.min(width - half).max(half);
            canvas.text(label, (middle, -10.0 - row as f64 * LINE), HPos::Center, NOTE);
        }
        for (y, label) in self.marks(false).map(|(place, label)| (height - place, label)) {
            canvas.line(&[(0.0, y), (width + 3.0, y)], MARK);
            canvas.text(label, (width + 6.0, y), HPos::Left, NOTE);
        }
    }

    /// Draws the band of a series, if it has one.
    fn draw_band(&self, canvas: &Canvas<'_>, series: &Series, look: &Look) {
        let ends = |(&point, &(low, high)): (&(f64, f64), &(f64, f64))| -> Option<(Point, Point)> {
            self.place(point)?;
            // Zero is endlessly far below.
            let low = if self.panel.y_scale == Scale::Log && low < TINY { TINY } else { low };
            let (x, bottom) = self.place((point.0, low))?;
            Some((self.place((point.0, high))?, (x, bottom.min(self.y.length))))
        };
        let ends: Vec<_> = series.points.iter().zip(&series.band).map(ends).collect();
        for piece in ends.split(Option::is_none) {
            let (upper, lower): (Vec<Point>, Vec<Point>) = piece.iter().flatten().copied().unzip();
            let outline: Vec<Point> = thinned(&upper).into_iter().chain(thinned(&lower).into_iter().rev()).collect();
            if outline.len() > 2 {
                canvas.area(&outline, look.wash(self.panel.series.len()));
            }
        }
    }

    /// Draws the line of a series.
    fn draw_curve(&self, canvas: &Canvas<'_>, series: &Series, look: &Look) {
        let places: Vec<Option<Point>> = series.points.iter().map(|&point| self.place(point)).collect();
        for piece in places.split(Option::is_none) {
            match *piece {
                [] => {}
                [Some(alone)] => look.marker(canvas, alone),
                _ => canvas.line(&thinned(&piece.iter().flatten().copied().collect::<Vec<_>>()), look.pen),
            }
        }
    }

    /// Draws the markers of a series.
    fn draw_markers(&self, canvas: &Canvas<'_>, series: &Series, look: &Look) {
        let Some((distance, first)) = look.markers else { return };
        let mut last: Option<Point> = None;
        for at in series.points.iter().filter_map(|&point| self.place(point)) {
            if last.map_or(at.0 >= first, |last| (at.0 - last.0).hypot(at.1 - last.1) >= distance) {
                look.marker(canvas, at);
                last = Some(at);
            }
        }
    }
}

/// A long curve with at most four points in each pixel of width: the first, the extremes and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let mut thinned = Vec::new();
    for group in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let (all, by_height) = (0..group.len(), |a: &usize, b: &usize| group[*a].1.total_cmp(&group[*b].1));
        let kept = [all.clone().next(), all.clone().min_by(by_height), all.clone().max_by(by_height), all.last()];
        thinned.extend(kept.into_iter().flatten().collect::<BTreeSet<usize>>().into_iter().map(|index| group[index]));
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::super::Style;
    use super::super::tests::{drawn, texts};
    use super::*;

    /// Places of the lines or areas in the first colour, on the fine grid.
    fn places(svg: &str, tag: &str) -> Vec<Vec<(i32, i32)>> {
        let point = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap();
        let tags = svg.split(tag).skip(1).filter(|part| part.split('>').next().unwrap().contains("#0072B2"));
        let places = tags.map(|tag| tag.split_once("points=\"").unwrap().1.split('"').next().unwrap());
        places.map(|places| places.split_whitespace().map(point).collect()).collect()
    }

    #[test]
    fn a_log_axis_leaves_out_what_is_not_positive() {
        let points = [(0.01, 0.0), (0.1, 1e-4), (1.0, 1e-3), (10.0, -3.0), (100.0, 1e2), (0.0, 1.0), (1e3, f64::NAN)];
        let series = Series::line("a", points).style(Style::Dashed).band(points.map(|(_, y)| (y - 1e-4, y * 2.0)));
        let svg = drawn([Panel::default().scales(Scale::Log, Scale::Log).with(series)]);
        let count = |tag: &str| places(&svg, tag).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(count("<polyline"), [2, 2], "a line and the sample");
        assert_eq!(count("<polygon"), [4, 24, 4], "a band, the point that stands alone, and the sample's band");
    }

    #[test]
    fn branches_are_not_joined() {
        let step = Series::branches("step", [vec![(-1.0, 0.0), (0.0, 0.0)], vec![(0.0, 1.0), (1.0, 1.0)]]);
        let lines = places(&drawn([Panel::default().with(step)]), "<polyline");
        assert_eq!(lines.len(), 3, "two branches and the sample");
        assert!(lines.iter().all(|line| line[0].1 == line[1].1), "{lines:?}");
    }

    #[test]
    fn marks_stretch_the_vertical_axis_only() {
        let line = Series::line("a", [(0.0, 5.0), (9.5, 6.0)]);
        let marks = [Mark::horizontal(0.0, "floor"), Mark::vertical(3.0, "begins"), Mark::vertical(30.0, "outside")];
        let svg = drawn([marks.into_iter().fold(Panel::default().with(line), Panel::with_mark)]);
        let present = ["0", "floor", "begins", "outside", "30"].map(|text| texts(&svg).contains(&text));
        assert_eq!(present, [true, true, true, false, false]);
    }

    #[test]
    fn long_curves_are_thinned_but_keep_their_extremes() {
        let wave = |k: u32| if k == 54_321 { 9.0 } else { (f64::from(k) / 50.0).sin() };
        let points: Vec<Point> = (0..100_000).map(|k| (f64::from(k) / 200.0, wave(k))).collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= 4 * 500 && thinned.contains(&points[54_321]) && thinned.contains(&points[99_999]));
    }
}
