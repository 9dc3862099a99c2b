use std::f64::consts::PI;

use hardgrad::random::Random;
use hardgrad::theory::{CriticalPoint, Descent};
use serde::Serialize;

use super::along::Along;
use super::request::{Request, norm};
use crate::streams;

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
pub(super) struct Walk {
    pub start: &'static str,
    pub surrogate: &'static str,
    pub sampled: bool,
    pub points: Vec<[f64; 4]>,
}

/// Points of a drawn path.
const POINTS: u64 = 400;

/// Name, v and w of each start.
pub(super) fn starts(
    request: &Request,
    saddle: Option<&CriticalPoint>,
    spurious: Option<&CriticalPoint>,
) -> Vec<(&'static str, Vec<f64>, Vec<f64>)> {
    let mut starts = Vec::new();
    if let Some(spurious) = spurious {
        starts.push(("spurious_minimum", spurious.v.clone(), request.filter_at(PI - 0.01, 1.0)));
    }
    if let Some(saddle) = saddle {
        for (name, towards) in [("saddle_towards_teacher", 0.02), ("saddle_away_from_teacher", -0.02)] {
            let v = saddle.v.iter().zip(&request.v_star).map(|(v, star)| v + towards * star).collect();
            starts.push((name, v, request.filter_at(saddle.angle, 1.0)));
        }
    }
    let mut values = vec![0.0f32; request.v_star.len()];
    Random::new(request.seed, 0, streams::THEORY_STARTS).fill_normal(&mut values);
    starts.push(("random", values.into_iter().map(f64::from).collect(), request.filter_at(2.0, 1.0)));
    starts
}

/// Walks down from a start, with expected gradients or with so many samples a step.
pub(super) fn descend(
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
            count => descent.sampled_step(
                request.learning_rate,
                count,
                &Random::new(request.seed, step as u32, streams::THEORY_SAMPLES),
            ),
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
