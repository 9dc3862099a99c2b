//! Colours and markers of series.

use plotters::style::{BLACK, Color, RGBAColor, RGBColor, WHITE};

use super::data::{Series, Style};
use super::svg::{Canvas, Pen, Point};

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

/// Markers that go with the colours, regular polygons: their corners, and the turn of the first one from the top, in
/// degrees. The first one is as good as a circle.
const SHAPES: [(u32, f64); 7] = [(24, 0.0), (4, 45.0), (3, 0.0), (4, 0.0), (3, 180.0), (3, 90.0), (5, 0.0)];

/// How a series looks.
pub(super) struct Look {
    pub(super) pen: Pen,
    /// Least distance of its markers, and the least place of the first one, if it has any.
    pub(super) markers: Option<(f64, f64)>,
    /// Of its markers.
    shape: (u32, f64),
    filled: bool,
}

impl Look {
    /// The look of the series that is number `index` in the order of appearance.
    pub(super) fn new(index: usize, series: &Series) -> Self {
        let (place, round) = (index % COLOURS.len(), index / COLOURS.len());
        let dashed = round > 0 || series.style == Style::Dashed;
        let markers = match series.style {
            Style::Line if series.points.len() <= 20 => Some((10.0, 0.0)),
            // Dashes drown in a noisy curve. The markers of different curves stand apart.
            Style::Line if round > 0 => Some((90.0, 14.0 + 11.0 * place as f64)),
            Style::Line | Style::Dashed | Style::Quiet => None,
        };
        let pen = match series.style {
            Style::Quiet => Pen { colour: RGBColor(0xb0, 0xb0, 0xb0), width: 0.8, dashed: false },
            Style::Line | Style::Dashed => Pen { colour: COLOURS[place], width: 1.7, dashed },
        };
        Self { pen, markers, shape: SHAPES[place], filled: round % 2 == 0 }
    }

    /// The colour of a band among the bands of `count` series.
    pub(super) fn wash(&self, count: usize) -> RGBAColor {
        // Many bands lie on each other.
        self.pen.colour.mix(if count <= 4 { 0.18 } else { 0.11 })
    }

    /// Draws a marker: a regular polygon; one that is not filled has a thick border.
    pub(super) fn marker(&self, canvas: &Canvas<'_>, at: Point) {
        let (corners, turn) = self.shape;
        let step = std::f64::consts::TAU / f64::from(corners);
        let grown = |by: f64| -> Vec<Point> {
            // A triangle of the same radius looks smaller. Sides that move by so much move the corners further.
            let radius = if corners == 3 { 4.2 } else { 3.4 } + by / (step / 2.0).cos();
            let angles = (0..corners).map(|corner| turn.to_radians() + f64::from(corner) * step);
            angles.map(|angle| (at.0 + radius * angle.sin(), at.1 - radius * angle.cos())).collect()
        };
        // A white rim keeps a marker apart from what lies under it.
        canvas.area(&grown(0.8), WHITE.into());
        canvas.area(&grown(0.1), self.pen.colour.into());
        if !self.filled {
            canvas.area(&grown(-1.3), WHITE.into());
        }
    }
}
