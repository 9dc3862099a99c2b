//! Graphs of boxes: nodes in a column in their order, edges between neighbours straight, the others in lanes at the side.

use plotters::style::text_anchor::HPos;
use plotters::style::{RGBColor, WHITE};

use super::palette::{LABEL, NUMBER};
use super::svg::{Canvas, Font, Pen, Point, SPACE, picture, text_width};

/// Nodes that read each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    /// The nodes, each behind those that it reads.
    pub nodes: Vec<GraphNode>,
}

/// A box.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GraphNode {
    /// Its first line.
    pub title: String,
    /// Its other lines.
    pub lines: Vec<String>,
    /// Its colour.
    pub kind: Kind,
    /// The places of the nodes that it reads.
    pub inputs: Vec<usize>,
}

/// What a node computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole numbers.
    Integer,
    /// Floating-point numbers.
    Float,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Integer, Self::Float];

    fn word(self) -> &'static str {
        match self {
            Self::Integer => "whole numbers",
            Self::Float => "floats",
        }
    }

    /// The colours of the border and of what is inside.
    fn colours(self) -> [RGBColor; 2] {
        match self {
            Self::Integer => [RGBColor(0x00, 0x72, 0xb2), RGBColor(0xdb, 0xec, 0xf7)],
            Self::Float => [RGBColor(0xd5, 0x5e, 0x00), RGBColor(0xfb, 0xe8, 0xda)],
        }
    }
}

/// Of the names of nodes.
const NAME: Font = Font { bold: true, ..LABEL };
/// Of edges.
const EDGE: Pen = Pen { colour: RGBColor(0x55, 0x55, 0x55), width: 1.2, dashed: false };
/// Height of a line of text.
const LINE: f64 = 16.0;
/// Space between text and border.
const INSIDE: f64 = 8.0;
/// Space between boxes.
const BETWEEN: f64 = 20.0;
/// Space between lanes.
const LANE: f64 = 12.0;
/// Length of an arrow's head, and half of its width.
const HEAD: (f64, f64) = (6.0, 3.5);

/// An edge that does not lead to the next node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skip {
    from: usize,
    to: usize,
    lane: usize,
}

/// Gives each edge a lane in which no other one runs beside it; short ones stay near the boxes.
fn lanes(edges: &[(usize, usize)]) -> Vec<Skip> {
    let mut edges = edges.to_vec();
    edges.sort_by_key(|&(from, to)| (to - from, from));
    let mut skips: Vec<Skip> = Vec::new();
    for (from, to) in edges {
        let taken = |lane: usize| skips.iter().any(|other| other.lane == lane && from < other.to && other.from < to);
        let lane = (0..).find(|&lane| !taken(lane)).unwrap_or_default();
        skips.push(Skip { from, to, lane });
    }
    skips
}

impl Graph {
    /// The picture.
    pub fn to_svg(&self) -> String {
        let widest = |nodes: &[GraphNode]| {
            let width = |node: &GraphNode| {
                let lines = node.lines.iter().map(|line| text_width(line, NUMBER));
                lines.fold(text_width(&node.title, NAME), f64::max)
            };
            nodes.iter().map(width).fold(0.0, f64::max) + 2.0 * INSIDE
        };
        let width = widest(&self.nodes);
        let height = |node: &GraphNode| LINE * (1 + node.lines.len()) as f64 + INSIDE;
        // The legend is above.
        let mut top = 2.0 * SPACE + LINE;
        let mut boxes = Vec::new();
        for node in &self.nodes {
            boxes.push([top, top + height(node)]);
            top += height(node) + BETWEEN;
        }
        let edges =
            self.nodes.iter().enumerate().flat_map(|(to, node)| node.inputs.iter().map(move |&from| (from, to)));
        let (straight, skips): (Vec<_>, Vec<_>) = edges.partition(|(from, to)| from + 1 == *to);
        let skips = lanes(&skips);
        let beside = skips.iter().map(|skip| skip.lane + 1).max().unwrap_or(0) as f64 * LANE;
        let legend = Kind::ALL.iter().map(|kind| text_width(kind.word(), NUMBER) + LINE + 2.0 * SPACE).sum::<f64>();
        let size = ((width + beside + 2.0 * SPACE).max(legend + SPACE), top - BETWEEN + SPACE);
        picture(size, |canvas| {
            let mut x = SPACE;
            for kind in Kind::ALL {
                frame(canvas, [x, x + LINE], [SPACE, SPACE + LINE], kind);
                canvas.text(kind.word(), (x + LINE + INSIDE, SPACE + LINE / 2.0), HPos::Left, NUMBER);
                x += LINE + INSIDE + text_width(kind.word(), NUMBER) + SPACE;
            }
            let (left, right) = (SPACE, SPACE + width);
            let middle = (left + right) / 2.0;
            for (from, to) in straight {
                arrow(canvas, &[(middle, boxes[from][1]), (middle, boxes[to][0])]);
            }
            for Skip { from, to, lane } in skips {
                // It leaves in the lower half of a box and comes in the upper one, so that it does not lie on others.
                let at = |place: usize, share: f64| boxes[place][0] + share * (boxes[place][1] - boxes[place][0]);
                let (out, lane, into) = (at(from, 0.7), right + LANE * (lane + 1) as f64, at(to, 0.3));
                arrow(canvas, &[(right, out), (lane, out), (lane, into), (right, into)]);
            }
            for (node, &[top, bottom]) in self.nodes.iter().zip(&boxes) {
                frame(canvas, [left, right], [top, bottom], node.kind);
                let y = |line: usize| top + INSIDE / 2.0 + LINE * (line as f64 + 0.5);
                canvas.text(&node.title, (middle, y(0)), HPos::Center, NAME);
                for (line, text) in node.lines.iter().enumerate() {
                    canvas.text(text, (middle, y(line + 1)), HPos::Center, NUMBER);
                }
            }
        })
    }
}

