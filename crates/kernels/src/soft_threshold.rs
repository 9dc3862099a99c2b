//! Shrinking towards 0 by a learned amount.
//!
//! ```text
//! y  = sign(x) max(0, abs(x) - t),   t = sigmoid(s)
//! dx = G where abs(x) > t, else 0            ds = - sum of G sign(x) t (1 - t) where abs(x) > t
//! ```
//! Source: Kusupati et al., "Soft threshold weight reparameterization" (STR), ICML 2020.

use rayon::prelude::*;

use crate::CHUNK;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;
use crate::slices::unary;

/// The threshold that belongs to `s`.
pub fn threshold(s: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(s)).exp())) as f32
}

/// `y` = `x`, nearer to 0 by [`threshold`] of `s`.
pub fn soft_threshold(x: &[f32], s: f32, y: &mut [f32]) {
    let threshold = threshold(s);
    unary(x, y, |x, y| shrink_block(x, threshold, y));
}

/// Gradient with respect to `x`, and the returned one with respect to `s`.
pub fn soft_threshold_backward(x: &[f32], gradient: &[f32], s: f32, input_gradient: &mut [f32]) -> f32 {
    assert!(x.len() == gradient.len() && x.len() == input_gradient.len());
    let threshold = threshold(s);
    let sums: Vec<f32> = input_gradient
        .par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
        .map(|(out, (x, gradient))| backward_block(x, gradient, threshold, out))
        .collect();
    let slope = 1.0 / (1.0 + (-f64::from(s)).exp()) / (1.0 + f64::from(s).exp());
    (-sums.into_iter().map(f64::from).sum::<f64>() * slope) as f32
}

multiversion! {
    fn shrink_block(x: &[f32], threshold: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            let rest = x.abs() - threshold;
            *y = if rest > 0.0 { rest.copysign(*x) } else { 0.0 };
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], threshold: f32, out: &mut [f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for ((x, gradient), out) in x.chunks(LANES).zip(gradient.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            for (((lane, x), gradient), out) in lanes.iter_mut().zip(x).zip(gradient).zip(out) {
                let passed = if x.abs() > threshold { *gradient } else { 0.0 };
                *out = passed;
                *lane += if *x > 0.0 { passed } else { -passed };
            }
        }
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_the_threshold_is_zero() {
        let x = [0.5, 0.75, -2.0];
        let (mut y, mut dx) = ([9.0; 3], [9.0; 3]);
        soft_threshold(&x, 0.0, &mut y);
        let ds = soft_threshold_backward(&x, &[1.0, 2.0, 5.0], 0.0, &mut dx);
        assert_eq!((y, dx, ds), ([0.0, 0.25, -1.5], [0.0, 2.0, 5.0], -(2.0 - 5.0) * 0.25));
    }

    #[test]
    fn extreme_thresholds_stay_finite() {
        let mut dx = [0.0; 2];
        for s in [-1e4, 1e4] {
            assert!(threshold(s).is_finite());
            assert!(soft_threshold_backward(&[2.0, -3.0], &[1.0, 1.0], s, &mut dx).is_finite());
        }
    }
}
