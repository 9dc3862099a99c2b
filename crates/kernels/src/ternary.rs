//! Weights of three values.
//!
//! ```text
//! threshold (TWN):    D = 0.7 mean abs(x);         y = +1 where x > D, -1 where x < -D, else 0;   dx = G where abs(x) <= 1
//! absolute mean:      g = mean abs(x) + 1e-5;      y = clamp(round(x / g), -1, 1) g;              dx = G
//! ```
//! Sources: Li et al., "Ternary weight networks", 2016; Ma et al., "The era of 1-bit LLMs" (BitNet b1.58), 2024.

use crate::reduce::sum_abs;
use crate::simd::multiversion;
use crate::slices::{binary, unary};

/// Added to the mean magnitude, so that weights that are all 0 stay 0.
const EPSILON: f64 = 1e-5;

fn mean_abs(x: &[f32]) -> f64 {
    sum_abs(x) / x.len().max(1) as f64
}

/// `y` = -1, 0 or +1 by the threshold 0.7 mean abs(x).
pub fn ternary_twn(x: &[f32], y: &mut [f32]) {
    let threshold = (0.7 * mean_abs(x)) as f32;
    unary(x, y, |x, y| threshold_block(x, threshold, y));
}

/// `input_gradient` = `gradient` within 1 of 0, else 0.
pub fn ternary_twn_backward(x: &[f32], gradient: &[f32], input_gradient: &mut [f32]) {
    binary(x, gradient, input_gradient, clipped_block);
}

/// `y` = -g, 0 or +g by rounding x / g, with g the mean magnitude.
pub fn ternary_absmean(x: &[f32], y: &mut [f32]) {
    let scale = (mean_abs(x) + EPSILON) as f32;
    unary(x, y, |x, y| round_block(x, scale, y));
}

multiversion! {
    fn threshold_block(x: &[f32], threshold: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = f32::from(*x > threshold) - f32::from(*x < -threshold);
        }
    }
}

multiversion! {
    fn clipped_block(x: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = if x.abs() <= 1.0 { *gradient } else { 0.0 };
        }
    }
}

multiversion! {
    fn round_block(x: &[f32], scale: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x / scale).round_ties_even().clamp(-1.0, 1.0) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_the_threshold_are_zero() {
        // mean abs = 1, threshold 0.7
        let x = [0.7, 0.71, -0.69, -1.9];
        let (mut y, mut dx) = ([9.0; 4], [9.0; 4]);
        ternary_twn(&x, &mut y);
        ternary_twn_backward(&x, &[1.0, 2.0, 3.0, 4.0], &mut dx);
        assert_eq!((y, dx), ([0.0, 1.0, 0.0, -1.0], [1.0, 2.0, 3.0, 0.0]));
    }

    #[test]
    fn means_of_huge_values_do_not_overflow() {
        let mut y = [9.0; 3];
        ternary_twn(&[3e38, -3e38, 1.0], &mut y);
        assert_eq!(y, [1.0, -1.0, 0.0]);
    }

    #[test]
    fn absolute_mean_scales_the_codes() {
        let mut y = [9.0; 3];
        ternary_absmean(&[3.0, -0.1, -0.2], &mut y);
        let g = 1.1 + 1e-5;
        assert!((y[0] - g).abs() < 1e-6 && y[1] == 0.0 && y[2] == 0.0, "{y:?}");
        ternary_absmean(&[0.0; 3], &mut y);
        assert_eq!(y, [0.0; 3]);
    }
}
