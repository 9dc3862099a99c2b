//! The two-layer network on paper and at work: what the theorems say, and where coarse gradient descent goes.

use std::f64::consts::PI;
use std::path::Path;

use hardgrad::ops::ReluSurrogate;
use hardgrad::random::Random;
use hardgrad::theory::{CriticalPoint, Descent, TwoLayer, TwoLayerError, saddle, spurious_minimum};
use serde::Serialize;

use crate::chart::{self, Chart, Panel, Scale, Series, Style};
use crate::{LabError, files};

/// What to compute.
#[derive(Clone, Debug)]
pub struct Request {
    /// The teacher's output weights.
    pub v_star: Vec<f64>,
    /// Weights of the filter.
    pub filter: usize,
    /// Step size.
    pub learning_rate: f64,
    /// Steps of each descent.
    pub steps: u64,
    /// Samples of each step of the sampled descents; 0 for none.
    pub samples: usize,
    /// Seed of random starts and samples.
    pub seed: u64,
}

/// What theory says and descent does.
#[derive(Clone, Debug, Serialize)]
pub struct TwoLayerReport {
    /// The teacher's output weights.
    pub v_star: Vec<f64>,
    /// Angle of the saddle in degrees; none without one.
    pub saddle_angle: Option<f64>,
    /// Whether there is a spurious minimum, which lies at 180 degrees.
    pub spurious_minimum: bool,
    /// Statements with the numbers that were found.
    pub statements: Vec<Statement>,
    /// Where each descent led.
    pub descents: Vec<DescentRow>,
    #[serde(skip)]
    paths: Vec<Walk>,
    #[serde(skip)]
    request: Request,
}

/// One published formula beside what the network gives.
#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// What is stated.
    pub statement: String,
    /// By the formula of the statement.
    pub formula: f64,
    /// By the network.
    pub found: f64,
}

/// One descent.
#[derive(Clone, Debug, Serialize)]
pub struct DescentRow {
    /// Where it began.
    pub start: &'static str,
    /// Whose derivative stood for the step's.
    pub surrogate: &'static str,
    /// Samples a step; none for expected gradients.
    pub samples: Option<usize>,
    /// Loss at the start and at the end.
    pub losses: [f64; 2],
    /// The highest loss on the way.
    pub highest_loss: f64,
    /// Steps that raised the loss, and how many steps there were.
    pub rising_steps: [u64; 2],
    /// Angle between w and w* at the start and at the end, in degrees.
    pub angles: [f64; 2],
    /// The least norm of w on the way; near 0 the angle jumps, and theorems do not hold.
    pub least_norm: f64,
}

/// Points of a descent: step, loss, angle in degrees, place between the spurious minimum (0) and the teacher (1).
#[derive(Clone, Debug)]
struct Walk {
    start: &'static str,
    surrogate: &'static str,
    sampled: bool,
    points: Vec<[f64; 4]>,
}

/// Points of a drawn path.
const POINTS: u64 = 400;

/// Random streams.
const START: u32 = 130;
const SAMPLES: u32 = 132;

/// Computes statements and descents.
///
/// # Errors
/// If a number of the request cannot be.
pub fn two_layer(request: &Request) -> Result<TwoLayerReport, LabError> {
    check(request)?;
    let v_star = &request.v_star;
    let mut w_star = vec![0.0; request.filter];
    w_star[0] = 1.0;
    let (saddle, spurious) = (saddle(v_star), spurious_minimum(v_star));
    let mut statements = Vec::new();
    if let Some(spurious) = &spurious {
        statements.extend(at_spurious_minimum(request, &w_star, spurious).map_err(refused)?);
    }
    if let Some(saddle) = &saddle {
        statements.extend(at_saddle(request, &w_star, saddle).map_err(refused)?);
    }
    statements.extend(correlations(request, &w_star).map_err(refused)?);
    let (mut descents, mut paths) = (Vec::new(), Vec::new());
    for (start, v, w) in starts(request, saddle.as_ref(), spurious.as_ref()) {
        for &surrogate in ReluSurrogate::ALL {
            for samples in [0, request.samples].into_iter().take(if request.samples > 0 { 2 } else { 1 }) {
                let descent = Descent::new(&v, &w, v_star, &w_star, surrogate).map_err(refused)?;
                let (row, walk) = descend(request, descent, start, surrogate.name(), samples);
                descents.push(row);
                paths.push(walk);
            }
        }
    }
    Ok(TwoLayerReport {
        v_star: v_star.clone(),
        saddle_angle: saddle.map(|saddle| saddle.angle.to_degrees()),
        spurious_minimum: spurious.is_some(),
        statements,
        descents,
        paths,
        request: request.clone(),
    })
}

