//! First-order-guided zeroth-order gradient (FOGZO): differences of the loss along directions that mix a
//! straight-through gradient with noise.
//!
//! ```text
//! v_i = sqrt(beta) sign_i g/norm(g) + sqrt(1 - beta) noise_i            (first term 0 where g is 0)
//! G   = mean over i of (L(theta + epsilon v_i) - L(theta - epsilon v_i))/(2 epsilon) v_i
//! ```
//! beta = 0 is SPSA, beta = 1 the straight-through direction with the length that the loss itself gives it. The mean of
//! G over signs and noise is about beta (g.D) g/norm(g)^2 + (1 - beta) D, D the mean of [`Spsa`](super::Spsa); where the loss is
//! quadratic it is exactly that, D being its gradient.
//!
//! Source: Yang and Aamodt, "Improving the straight-through estimator with zeroth-order information", NeurIPS 2025,
//! arXiv 2510.23926.

use super::{Combination, GradientMethod, Measured, Mix};

/// Differences along directions that lean towards the straight-through gradient, as a method for modules.
///
/// beta falls linearly from 1 at the first guided step to `beta_min` at the last.
///
/// ```
/// use hardgrad::zeroth_order::{Fogzo, GradientMethod, Mix};
/// assert_eq!(Fogzo { beta_min: 0.99 }.mix(0.0), Mix { guide: 1.0, noise: 0.0 });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fogzo {
    /// beta at the end, from 0 to 1.
    pub beta_min: f64,
}

impl GradientMethod for Fogzo {
    fn name(&self) -> &'static str {
        "fogzo"
    }

    fn mix(&self, progress: f64) -> Mix {
        // 1 - beta is what counts, and tiny.
        let rest = progress * (1.0 - self.beta_min);
        Mix { guide: (1.0 - rest).sqrt(), noise: rest.sqrt() }
    }

    fn combine(&self, measured: &Measured) -> Combination {
        let Mix { guide, noise } = measured.mix;
        let along_guide = guide * measured.mean(|direction| direction.sign * direction.slope);
        let straight_through = if measured.norm > 0.0 { along_guide / measured.norm } else { 0.0 };
        Combination { straight_through, noise: measured.along_noise(noise, |direction| direction.slope) }
    }
}

/// Gradient of `loss` at `theta` (d values) from 2n values of it, along n directions guided by `straight_through`.
///
/// - `straight_through`, d values: the gradient that a straight-through estimator gives; only its direction counts.
/// - `noise`, n rows of d: independent values of mean 0 and variance 1.
/// - `sign`, n values: +1 or -1, equally likely; it keeps the directions symmetric about 0.
/// - `beta`, 0 to 1: how much the straight-through gradient leads. It has norm 1 and the noise about sqrt(d), so useful
///   values have 1 - beta of the order of 1/d.
/// - `epsilon`: length of the step, in units of `theta`; for quantised weights a fixed part of the quantiser's step.
///
/// `loss` is called twice a direction, in order, at theta + epsilon v_i and then at theta - epsilon v_i; both calls
/// must see the same data and the same random numbers.
///
/// # Panics
///
/// Where the lengths do not fit each other, `sign` is empty, `beta` is outside 0 to 1 or `epsilon` is not above 0.
///
/// ```
/// use hardgrad::zeroth_order::fogzo;
///
/// // A staircase has derivative 0 almost everywhere; differences see its slope.
/// let stairs = |theta: &[f64]| theta.iter().map(|x| x.round()).sum();
/// let gradient = fogzo(&[0.2, 0.9], &[1.0, 0.0], &[0.3, -0.8], &[1.0], 1.0, 2.0, stairs);
/// assert_eq!(gradient, [1.0, 0.0]);
/// ```
pub fn fogzo(
    theta: &[f64],
    straight_through: &[f64],
    noise: &[f64],
    sign: &[f64],
    beta: f64,
    epsilon: f64,
    mut loss: impl FnMut(&[f64]) -> f64,
) -> Vec<f64> {
    let (d, n) = (theta.len(), sign.len());
    assert_eq!(straight_through.len(), d, "straight_through must have the length of theta");
    assert!(n > 0, "sign must have at least one element");
    assert_eq!(noise.len(), n * d, "noise must have the shape [n, d] = [{n}, {d}]");
    assert!((0.0..=1.0).contains(&beta), "beta must be 0 to 1, got {beta}");
    assert!(epsilon > 0.0, "epsilon must be above 0, got {epsilon}");

    let guide = direction(straight_through);
    let (lead, spread) = (beta.sqrt(), (1.0 - beta).sqrt());
    let mut gradient = vec![0.0; d];
    let (mut v, mut probe) = (vec![0.0; d], vec![0.0; d]);
    for (i, sign) in sign.iter().enumerate() {
        for ((v, guide), noise) in v.iter_mut().zip(&guide).zip(&noise[i * d..]) {
            *v = lead * sign * guide + spread * noise;
        }
        let mut at = |step: f64| {
            for ((probe, theta), v) in probe.iter_mut().zip(theta).zip(&v) {
                *probe = theta + step * v;
            }
            loss(&probe)
        };
        let slope = (at(epsilon) - at(-epsilon)) / (2.0 * epsilon);
        for (gradient, v) in gradient.iter_mut().zip(&v) {
            *gradient += slope * v / n as f64;
        }
    }
    gradient
}

