//! Activations on a grid of non-negative steps, with a surrogate by name.
//!
//! ```text
//! y  = 0 where x <= 0;  k alpha where (k - 1) alpha < x <= k alpha, k = 1 .. 2^bits - 1;  (2^bits - 1) alpha above
//! dx = G                                          (identity)
//!      G where x > 0, else 0                      (relu)
//!      G where 0 < x < (2^bits - 1) alpha, else 0 (clipped_relu)
//! ```
//! Source: Yin et al., "Understanding straight-through estimator in training activation quantized neural nets", ICLR 2019.

use crate::simd::multiversion;
use crate::slices::{binary, unary};

/// `y` = the grid point at or above `x`, between 0 and `levels * alpha`.
pub fn quantized_relu(x: &[f32], alpha: f32, levels: f32, y: &mut [f32]) {
    unary(x, y, |x, y| block(x, alpha, levels, y));
}

/// `input_gradient` = `gradient` where `x` lies strictly between 0 and `highest`, else 0.
pub fn quantized_relu_backward(x: &[f32], gradient: &[f32], highest: f32, input_gradient: &mut [f32]) {
    binary(x, gradient, input_gradient, |x, gradient, out| backward_block(x, gradient, highest, out));
}

multiversion! {
    fn block(x: &[f32], alpha: f32, levels: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            let k = (x / alpha).ceil().max(0.0).min(levels);
            // The division may round across a grid point; the comparison with the point itself decides.
            let k = if k >= 1.0 && *x <= (k - 1.0) * alpha { k - 1.0 } else { k };
            let k = if k < levels && *x > k * alpha { k + 1.0 } else { k };
            *y = k * alpha;
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], highest: f32, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = if *x > 0.0 && *x < highest { *gradient } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_points_belong_to_the_step_below_them() {
        let x = [-1.0, 0.0, 0.1, 0.5, 0.51, 1.5, 9.0];
        let (mut y, mut dx) = ([9.0; 7], [9.0; 7]);
        quantized_relu(&x, 0.5, 3.0, &mut y);
        quantized_relu_backward(&x, &[1.0; 7], 1.5, &mut dx);
        assert_eq!(y, [0.0, 0.0, 0.5, 0.5, 1.0, 1.5, 1.5]);
        assert_eq!(dx, [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn multiples_of_any_step_are_fixed_points() {
        for alpha in [0.486f32, 0.166, 0.1, 1.0 / 3.0] {
            let x: Vec<f32> = (0..16).map(|k| k as f32 * alpha).collect();
            let mut y = vec![0.0; 16];
            quantized_relu(&x, alpha, 15.0, &mut y);
            assert_eq!(x, y);
        }
    }
}