fn refused(problem: TwoLayerError) -> LabError {
    LabError::Usage(problem.to_string())
}

fn check(request: &Request) -> Result<(), LabError> {
    let usage = |message: &str| Err(LabError::Usage(message.to_string()));
    let Request { v_star, filter, learning_rate, steps, samples, .. } = request;
    let size = v_star.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    if !(1e-6..=1e6).contains(&size) || v_star.iter().any(|v| v.is_nan()) || v_star.len() > 1000 {
        return usage("--v-star must be 1 to 1000 numbers, the largest of a size from 0.000001 to 1000000");
    }
    if !(2..=1000).contains(filter) {
        return usage("--filter must be from 2 to 1000");
    }
    if !(*learning_rate > 0.0 && *learning_rate <= 10.0) {
        return usage("--learning-rate must be above 0 and at most 10");
    }
    if *steps == 0 || *steps > 10_000_000 {
        return usage("--steps must be from 1 to 10000000");
    }
    if samples.saturating_mul(v_star.len() * filter) > 1 << 26 {
        return usage("--samples times hidden units times filter weights must be at most 67108864");
    }
    Ok(())
}

/// A filter of this length at an angle to w* = (1, 0, ...).
fn filter(request: &Request, angle: f64, norm: f64) -> Vec<f64> {
    let mut w = vec![0.0; request.filter];
    (w[0], w[1]) = (norm * angle.cos(), norm * angle.sin());
    w
}

/// Name, v and w of each start.
fn starts(
    request: &Request,
    saddle: Option<&CriticalPoint>,
    spurious: Option<&CriticalPoint>,
) -> Vec<(&'static str, Vec<f64>, Vec<f64>)> {
    let mut starts = Vec::new();
    if let Some(spurious) = spurious {
        starts.push(("spurious_minimum", spurious.v.clone(), filter(request, PI - 0.01, 1.0)));
    }
    if let Some(saddle) = saddle {
        for (name, towards) in [("saddle_towards_teacher", 0.02), ("saddle_away_from_teacher", -0.02)] {
            let v = saddle.v.iter().zip(&request.v_star).map(|(v, star)| v + towards * star).collect();
            starts.push((name, v, filter(request, saddle.angle, 1.0)));
        }
    }
    let mut values = vec![0.0f32; request.v_star.len()];
    Random::new(request.seed, 0, START).fill_normal(&mut values);
    starts.push(("random", values.into_iter().map(f64::from).collect(), filter(request, 2.0, 1.0)));
    starts
}

fn descend(
    request: &Request,
    mut descent: Descent,
    start: &'static str,
    surrogate: &'static str,
    samples: usize,
) -> (DescentRow, Walk) {
    let every = request.steps.div_ceil(POINTS);
    let angle = |descent: &Descent| descent.network().map_or(f64::NAN, |network| network.angle().to_degrees());
    let along = Along::new(&request.v_star);
    let (first, first_angle) = (descent.loss(), angle(&descent));
    let norm_of = |descent: &Descent| norm(descent.w());
    let (mut before, mut highest, mut rising, mut done, mut least_norm) = (first, first, 0, 0, norm_of(&descent));
    let mut points = vec![[0.0, first, first_angle, along.place(descent.v())]];
    for step in 0..request.steps {
        let moved = match samples {
            0 => descent.step(request.learning_rate),
            count => {
                descent.sampled_step(request.learning_rate, count, &Random::new(request.seed, step as u32, SAMPLES))
            }
        };
        if moved.is_err() {
            // There is no network at a filter of 0; the descent ends there.
            break;
        }
        done = step + 1;
        let loss = descent.loss();
        rising += u64::from(loss > before + 1e-12);
        (before, highest, least_norm) = (loss, highest.max(loss), least_norm.min(norm_of(&descent)));
        if done.is_multiple_of(every) || done == request.steps {
            points.push([done as f64, loss, angle(&descent), along.place(descent.v())]);
        }
    }
    let row = DescentRow {
        start,
        surrogate,
        samples: (samples > 0).then_some(samples),
        losses: [first, before],
        highest_loss: highest,
        rising_steps: [rising, done],
        angles: [first_angle, angle(&descent)],
        least_norm,
    };
    (row, Walk { start, surrogate, sampled: samples > 0, points })
}

/// The line of v from the spurious minimum (place 0) to the teacher (place 1); from -v* where there is none.
struct Along {
    from: Vec<f64>,
    to: Vec<f64>,
}

