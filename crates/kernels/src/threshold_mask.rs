//! A mask by a learned threshold on the magnitude.
//!
//! ```text
//! m  = 1 where abs(x) >= threshold, else 0          y = x m
//! dx = G m                                          dthreshold = - sum of G x surrogate'(abs(x) - threshold)
//! ```
//! Source: Mallya et al., "Piggyback", ECCV 2018; the surrogate takes the place of the step's derivative.

use rayon::prelude::*;

use crate::CHUNK;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;
use crate::slices::unary;
use crate::surrogate::{Surrogate, for_known};

/// `y` = `x` where its magnitude reaches the threshold, else 0.
pub fn threshold_mask(x: &[f32], threshold: f32, y: &mut [f32]) {
    unary(x, y, |x, y| mask_block(x, threshold, y));
}

/// Gradient with respect to `x`, and the returned one with respect to the threshold.
pub fn threshold_mask_backward(
    x: &[f32],
    gradient: &[f32],
    threshold: f32,
    surrogate: Surrogate,
    input_gradient: &mut [f32],
) -> f32 {
    assert!(x.len() == gradient.len() && x.len() == input_gradient.len());
    let sums: Vec<f32> = input_gradient
        .par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
        .map(|(out, (x, gradient))| backward_block(x, gradient, threshold, surrogate, out))
        .collect();
    -sums.into_iter().map(f64::from).sum::<f64>() as f32
}

multiversion! {
    fn mask_block(x: &[f32], threshold: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = if x.abs() >= threshold { *x } else { 0.0 };
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], threshold: f32, surrogate: Surrogate, out: &mut [f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        let chunks = x.chunks(LANES).zip(gradient.chunks(LANES)).zip(out.chunks_mut(LANES));
        for_known!(surrogate, for ((x, gradient), out) in chunks {
            for (((lane, x), gradient), out) in lanes.iter_mut().zip(x).zip(gradient).zip(out) {
                *out = if x.abs() >= threshold { *gradient } else { 0.0 };
                *lane += gradient * x * surrogate.derivative(x.abs() - threshold);
            }
        });
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_kept() {
        let x = [0.5, -0.4, -2.0];
        let (mut y, mut dx) = ([9.0; 3], [9.0; 3]);
        threshold_mask(&x, 0.5, &mut y);
        let dthreshold = threshold_mask_backward(&x, &[1.0, 2.0, 4.0], 0.5, Surrogate::Clipped, &mut dx);
        assert_eq!((y, dx), ([0.5, 0.0, -2.0], [1.0, 0.0, 4.0]));
        // abs(x) - threshold = 0, -0.1, 1.5: the last is clipped.
        assert!((dthreshold - -(0.5 - 0.8)).abs() < 1e-6, "{dthreshold}");
    }
}
