//! The two-layer network with binary activation on Gaussian data: loss, gradient and expected coarse gradients.
//!
//! ```text
//! y(Z) = v . step(Z w),   step(x) = 1[x > 0],   Z [m, n] of independent standard normal values
//! l(Z) = (y(Z) - y*(Z))^2 / 2,   y* the same network with v* and w*
//! loss = E l(Z),   coarse gradient = E Z^T (d(Z w) v) (y(Z) - y*(Z)),   d the stand-in for the derivative of step
//!
//! u = w/norm(w), u* = w*/norm(w*), angle between them, e the unit vector along u* - (u.u*) u, s = sum(v), s* = sum(v*)
//! loss            = (norm(v - v*)^2 + (s - s*)^2 + (4 angle/pi) v.v*) / 8
//! d loss / dv     = (v - v* + (s - s*) + (2 angle/pi) v*) / 4
//! d loss / dw     = -v.v* e / (2 pi norm(w))
//! identity        d(x) = 1:            (norm(v)^2 u - v.v* u*) / sqrt(2 pi)
//! relu            d(x) = 1[x > 0]:     (h u - v.v* (u + u*)) / (2 sqrt(2 pi))
//! clipped relu    d(x) = 1[0 < x < 1]: (p(0) h/2 - v.v* p(angle)) u - v.v* q(angle) e
//! h        = norm(v)^2 + s^2 - s s* + v.v*
//! p(angle) = E x 1[0 < x < a] 1[x cos(angle) + z sin(angle) > 0],   a = 1/norm(w), x and z standard normal
//!          = (1 - exp(-a^2/2) (1 + erf(r cos(angle))) + cos(angle) erf(r)) / (2 sqrt(2 pi))
//! q(angle) = E z 1[0 < x < a] 1[x cos(angle) + z sin(angle) > 0]
//!          = sin(angle) erf(r) / (2 sqrt(2 pi)),   r = a/(sqrt 2 sin(angle))
//! ```
//! These are the paper's formulas, rearranged so that none divides by a number that vanishes at angle 0 or pi: with
//! b = (u + u*)/norm(u + u*) its cos(angle/2) b is (u + u*)/2, its csc(angle/2) b - cot(angle/2) u is e, and its
//! integrals p and q have the closed forms above. At angle 0 and pi, where e has no direction, e counts as 0; the
//! coarse gradients are continuous there, the gradient with respect to w is not.
//!
//! Source: Yin, Lyu, Zhang, Osher, Qi, Xin, "Understanding straight-through estimator in training activation quantized
//! neural nets", ICLR 2019, arXiv 1903.05662.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use thiserror::Error;

use crate::ops::ReluSurrogate;

/// The density of a standard normal value at 0.
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// Sines up to this are what rounding leaves between vectors that are multiples of each other.
const PARALLEL: f64 = 4.0 * f64::EPSILON;

/// A network (v, w) and its teacher (v*, w*): m hidden units that share one filter of n weights.
///
/// Formulas and source: the two-layer model of Yin et al. 2019, written out at the top of this file.
/// At angle 0 and pi the gradient with respect to w, which has no limit there, is 0.
///
/// ```
/// use hardgrad::theory::TwoLayer;
///
/// // The spurious minimum of the teacher v* = (2, -0.5): the angle is pi and v = 2 sum(v*)/(m + 1) - v*.
/// let network = TwoLayer::new(&[-1.0, 1.5], &[-1.0, 0.0], &[2.0, -0.5], &[1.0, 0.0]).unwrap();
/// assert_eq!(network.loss(), 0.375);
/// assert_eq!(network.coarse_relu(), [0.0, 0.0]);
/// assert!(network.coarse_identity()[0] < 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct TwoLayer<'a> {
    v: &'a [f64],
    v_star: &'a [f64],
    /// Norm of w.
    norm: f64,
    /// u, the direction of w.
    direction: Vec<f64>,
    /// u*, the direction of w*.
    direction_star: Vec<f64>,
    /// e, the direction in which w turns towards w*; 0 at angle 0 and pi.
    turn: Vec<f64>,
    cosine: f64,
    sine: f64,
}

