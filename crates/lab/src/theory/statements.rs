use std::f64::consts::PI;

use hardgrad::ops::ReluSurrogate;
use hardgrad::random::Random;
use hardgrad::theory::{CriticalPoint, TwoLayer, TwoLayerError};
use serde::Serialize;

use super::request::{Request, norm};
use crate::streams;

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

fn statement(statement: &str, formula: f64, found: f64) -> Statement {
    Statement { statement: statement.to_string(), formula, found }
}

pub(super) fn at_spurious_minimum(
    request: &Request,
    w_star: &[f64],
    point: &CriticalPoint,
) -> Result<Vec<Statement>, TwoLayerError> {
    let v_star = &request.v_star;
    let (m, s) = (v_star.len() as f64, v_star.iter().sum::<f64>());
    let w = request.filter_at(PI, 1.0);
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

pub(super) fn at_saddle(
    request: &Request,
    w_star: &[f64],
    point: &CriticalPoint,
) -> Result<Vec<Statement>, TwoLayerError> {
    let w = request.filter_at(point.angle, 1.0);
    let network = TwoLayer::new(&point.v, &w, &request.v_star, w_star)?;
    let gradient = [network.gradient_v(), network.gradient_w()].concat();
    Ok(vec![
        statement("saddle: |gradient| = 0", 0.0, norm(&gradient)),
        statement("saddle: |relu| = 0", 0.0, norm(&network.coarse_relu())),
    ])
}

/// Inner products of coarse gradients with the gradient at a random point.
pub(super) fn correlations(request: &Request, w_star: &[f64]) -> Result<Vec<Statement>, TwoLayerError> {
    let mut values = vec![0.0f32; request.v_star.len()];
    Random::new(request.seed, 1, streams::THEORY_STARTS).fill_normal(&mut values);
    let v: Vec<f64> = values.into_iter().map(f64::from).collect();
    let (angle, length) = (1.0f64, 0.8);
    let w = request.filter_at(angle, length);
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
