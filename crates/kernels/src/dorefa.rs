//! DoReFa: activations clipped to 0..1, weights squeezed by tanh, both quantised to L = 2^bits - 1 steps (`steps` below).
//!
//! ```text
//! activation  y = round(clamp(x, 0, 1) L) / L                      dx = G where 0 <= x <= 1, else 0
//! weight      r = tanh(x) / (2 m) + 1/2,  m = max abs(tanh(x))
//!             y = 2 round(r L) / L - 1                             dx = G (1 - tanh(x)^2) / m, m held constant
//! ```
//! m counts as 1 where x is all 0. Source: Zhou et al., "DoReFa-Net", 2016.

use rayon::prelude::*;

use crate::CHUNK;
use crate::math::{square_of_sech, tanh};
use crate::reduce::max_abs;
use crate::simd::multiversion;
use crate::slices::{binary, unary};

/// Quantised activations.
pub fn dorefa_activation(x: &[f32], steps: f32, y: &mut [f32]) {
    unary(x, y, |x, y| activation_block(x, steps, y));
}

/// Gradient of [`dorefa_activation`].
pub fn dorefa_activation_backward(x: &[f32], gradient: &[f32], input_gradient: &mut [f32]) {
    binary(x, gradient, input_gradient, activation_backward_block);
}

/// Quantised weights.
pub fn dorefa_weight(x: &[f32], steps: f32, y: &mut [f32]) {
    let largest = largest_tanh(x);
    unary(x, y, |x, y| weight_block(x, largest, steps, y));
}

/// Gradient of [`dorefa_weight`].
pub fn dorefa_weight_backward(x: &[f32], gradient: &[f32], input_gradient: &mut [f32]) {
    let largest = largest_tanh(x);
    binary(x, gradient, input_gradient, |x, gradient, out| weight_backward_block(x, gradient, largest, out));
}

/// tanh grows with x, so its largest value is the tanh of the largest.
fn largest_tanh(x: &[f32]) -> f32 {
    let largest = tanh(x.par_chunks(CHUNK).map(max_abs).reduce(|| 0.0, f32::max));
    if largest > 0.0 { largest } else { 1.0 }
}

multiversion! {
    fn activation_block(x: &[f32], steps: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x.clamp(0.0, 1.0) * steps).round_ties_even() / steps;
        }
    }
}

multiversion! {
    fn activation_backward_block(x: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = if *x >= 0.0 && *x <= 1.0 { *gradient } else { 0.0 };
        }
    }
}

multiversion! {
    fn weight_block(x: &[f32], largest: f32, steps: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            let n = ((tanh(*x) / (2.0 * largest) + 0.5) * steps).round_ties_even();
            *y = (2.0 * n - steps) / steps;
        }
    }
}

multiversion! {
    fn weight_backward_block(x: &[f32], gradient: &[f32], largest: f32, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = gradient * square_of_sech(*x) / largest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_of_2_bits() {
        let mut y = [0.0; 5];
        dorefa_activation(&[-1.0, 0.5, 0.3, 1.0, 7.0], 3.0, &mut y);
        assert_eq!(y, [0.0, 2.0 / 3.0, 1.0 / 3.0, 1.0, 1.0]);
    }

    #[test]
    fn one_bit_weights_are_signs_and_zeros_do_no_harm() {
        let mut y = [0.0; 3];
        dorefa_weight(&[-0.2, 0.9, 0.1], 1.0, &mut y);
        assert_eq!(y, [-1.0, 1.0, 1.0]);
        let mut gradient = [0.0; 2];
        dorefa_weight(&[0.0, 0.0], 3.0, &mut y[..2]);
        dorefa_weight_backward(&[0.0, 0.0], &[1.0, 2.0], &mut gradient);
        assert!(y.iter().all(|y| y.is_finite()));
        assert_eq!(gradient, [1.0, 2.0]);
    }
}