impl Along {
    fn new(v_star: &[f64]) -> Self {
        let opposite = || v_star.iter().map(|v| -v).collect();
        Self { from: spurious_minimum(v_star).map_or_else(opposite, |point| point.v), to: v_star.to_vec() }
    }

    /// The place of v's projection.
    fn place(&self, v: &[f64]) -> f64 {
        let line = || self.from.iter().zip(&self.to).map(|(from, to)| to - from);
        let length: f64 = line().map(|line| line * line).sum();
        line().zip(v.iter().zip(&self.from)).map(|(line, (v, from))| line * (v - from)).sum::<f64>() / length
    }

    fn at(&self, place: f64) -> Vec<f64> {
        self.from.iter().zip(&self.to).map(|(from, to)| from + place * (to - from)).collect()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn statement(statement: &str, formula: f64, found: f64) -> Statement {
    Statement { statement: statement.to_string(), formula, found }
}

fn at_spurious_minimum(
    request: &Request,
    w_star: &[f64],
    point: &CriticalPoint,
) -> Result<Vec<Statement>, TwoLayerError> {
    let v_star = &request.v_star;
    let (m, s) = (v_star.len() as f64, v_star.iter().sum::<f64>());
    let w = filter(request, PI, 1.0);
    let network = TwoLayer::new(&point.v, &w, v_star, w_star)?;
    let identity = 2.0 * (m - 1.0) * s * s / ((2.0 * PI).sqrt() * (m + 1.0).powi(2));
    Ok(vec![
        statement("spurious minimum: loss = s^2/(2 (m + 1))", s * s / (2.0 * (m + 1.0)), network.loss()),
        statement("spurious minimum: |gradient| = 0", 0.0, norm(&network.gradient_v())),
        statement(
            "spurious minimum: |identity| = 2 (m - 1) s^2/(sqrt(2 pi) (m + 1)^2)",
            identity,
            norm(&network.coarse_identity()),
        ),
        statement("spurious minimum: |relu| = 0", 0.0, norm(&network.coarse_relu())),
        statement("spurious minimum: |clipped relu| = 0", 0.0, norm(&network.coarse_clipped_relu())),
    ])
}

fn at_saddle(request: &Request, w_star: &[f64], point: &CriticalPoint) -> Result<Vec<Statement>, TwoLayerError> {
    let w = filter(request, point.angle, 1.0);
    let network = TwoLayer::new(&point.v, &w, &request.v_star, w_star)?;
    let gradient = [network.gradient_v(), network.gradient_w()].concat();
    Ok(vec![
        statement("saddle: |gradient| = 0", 0.0, norm(&gradient)),
        statement("saddle: |relu| = 0", 0.0, norm(&network.coarse_relu())),
    ])
}

/// Inner products of coarse gradients with the gradient at a random point.
fn correlations(request: &Request, w_star: &[f64]) -> Result<Vec<Statement>, TwoLayerError> {
    let mut values = vec![0.0f32; request.v_star.len()];
    Random::new(request.seed, 1, START).fill_normal(&mut values);
    let v: Vec<f64> = values.into_iter().map(f64::from).collect();
    let (angle, length) = (1.0f64, 0.8);
    let w = filter(request, angle, length);
    let network = TwoLayer::new(&v, &w, &request.v_star, w_star)?;
    let gradient = network.gradient_w();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let square = dot(&v, &request.v_star).powi(2);
    let cube = (2.0 * PI).sqrt().powi(3);
    let formulas = [
        (
            ReluSurrogate::Identity,
            "identity . gradient = sin(angle) (v.v*)^2/((2 pi)^1.5 |w|)",
            angle.sin() / (cube * length) * square,
        ),
        (ReluSurrogate::Relu, "relu . gradient = half of it", angle.sin() / (2.0 * cube * length) * square),
        (
            ReluSurrogate::ClippedRelu,
            "clipped relu . gradient = q(angle) (v.v*)^2/(2 pi |w|)",
            quadrature(angle, length) / (2.0 * PI * length) * square,
        ),
    ];
    Ok(formulas
        .into_iter()
        .map(|(surrogate, statement, formula)| Statement {
            statement: format!("at a random point: {statement}"),
            formula,
            found: dot(&network.coarse(surrogate), &gradient),
        })
        .collect())
}

/// The paper's integral q, by the midpoint rule: 1/(2 pi) times the integral of sin(phi) xi(1/(cos(phi) |w|)) from angle - pi/2 to
/// pi/2, xi(x) the integral of r^2 exp(-r^2/2) from 0 to x.
fn quadrature(angle: f64, norm: f64) -> f64 {
    let steps = 20_000;
    let (from, width) = (angle - PI / 2.0, (PI - angle) / f64::from(steps));
    let xi = |x: f64| (PI / 2.0).sqrt() * libm::erf(x / 2f64.sqrt()) - x * (-x * x / 2.0).exp();
    let points = (0..steps).map(|step| from + (f64::from(step) + 0.5) * width);
    points.map(|phi| phi.sin() * xi(1.0 / (phi.cos() * norm)) * width).sum::<f64>() / (2.0 * PI)
}

/// Writes `two-layer.csv`, `two-layer.json` and `two-layer.svg` into a folder.
///
/// # Errors
/// If a file cannot be written or the picture cannot be drawn.
pub fn write(report: &TwoLayerReport, folder: &Path) -> Result<(), LabError> {
    let mut csv = "start,surrogate,samples,step,loss,angle_degrees,place\n".to_string();
    for walk in &report.paths {
        let samples = if walk.sampled { report.request.samples.to_string() } else { String::new() };
        for [step, loss, angle, place] in &walk.points {
            csv += &format!("{},{},{samples},{step},{loss},{angle},{place}\n", walk.start, walk.surrogate);
        }
    }
    let picture = folder.join("two-layer.svg");
    let svg = chart::draw(&to_chart(report)).map_err(|problem| LabError::Picture { path: picture.clone(), problem })?;
    let json = serde_json::to_string_pretty(report).expect("a report is a plain struct");
    files::create_folder(folder)?;
    files::write_output(&folder.join("two-layer.csv"), csv.as_bytes())?;
    files::write_output(&folder.join("two-layer.json"), json.as_bytes())?;
    Ok(files::write_output(&picture, svg.as_bytes())?)
}

/// Paths over the loss surface, and angle and loss along the way from the first start.
fn to_chart(report: &TwoLayerReport) -> Chart {
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
    let mut w_star = vec![0.0; report.request.filter];
    w_star[0] = 1.0;
    let part = |index: usize| index as f64 / CELLS as f64;
    let at = |column: usize, row: usize| (180.0 * part(column), low + (high - low) * part(row));
    let loss = |column: usize, row: usize| {
        let (angle, place) = at(column, row);
        let (v, w) = (along.at(place), filter(&report.request, angle.to_radians(), 1.0));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let v_star = vec![1.0, -0.4, 0.7, 0.2, -0.9];
        Request { v_star, filter: 6, learning_rate: 0.05, steps: 400, samples: 50, seed: 0 }
    }

    #[test]
    fn every_statement_holds_and_every_descent_is_told() {
        let report = two_layer(&request()).unwrap();
        assert_eq!((report.statements.len(), report.descents.len()), (10, 24));
        for Statement { statement, formula, found } in &report.statements {
            assert!((formula - found).abs() < 1e-7, "{statement}: {formula}, found {found}");
        }
        let stays =
            report.descents.iter().find(|row| row.start == "spurious_minimum" && row.surrogate == "relu").unwrap();
        assert_eq!((stays.rising_steps, stays.angles[1] > 179.0), ([0, 400], true));
        let folder = tempfile::tempdir().unwrap();
        write(&report, folder.path()).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("two-layer.svg")).unwrap();
        assert!(svg.contains("clipped_relu") && svg.contains("equal loss"));
    }

    #[test]
    fn a_teacher_without_spurious_minima_has_a_random_start_only() {
        let report = two_layer(&Request { v_star: vec![1.0, 1.0], samples: 0, ..request() }).unwrap();
        assert_eq!((report.saddle_angle, report.spurious_minimum, report.descents.len()), (None, false, 3));
        // A sum of 0: the mirror image of the teacher is a global minimum.
        let report = two_layer(&Request { v_star: vec![1.0, -1.0], samples: 0, ..request() }).unwrap();
        assert_eq!((report.saddle_angle, report.spurious_minimum, report.descents.len()), (Some(90.0), false, 9));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |request: Request| two_layer(&request).unwrap_err().to_string();
        assert!(refused(Request { v_star: vec![0.0; 3], ..request() }).contains("--v-star"));
        assert!(refused(Request { filter: 1, ..request() }).contains("--filter"));
        assert!(refused(Request { learning_rate: f64::NAN, ..request() }).contains("--learning-rate"));
        assert!(refused(Request { steps: 0, ..request() }).contains("--steps"));
        assert!(refused(Request { samples: usize::MAX, ..request() }).contains("--samples"));
    }
}