/// g/norm(g), and 0 for 0; scaled, so that no square overflows or vanishes.
fn direction(g: &[f64]) -> Vec<f64> {
    let largest = g.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
    if largest == 0.0 {
        return vec![0.0; g.len()];
    }
    let norm = g.iter().map(|g| (g / largest).powi(2)).sum::<f64>().sqrt();
    g.iter().map(|g| g / largest / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THETA: [f64; 3] = [0.4, -1.1, 0.7];
    const GUIDE: [f64; 3] = [2.0, -1.0, 2.0];
    const NOISE: [f64; 6] = [0.3, -1.2, 0.8, -0.5, 0.1, 1.7];
    const SIGN: [f64; 2] = [-1.0, 1.0];
    const A: [[f64; 3]; 3] = [[2.0, 0.5, -0.3], [0.1, -1.0, 0.4], [0.0, 0.2, 0.7]];
    const B: [f64; 3] = [0.6, -0.2, 1.5];

    /// t.A t/2 - b.t with an A that is not symmetric.
    fn quadratic(t: &[f64]) -> f64 {
        (0..3).map(|i| t[i] * ((0..3).map(|j| A[i][j] * t[j]).sum::<f64>() / 2.0 - B[i])).sum()
    }

    /// (A + A^T) t/2 - b
    fn derivative(t: &[f64]) -> [f64; 3] {
        [0, 1, 2].map(|i| (0..3).map(|j| (A[i][j] + A[j][i]) * t[j]).sum::<f64>() / 2.0 - B[i])
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn close(found: &[f64], expected: &[f64]) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-13);
        assert!(found.len() == expected.len() && near, "{found:?}, expected {expected:?}");
    }

    /// Mean over the directions of (v . derivative) v: what differences give where the loss is quadratic.
    fn projected(directions: [[f64; 3]; 2]) -> [f64; 3] {
        let slopes = directions.map(|v| dot(&v, &derivative(&THETA)));
        [0, 1, 2].map(|i| (slopes[0] * directions[0][i] + slopes[1] * directions[1][i]) / 2.0)
    }

    #[test]
    fn differences_of_a_quadratic_are_exact_at_any_distance() {
        let beta = 0.7f64;
        let direction = |i: usize| {
            [0, 1, 2].map(|j| beta.sqrt() * SIGN[i] * GUIDE[j] / 3.0 + (1.0 - beta).sqrt() * NOISE[3 * i + j])
        };
        for epsilon in [0.01, 0.5, 3.0] {
            let found = fogzo(&THETA, &GUIDE, &NOISE, &SIGN, beta, epsilon, quadratic);
            close(&found, &projected([direction(0), direction(1)]));
        }
    }

    #[test]
    fn beta_1_is_the_guide_with_the_slope_of_the_loss() {
        let found = fogzo(&THETA, &GUIDE, &NOISE, &SIGN, 1.0, 0.3, quadratic);
        let slope = dot(&GUIDE, &derivative(&THETA)) / 9.0;
        close(&found, &GUIDE.map(|g| slope * g));
        let tiny = GUIDE.map(|g| g * 1e-300);
        close(&fogzo(&THETA, &tiny, &NOISE, &SIGN, 1.0, 0.3, quadratic), &found);
    }

    #[test]
    fn beta_0_and_a_guide_of_0_leave_the_noise() {
        let [first, second] = [0, 1].map(|i| [0, 1, 2].map(|j| NOISE[3 * i + j]));
        let spsa = projected([first, second]);
        close(&fogzo(&THETA, &GUIDE, &NOISE, &SIGN, 0.0, 0.3, quadratic), &spsa);
        let found = fogzo(&THETA, &[0.0; 3], &NOISE, &SIGN, 0.75, 0.3, quadratic);
        close(&found, &spsa.map(|g| g / 4.0));
    }

    #[test]
    fn the_loss_is_called_on_both_sides_in_turn() {
        let mut seen = Vec::new();
        let mut record = |t: &[f64]| {
            seen.push(t[0]);
            0.0
        };
        assert_eq!(fogzo(&[1.0], &[-8.0], &[0.0, 0.0], &[1.0, -1.0], 1.0, 0.5, &mut record), [0.0]);
        assert_eq!(seen, [0.5, 1.5, 1.5, 0.5]);
    }

    #[test]
    #[should_panic(expected = "noise must have the shape [n, d] = [2, 3]")]
    fn noise_of_the_wrong_size_panics() {
        fogzo(&THETA, &GUIDE, &NOISE[..5], &SIGN, 0.5, 0.3, quadratic);
    }
}
