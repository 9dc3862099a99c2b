//! A mask by learned scores: the values whose scores have the largest magnitudes stay.
//!
//! ```text
//! m  = 1 on the n - floor((1 - keep) n) largest abs(scores), else 0        y = x m
//! dx = G m                                                                 dscores = G x
//! ```
//! Sources: Ramanujan et al., "What's hidden in a randomly weighted neural network?" (edge-popup), CVPR 2020; Sanh et al.,
//! "Movement pruning", NeurIPS 2020.

use rayon::prelude::*;

use crate::CHUNK;
use crate::counts::share_of;
use crate::simd::multiversion;
use crate::slices::binary;

/// How many of `count` values stay: count - floor((1 - keep) count), the product in f64 and guarded ([`share_of`]).
pub fn kept(count: usize, keep: f64) -> usize {
    count - share_of(count as u64, 1.0 - keep) as usize
}

/// `y` = `x` times `mask`; also the gradient with respect to `x`, from that of `y`.
pub fn score_mask(x: &[f32], mask: &[f32], y: &mut [f32]) {
    binary(x, mask, y, product_block);
}

/// Gradients with respect to `x` and to the scores in one pass.
pub fn score_mask_backward(
    x: &[f32],
    mask: &[f32],
    gradient: &[f32],
    input_gradient: &mut [f32],
    score_gradient: &mut [f32],
) {
    assert!(x.len() == mask.len() && x.len() == gradient.len());
    assert!(x.len() == input_gradient.len() && x.len() == score_gradient.len());
    let inputs = x.par_chunks(CHUNK).zip(mask.par_chunks(CHUNK)).zip(gradient.par_chunks(CHUNK));
    let outputs = input_gradient.par_chunks_mut(CHUNK).zip(score_gradient.par_chunks_mut(CHUNK));
    inputs.zip(outputs).for_each(|(((x, mask), gradient), (dx, dscores))| {
        product_block(gradient, mask, dx);
        product_block(gradient, x, dscores);
    });
}

multiversion! {
    fn product_block(x: &[f32], mask: &[f32], y: &mut [f32]) {
        for ((y, x), mask) in y.iter_mut().zip(x).zip(mask) {
            *y = x * mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_rounded_so_that_the_dropped_are_whole() {
        assert_eq!([kept(10, 0.3), kept(10, 1.0), kept(10, 0.0), kept(3, 0.5), kept(0, 0.5)], [3, 10, 0, 2, 0]);
        // The floats 1 - 0.8 and 1 - 0.9 are a bit below 0.2 and 0.1.
        assert_eq!([kept(5, 0.8), kept(10, 0.9)], [4, 9]);
    }

    #[test]
    fn dropped_values_still_move_their_scores() {
        let (mut y, mut dx, mut dscores) = ([9.0; 2], [9.0; 2], [9.0; 2]);
        score_mask(&[3.0, 4.0], &[1.0, 0.0], &mut y);
        score_mask_backward(&[3.0, 4.0], &[1.0, 0.0], &[2.0, 2.0], &mut dx, &mut dscores);
        assert_eq!((y, dx, dscores), ([3.0, 0.0], [2.0, 0.0], [6.0, 8.0]));
    }
}
