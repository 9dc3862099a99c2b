//! PACT: activations clipped at a learned bound alpha, then quantised to bits.
//!
//! ```text
//! s      = alpha / (2^bits - 1)
//! y      = round(clamp(x, 0, alpha) / s) s                 (the forward pass is that of `fake_quant` with scale s)
//! dx     = G where 0 <= x <= alpha, else 0
//! dalpha = sum of G where x > alpha
//! ```
//! Source: Choi et al., "PACT: parameterized clipping activation for quantized neural networks", 2018.

use rayon::prelude::*;

use crate::CHUNK;
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Gradient with respect to `x`, and the returned one with respect to `alpha`.
pub fn pact_backward(x: &[f32], gradient: &[f32], alpha: f32, input_gradient: &mut [f32]) -> f32 {
    assert!(x.len() == gradient.len() && x.len() == input_gradient.len());
    let sums: Vec<f32> = input_gradient
        .par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
        .map(|(out, (x, gradient))| block(x, gradient, alpha, out))
        .collect();
    sums.into_iter().map(f64::from).sum::<f64>() as f32
}

multiversion! {
    fn block(x: &[f32], gradient: &[f32], alpha: f32, out: &mut [f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for ((x, gradient), out) in x.chunks(LANES).zip(gradient.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            for (((lane, x), gradient), out) in lanes.iter_mut().zip(x).zip(gradient).zip(out) {
                *out = if *x >= 0.0 && *x <= alpha { *gradient } else { 0.0 };
                *lane += if *x > alpha { *gradient } else { 0.0 };
            }
        }
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bounds_pass_to_x_and_what_is_above_to_alpha() {
        let mut dx = [9.0; 5];
        let dalpha = super::pact_backward(&[-0.1, 0.0, 2.0, 2.1, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0], 2.0, &mut dx);
        assert_eq!((dx, dalpha), ([0.0, 2.0, 3.0, 0.0, 0.0], 9.0));
    }
}
