//! Lines, areas and texts as SVG, by plotters, with the fractions of pixels and the dashes that it lacks.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Space around the picture and between panels.
pub(super) const SPACE: f64 = 14.0;

/// A place or a size in pixels; places count from the upper left.
pub(super) type Point = (f64, f64);

/// Plotters knows whole pixels only, which makes curves wobble; so its grid is this much finer than the pixels.
const FINE: u32 = 10;

/// Plotters divides the size of SVG fonts by this.
const FONT_UNIT: f64 = 1.24;

/// Plotters has no dashes for SVG; so dashed lines get this opacity, and in the complete picture dashes take its place.
const DASHED: f64 = 0.99;

/// Why drawing succeeds.
const IN_MEMORY: &str = "the picture grows in memory";

/// How a line is drawn.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    pub(super) colour: RGBColor,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

/// How a text is drawn.
#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) colour: RGBColor,
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) upwards: bool,
}

/// What is drawn on.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    /// Where places count from.
    origin: Point,
}

impl Canvas<'_> {
    /// The same picture with places that count from this one.
    pub(super) fn at(&self, origin: Point) -> Self {
        Self { area: self.area.clone(), origin }
    }

    /// The place on the fine grid.
    fn fine(&self, (x, y): Point) -> (i32, i32) {
        let fine = |value: f64| (value * f64::from(FINE)).round() as i32;
        (fine(x + self.origin.0), fine(y + self.origin.1))
    }

    /// A line through all points.
    pub(super) fn line(&self, points: &[Point], pen: Pen) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.fine(point)).collect();
        let colour = pen.colour.mix(if pen.dashed { DASHED } else { 1.0 });
        let style = colour.stroke_width((pen.width * f64::from(FINE)).round() as u32);
        self.area.draw(&PathElement::new(points, style)).expect(IN_MEMORY);
    }

    /// The area between all points.
    pub(super) fn area(&self, points: &[Point], colour: RGBAColor) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.fine(point)).collect();
        self.area.draw(&Polygon::new(points, colour.filled())).expect(IN_MEMORY);
    }

    /// A text whose beginning, middle or end is at a place, and centred in height.
    pub(super) fn text(&self, text: &str, (x, y): Point, anchor: HPos, font: Font) {
        // Plotters centres small letters; capitals and digits are higher.
        let lower = font.size * 0.09;
        let at = if font.upwards { (x + lower, y) } else { (x, y + lower) };
        let size = font.size * f64::from(FINE) * FONT_UNIT;
        let weight = if font.bold { FontStyle::Bold } else { FontStyle::Normal };
        let turn = if font.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let style = FontDesc::new(FontFamily::SansSerif, size, weight).transform(turn).color(&font.colour);
        let style = style.pos(Pos::new(anchor, VPos::Center));
        self.area.draw(&Text::new(text, self.fine(at), style)).expect(IN_MEMORY);
    }
}

/// Width of a text in a wide font: which one the viewer has is unknown.
pub(super) fn text_width(text: &str, font: Font) -> f64 {
    let em = |character: char| match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | '\'' | '|' | ' ' => 0.33,
        'f' | 't' | 'r' | '(' | ')' | '-' | '/' => 0.41,
        'm' | 'w' | 'M' | 'W' | '%' => 0.95,
        'A'..='Z' => 0.72,
        _ => 0.63,
    };
    text.chars().map(em).sum::<f64>() * font.size
}

/// A picture of this size with what `paint` draws.
pub(super) fn picture(size: Point, paint: impl FnOnce(&Canvas<'_>)) -> String {
    let (width, height) = (size.0.ceil() as u32, size.1.ceil() as u32);
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width * FINE, height * FINE)).into_drawing_area();
    area.fill(&WHITE).expect(IN_MEMORY);
    let canvas = Canvas { area, origin: (0.0, 0.0) };
    paint(&canvas);
    canvas.area.present().expect(IN_MEMORY);
    drop(canvas);
    // The viewer shrinks the fine grid back. Round joints keep noisy curves from growing spikes.
    let fine = format!("width=\"{}\" height=\"{}\"", width * FINE, height * FINE);
    svg = svg.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\""), 1);
    // Quotes in texts are escaped, so no text is hit.
    svg.replace(&format!("opacity=\"{DASHED}\""), "stroke-dasharray=\"50 30\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_tenths_of_pixels_and_dashes() {
        let svg = picture((99.5, 50.0), |canvas| {
            let pens = [false, true].map(|dashed| Pen { colour: BLACK, width: 1.7, dashed });
            pens.into_iter().for_each(|pen| canvas.at((1.0, 2.0)).line(&[(0.0, 0.0), (1.25, 3.0)], pen));
        });
        let count = |parts: [&str; 3]| parts.map(|part| svg.matches(part).count());
        assert_eq!(count(["width=\"100\" height=\"50\"", "viewBox=\"0 0 1000 500\"", "dasharray="]), [1; 3], "{svg}");
        assert_eq!(count(["<polyline", "width=\"17\"", "points=\"10,20 23,50 \""]), [2; 3], "{svg}");
    }
}