/// A box with its border.
fn frame(canvas: &Canvas<'_>, [left, right]: [f64; 2], [top, bottom]: [f64; 2], kind: Kind) {
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    let [border, inside] = kind.colours();
    canvas.area(&corners[..4], WHITE.into());
    canvas.area(&corners[..4], inside.into());
    canvas.line(&corners, Pen { colour: border, ..EDGE });
}

/// A line along points, with a head at the last one.
fn arrow(canvas: &Canvas<'_>, points: &[Point]) {
    canvas.line(points, EDGE);
    let [.., (before, above), (x, y)] = points else { return };
    let (length, half) = HEAD;
    let head = if before == x {
        let back = y - length * (y - above).signum();
        [(*x, *y), (x - half, back), (x + half, back)]
    } else {
        let back = x - length * (x - before).signum();
        [(*x, *y), (back, y - half), (back, y + half)]
    };
    canvas.area(&head, EDGE.colour.into());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(title: &str, kind: Kind, inputs: &[usize]) -> GraphNode {
        GraphNode { title: title.to_string(), lines: vec!["2 x 3".to_string()], kind, inputs: inputs.to_vec() }
    }

    #[test]
    fn boxes_in_two_colours_and_skips_at_the_side() {
        let nodes = vec![
            node("input", Kind::Integer, &[]),
            node("conv1", Kind::Integer, &[0]),
            node("norm1", Kind::Float, &[1]),
            node("add1", Kind::Float, &[2, 0]),
        ];
        let svg = Graph { nodes }.to_svg();
        for word in ["conv1", "norm1", "add1", "2 x 3", "whole numbers", "floats"] {
            assert!(svg.contains(word), "{word}");
        }
        // A box of each colour in the legend, then those of the nodes.
        let count = |colour: &str| svg.matches(colour).count();
        assert_eq!((count("#DBECF7"), count("#FBE8DA")), (3, 3), "{svg}");
    }

    #[test]
    fn short_skips_are_inside_and_lanes_are_used_again() {
        let found = lanes(&[(0, 6), (0, 2), (4, 6), (2, 4)]);
        let lane = |from, to| found.iter().find(|skip| (skip.from, skip.to) == (from, to)).unwrap().lane;
        assert_eq!([lane(0, 2), lane(2, 4), lane(4, 6), lane(0, 6)], [0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn no_two_edges_run_in_one_lane(ends in prop::collection::vec((0..20usize, 1..20usize), 0..30)) {
            let edges: Vec<(usize, usize)> = ends.into_iter().map(|(from, length)| (from, from + length)).collect();
            let skips = lanes(&edges);
            prop_assert_eq!(skips.len(), edges.len());
            for (place, a) in skips.iter().enumerate() {
                for b in &skips[..place] {
                    prop_assert!(a.lane != b.lane || a.to <= b.from || b.to <= a.from, "{:?} {:?}", a, b);
                }
            }
        }
    }
}