impl<'a> TwoLayer<'a> {
    /// The network of `v` (m values) and `w` (n) with the teacher `v_star` (m) and `w_star` (n).
    ///
    /// The norm of `w_star` must be 1 within 1e-3 and is divided out, as the teacher's output does not depend on it.
    ///
    /// # Errors
    ///
    /// [`TwoLayerError`] where a slice is empty, holds NaN or infinity or has not the length of its partner, where `w`
    /// is 0 and where `w_star` is not of norm 1.
    pub fn new(v: &'a [f64], w: &[f64], v_star: &'a [f64], w_star: &[f64]) -> Result<Self, TwoLayerError> {
        for (name, values) in [("v", v), ("w", w), ("v_star", v_star), ("w_star", w_star)] {
            if values.is_empty() {
                return Err(TwoLayerError::Empty { name });
            }
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(TwoLayerError::NotFinite { name, index, value: values[index] });
            }
        }
        for (name, length, partner, expected) in
            [("v_star", v_star.len(), "v", v.len()), ("w_star", w_star.len(), "w", w.len())]
        {
            if length != expected {
                return Err(TwoLayerError::Length { name, length, partner, expected });
            }
        }
        let (norm, direction) = polar(w);
        if norm == 0.0 {
            return Err(TwoLayerError::ZeroWeight);
        }
        let (norm_star, direction_star) = polar(w_star);
        if (norm_star - 1.0).abs() > 1e-3 {
            return Err(TwoLayerError::NotUnit { norm: norm_star });
        }

        let cosine = dot(&direction, &direction_star);
        let mut rest = direction_star.clone();
        // Twice, for the first pass leaves the rounding of the product along u, which is not small beside a tiny sine.
        for _ in 0..2 {
            let along = dot(&rest, &direction);
            rest.iter_mut().zip(&direction).for_each(|(rest, u)| *rest -= along * u);
        }
        let (sine, turn) = polar(&rest);
        let (cosine, sine, turn) =
            if sine > PARALLEL { (cosine, sine, turn) } else { (cosine.signum(), 0.0, vec![0.0; turn.len()]) };
        Ok(Self { v, v_star, norm, direction, direction_star, turn, cosine, sine })
    }

    /// Angle between w and w* in radians, 0 to pi.
    pub fn angle(&self) -> f64 {
        // Unlike the arc cosine, it keeps its digits at both ends.
        self.sine.atan2(self.cosine)
    }

    /// Population loss: the mean of l(Z) over all Z.
    pub fn loss(&self) -> f64 {
        let distance: f64 = self.v.iter().zip(self.v_star).map(|(v, star)| (v - star).powi(2)).sum();
        (distance + self.excess().powi(2) + 4.0 * self.angle() / PI * self.agreement()) / 8.0
    }

    /// Gradient of the loss with respect to v, m values; also the expected gradient that back-propagation finds.
    pub fn gradient_v(&self) -> Vec<f64> {
        let (excess, share) = (self.excess(), 2.0 * self.angle() / PI);
        self.v.iter().zip(self.v_star).map(|(v, star)| (v - star + excess + share * star) / 4.0).collect()
    }

    /// Gradient of the loss with respect to w, n values; 0 at angle 0 and pi.
    pub fn gradient_w(&self) -> Vec<f64> {
        let scale = -self.agreement() / (2.0 * PI * self.norm);
        self.turn.iter().map(|e| scale * e).collect()
    }

    /// Expected coarse gradient for w with this surrogate in place of the step, n values.
    pub fn coarse(&self, surrogate: ReluSurrogate) -> Vec<f64> {
        match surrogate {
            ReluSurrogate::Identity => self.coarse_identity(),
            ReluSurrogate::Relu => self.coarse_relu(),
            ReluSurrogate::ClippedRelu => self.coarse_clipped_relu(),
        }
    }

    /// Expected coarse gradient for w with the identity in place of the step, n values.
    pub fn coarse_identity(&self) -> Vec<f64> {
        let (square, agreement) = (dot(self.v, self.v), self.agreement());
        self.combine(&self.direction_star, DENSITY * square, -DENSITY * agreement)
    }

    /// Expected coarse gradient for w with max(x, 0) in place of the step, n values.
    pub fn coarse_relu(&self) -> Vec<f64> {
        let agreement = self.agreement();
        self.combine(&self.direction_star, DENSITY / 2.0 * (self.h() - agreement), -DENSITY / 2.0 * agreement)
    }

    /// Expected coarse gradient for w with clamp(x, 0, 1) in place of the step, n values.
    pub fn coarse_clipped_relu(&self) -> Vec<f64> {
        let agreement = self.agreement();
        let (whole, p, q) = self.moments();
        self.combine(&self.turn, whole * self.h() / 2.0 - agreement * p, -agreement * q)
    }

    /// along u + across other
    fn combine(&self, other: &[f64], along: f64, across: f64) -> Vec<f64> {
        self.direction.iter().zip(other).map(|(u, other)| along * u + across * other).collect()
    }

    /// p(0), p(angle) and q(angle), each to about 1e-16; p(0) falls with 1/norm(w)^2 for long w.
    fn moments(&self) -> (f64, f64, f64) {
        let a = 1.0 / self.norm;
        // r is infinite where the sine is 0, and the error functions then have their limits.
        let r = FRAC_1_SQRT_2 * a / self.sine;
        let (near, far) = (libm::erf(self.cosine * r), libm::erf(r));
        let below = -(-a * a / 2.0).exp_m1();
        // 1 - exp(-a^2/2) (1 + near) + cos far, sorted so that a small a loses least.
        let p = below * (1.0 + near) + (self.cosine * far - near);
        (DENSITY * below, DENSITY / 2.0 * p, DENSITY / 2.0 * self.sine * far)
    }

    fn h(&self) -> f64 {
        dot(self.v, self.v) + self.v.iter().sum::<f64>() * self.excess() + self.agreement()
    }

    /// sum(v) - sum(v*)
    fn excess(&self) -> f64 {
        self.v.iter().sum::<f64>() - self.v_star.iter().sum::<f64>()
    }

    /// v . v*
    fn agreement(&self) -> f64 {
        dot(self.v, self.v_star)
    }
}

