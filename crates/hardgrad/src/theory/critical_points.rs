//! Where coarse gradient descent can stop: saddles and minima of the two-layer network's loss.
//!
//! ```text
//! s = sum(v*), J the matrix of ones, m hidden units; saddles exist where s^2 < (m + 1)/2 norm(v*)^2, spurious minima if also s is not 0
//! saddles          angle = pi/2 (m + 1) norm(v*)^2 / ((m + 1) norm(v*)^2 - s^2),   v = (I + J)^-1 ((1 - 2 angle/pi) I + J) v*
//! spurious minima  angle = pi,   v = (I + J)^-1 (J - I) v* = 2 s/(m + 1) - v*,   loss = s^2 / (2 (m + 1))
//! global minima    angle = 0,    v = v*,   loss = 0; for s = 0 also angle = pi, v = -v*
//! ```
//! Source: Yin et al., ICLR 2019, proposition 1; the loss at the spurious minima follows from it.

use std::f64::consts::PI;

/// A point at which the gradient for v and the coarse gradients of ReLU and clipped ReLU vanish: an angle between w and w*, and v.
///
/// The norm of w is free, as is its direction at that angle.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalPoint {
    /// Angle between w and w* in radians.
    pub angle: f64,
    /// Output weights, as many as v*.
    pub v: Vec<f64>,
}

/// Whether the loss has saddles for these output weights of the teacher.
fn has_saddles(v_star: &[f64]) -> bool {
    let (s, square) = sums(v_star);
    s * s < (v_star.len() as f64 + 1.0) / 2.0 * square
}

/// The spurious minimum of this teacher; none where the loss has none.
///
/// ```
/// use hardgrad::theory::spurious_minimum;
/// assert_eq!(spurious_minimum(&[2.0, -0.5]).unwrap().v, [-1.0, 1.5]);
/// ```
pub fn spurious_minimum(v_star: &[f64]) -> Option<CriticalPoint> {
    let s = sums(v_star).0;
    (has_saddles(v_star) && s != 0.0).then(|| {
        let shift = 2.0 * s / (v_star.len() as f64 + 1.0);
        CriticalPoint { angle: PI, v: v_star.iter().map(|star| shift - star).collect() }
    })
}

/// The saddle of this teacher: v stands at a right angle to v* there; none where the loss has none.
///
/// ```
/// use hardgrad::theory::saddle;
/// assert_eq!(saddle(&[1.0, -1.0]).unwrap().angle, std::f64::consts::FRAC_PI_2);
/// ```
pub fn saddle(v_star: &[f64]) -> Option<CriticalPoint> {
    has_saddles(v_star).then(|| {
        let (s, square) = sums(v_star);
        let more = v_star.len() as f64 + 1.0;
        let angle = PI / 2.0 * more * square / (more * square - s * s);
        // Where d loss/dv is 0: (I + J) v = (1 - 2 angle/pi) v* + s.
        let own = 1.0 - 2.0 * angle / PI;
        let shift = s * (1.0 - own) / more;
        CriticalPoint { angle, v: v_star.iter().map(|star| own * star + shift).collect() }
    })
}

/// sum(v*) and its squared norm.
fn sums(v_star: &[f64]) -> (f64, f64) {
    (v_star.iter().sum(), v_star.iter().map(|v| v * v).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theory::TwoLayer;

    const TEACHERS: [&[f64]; 4] =
        [&[1.0, -0.4, 0.7, 0.2, -0.9], &[2.0, -0.5], &[2.0, -1.0, 0.3], &[0.0, 1.0, 0.0, -3.0]];

    fn filter(angle: f64) -> [f64; 3] {
        [0.7 * angle.cos(), 0.0, 0.7 * angle.sin()]
    }

    fn norm(values: &[f64]) -> f64 {
        values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    #[test]
    fn gradients_vanish_at_the_saddle_and_at_the_spurious_minimum() {
        for v_star in TEACHERS {
            for CriticalPoint { angle, v } in [saddle(v_star).unwrap(), spurious_minimum(v_star).unwrap()] {
                let w = filter(angle);
                let network = TwoLayer::new(&v, &w, v_star, &[1.0, 0.0, 0.0]).unwrap();
                assert!(norm(&network.gradient_v()) < 1e-12 && norm(&network.gradient_w()) < 1e-12, "{v_star:?}");
                // The paper's lemma 6: so does the coarse gradient of ReLU and of clipped ReLU.
                assert!(norm(&network.coarse_relu()) < 1e-12, "{v_star:?} {:?}", network.coarse_relu());
                assert!(norm(&network.coarse_clipped_relu()) < 1e-12, "{v_star:?}");
            }
        }
    }

    #[test]
    fn the_spurious_minimum_has_its_loss_and_is_one() {
        for v_star in TEACHERS {
            let CriticalPoint { angle, v } = spurious_minimum(v_star).unwrap();
            let w = filter(angle);
            let network = TwoLayer::new(&v, &w, v_star, &[1.0, 0.0, 0.0]).unwrap();
            let s: f64 = v_star.iter().sum();
            let expected = s * s / (2.0 * (v_star.len() as f64 + 1.0));
            assert!((network.loss() - expected).abs() < 1e-12);
            for direction in 0..=v.len() {
                let (mut near, mut angle) = (v.clone(), angle);
                match near.get_mut(direction) {
                    Some(v) => *v += 1e-3,
                    None => angle -= 1e-3,
                }
                let w = filter(angle);
                let near = TwoLayer::new(&near, &w, v_star, &[1.0, 0.0, 0.0]).unwrap();
                assert!(near.loss() >= network.loss() - 1e-15, "{v_star:?}, direction {direction}");
            }
        }
    }

    #[test]
    fn the_loss_falls_on_both_sides_of_the_saddle() {
        for v_star in TEACHERS {
            let CriticalPoint { angle, v } = saddle(v_star).unwrap();
            let loss = |along: f64, angle: f64| {
                let v: Vec<f64> = v.iter().zip(v_star).map(|(v, star)| v + along * star).collect();
                TwoLayer::new(&v, &filter(angle), v_star, &[1.0, 0.0, 0.0]).unwrap().loss()
            };
            let at = loss(0.0, angle);
            let step = 1e-3;
            // Down where v turns to v* while the angle falls, and the other way round; up the other two ways.
            assert!(loss(step, angle - 10.0 * step) < at && loss(-step, angle + 10.0 * step) < at, "{v_star:?}");
            assert!(loss(step, angle + 10.0 * step) > at && loss(-step, angle - 10.0 * step) > at, "{v_star:?}");
        }
    }

    #[test]
    fn teachers_without_spurious_minima() {
        for v_star in [&[1.0, 1.0][..], &[3.0], &[0.5, 0.6, 0.7]] {
            assert!(saddle(v_star).is_none() && spurious_minimum(v_star).is_none());
        }
        // A sum of 0: the mirror image of the teacher is as good as the teacher.
        assert!(saddle(&[1.0, -1.0]).is_some() && spurious_minimum(&[1.0, -1.0]).is_none());
        let mirrored = TwoLayer::new(&[-1.0, 1.0], &[-1.0, 0.0], &[1.0, -1.0], &[1.0, 0.0]).unwrap();
        assert_eq!(mirrored.loss(), 0.0);
    }
}