/// What is wrong with the vectors of a [`TwoLayer`].
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TwoLayerError {
    /// A vector without elements.
    #[error("{name} is empty; it needs at least one value")]
    Empty {
        /// The vector.
        name: &'static str,
    },
    /// NaN or infinity.
    #[error("{name} must hold finite values, got {value} at index {index}")]
    NotFinite {
        /// The vector.
        name: &'static str,
        /// The first place.
        index: usize,
        /// What is there.
        value: f64,
    },
    /// Two vectors that belong together differ in length.
    #[error("{name} must have the length of {partner}, {expected}, got {length}")]
    Length {
        /// The vector.
        name: &'static str,
        /// Its length.
        length: usize,
        /// The vector it belongs to.
        partner: &'static str,
        /// Its partner's length.
        expected: usize,
    },
    /// w = 0 has no direction.
    #[error("w must not be 0: the loss depends on its direction")]
    ZeroWeight,
    /// The teacher's filter is not normalised.
    #[error("w_star must have norm 1 within 1e-3, got {norm}")]
    NotUnit {
        /// Its norm.
        norm: f64,
    },
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Norm and direction; the direction of 0 is 0. Scaled, so that no square overflows or vanishes.
fn polar(x: &[f64]) -> (f64, Vec<f64>) {
    let largest = x.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    if largest == 0.0 {
        return (0.0, vec![0.0; x.len()]);
    }
    let mut direction: Vec<f64> = x.iter().map(|x| x / largest).collect();
    let norm = dot(&direction, &direction).sqrt();
    direction.iter_mut().for_each(|x| *x /= norm);
    (largest * norm, direction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: [f64; 3] = [0.7, -0.4, 1.3];
    const V_STAR: [f64; 3] = [1.0, 0.5, -0.25];
    const W_STAR: [f64; 4] = [0.5, -0.5, 0.5, 0.5];
    const ANGLES: [f64; 6] = [1e-6, 0.3, 1.2, 1.6, 2.8, 3.1];

    /// A filter of this norm at this angle from `W_STAR`.
    fn filter(angle: f64, norm: f64) -> Vec<f64> {
        let across = [0.1, 0.7, 0.1, 0.5].map(|x: f64| x / 0.76f64.sqrt());
        W_STAR.iter().zip(across).map(|(star, across)| norm * (angle.cos() * star + angle.sin() * across)).collect()
    }

    fn network<'a>(v: &'a [f64], w: &[f64]) -> TwoLayer<'a> {
        TwoLayer::new(v, w, &V_STAR, &W_STAR).unwrap()
    }

    /// v of the spurious minimum, 2 sum(v*)/(m + 1) - v*.
    fn spurious() -> [f64; 3] {
        V_STAR.map(|star| 2.0 * 1.25 / 4.0 - star)
    }

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance);
        assert!(found.len() == expected.len() && near, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn the_angle_keeps_its_digits() {
        for angle in [1e-12, 1e-7, 0.5, PI / 2.0, 3.0] {
            let found = network(&V, &filter(angle, 3.7)).angle();
            assert!((found - angle).abs() < 1e-15, "{found:e}, expected {angle:e}");
        }
        let multiple = |factor: f64| W_STAR.map(|star| factor * star);
        assert_eq!(network(&V, &multiple(0.3)).angle(), 0.0);
        assert_eq!(network(&V, &multiple(-1e-200 / 3.0)).angle(), PI);
    }

    #[test]
    fn everything_vanishes_at_the_global_minimum() {
        let network = network(&V_STAR, &W_STAR);
        assert_eq!((network.loss(), network.gradient_v()), (0.0, vec![0.0; 3]));
        assert_eq!(network.gradient_w(), [0.0; 4]);
        for coarse in [network.coarse_identity(), network.coarse_relu(), network.coarse_clipped_relu()] {
            close(&coarse, &[0.0; 4], 1e-16);
        }
    }

    #[test]
    fn only_the_identity_leaves_the_spurious_minimum() {
        let v = spurious();
        let network = network(&v, &filter(PI, 0.8));
        let (m, sum) = (3.0, 1.25f64);
        assert!((network.loss() - sum * sum / (2.0 * (m + 1.0))).abs() < 1e-16);
        close(&network.gradient_v(), &[0.0; 3], 1e-16);
        assert_eq!(network.gradient_w(), [0.0; 4]);
        close(&network.coarse_relu(), &[0.0; 4], 1e-16);
        close(&network.coarse_clipped_relu(), &[0.0; 4], 1e-16);
        let identity = polar(&network.coarse_identity()).0;
        let expected = 2.0 * (m - 1.0) / ((2.0 * PI).sqrt() * (m + 1.0).powi(2)) * sum * sum;
        assert!((identity - expected).abs() < 1e-15);
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let h = 1e-5;
        let moved = |x: &[f64], i: usize, by: f64| -> Vec<f64> {
            x.iter().enumerate().map(|(j, x)| if i == j { x + by } else { *x }).collect()
        };
        for angle in [0.3, 1.2, 2.8] {
            let w = filter(angle, 0.6);
            let slope = |i, both: &dyn Fn(usize, f64) -> f64| (both(i, h) - both(i, -h)) / (2.0 * h);
            let by_v = |i, by| network(&moved(&V, i, by), &w).loss();
            let by_w = |i, by| network(&V, &moved(&w, i, by)).loss();
            let expected: Vec<f64> = (0..3).map(|i| slope(i, &by_v)).collect();
            close(&network(&V, &w).gradient_v(), &expected, 1e-9);
            let expected: Vec<f64> = (0..4).map(|i| slope(i, &by_w)).collect();
            close(&network(&V, &w).gradient_w(), &expected, 1e-9);
        }
    }

    #[test]
    fn coarse_gradients_correlate_with_the_gradient_as_proved() {
        for (angle, norm) in ANGLES.into_iter().zip([1.0, 0.05, 0.7, 30.0, 2.0, 0.4]) {
            let network = network(&V, &filter(angle, norm));
            let (gradient, square) = (network.gradient_w(), dot(&V, &V_STAR).powi(2));
            let identity = angle.sin() / ((2.0 * PI).powf(1.5) * norm) * square;
            let clipped = network.moments().2 / (2.0 * PI * norm) * square;
            for (coarse, expected) in [
                (network.coarse_identity(), identity),
                (network.coarse_relu(), identity / 2.0),
                (network.coarse_clipped_relu(), clipped),
            ] {
                let found = dot(&coarse, &gradient);
                assert!((found - expected).abs() < 1e-14 / norm, "angle {angle}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn clipped_relu_is_that_of_the_papers_integrals() {
        let simpson = |from: f64, to: f64, f: &dyn Fn(f64) -> f64| {
            let (pieces, width) = (4000, (to - from) / 4000.0);
            let weight = |i| if i == 0 || i == pieces { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
            (0..=pieces).map(|i| weight(i) * f(from + f64::from(i) * width)).sum::<f64>() * width / 3.0
        };
        for angle in ANGLES {
            for norm in [0.1, 0.8, 5.0] {
                let xi = |x: f64| (PI / 2.0).sqrt() * libm::erf(x / 2f64.sqrt()) - x * (-x * x / 2.0).exp();
                let integral = |angle: f64, part: fn(f64) -> f64| {
                    // Rounding can take the secant at pi/2 below 0.
                    let inner = |phi: f64| part(phi) * xi(1.0 / (phi.cos().abs() * norm));
                    simpson(angle - PI / 2.0, PI / 2.0, &inner) / (2.0 * PI)
                };
                let (whole, p, q) = (integral(0.0, f64::cos), integral(angle, f64::cos), integral(angle, f64::sin));
                let (w, half) = (filter(angle, norm), angle / 2.0);
                let network = network(&V, &w);
                let sum: Vec<f64> = w.iter().zip(W_STAR).map(|(w, star)| w / norm + star).collect();
                let (b, agreement) = (polar(&sum).1, dot(&V, &V_STAR));
                let along = whole * network.h() / 2.0 - agreement * (p - q / half.tan());
                let expected = network.combine(&b, along, -agreement * q / half.sin());
                // The paper's form divides by the angle what quadrature leaves of q.
                close(&network.coarse_clipped_relu(), &expected, 1e-11 + 1e-15 / angle);
            }
        }
    }

    #[test]
    fn coarse_gradients_are_continuous_at_both_ends() {
        for end in [0.0, PI] {
            let near = [end, end + 1e-9].map(|angle| filter(angle, 0.8));
            let [at, by] = near.each_ref().map(|w| network(&V, w));
            close(&by.coarse_identity(), &at.coarse_identity(), 1e-8);
            close(&by.coarse_relu(), &at.coarse_relu(), 1e-8);
            close(&by.coarse_clipped_relu(), &at.coarse_clipped_relu(), 1e-8);
            assert_eq!(at.gradient_w(), [0.0; 4]);
            assert!(polar(&by.gradient_w()).0 > 1e-3);
        }
    }

    #[test]
    fn refuses_vectors_that_make_no_network() {
        let refused = |v: &[f64], w: &[f64], v_star: &[f64], w_star: &[f64]| {
            TwoLayer::new(v, w, v_star, w_star).unwrap_err().to_string()
        };
        assert_eq!(refused(&[], &[1.0], &[1.0], &[1.0]), "v is empty; it needs at least one value");
        let found = refused(&[1.0], &[1.0, f64::NAN], &[1.0], &[1.0]);
        assert_eq!(found, "w must hold finite values, got NaN at index 1");
        let found = refused(&[1.0], &[1.0], &[1.0, 2.0], &[1.0]);
        assert_eq!(found, "v_star must have the length of v, 1, got 2");
        assert_eq!(refused(&[1.0], &[0.0], &[1.0], &[1.0]), "w must not be 0: the loss depends on its direction");
        let found = refused(&[1.0], &[1.0], &[1.0], &[1.5]);
        assert_eq!(found, "w_star must have norm 1 within 1e-3, got 1.5");
        assert!(TwoLayer::new(&[1.0], &[1.0], &[1.0], &[-1.0009]).is_ok());
    }
}
