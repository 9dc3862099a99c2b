//! Sign forward, the derivative of a surrogate backward.
//!
//! ```text
//! y  = +1 where x >= 0, else -1
//! dx = G surrogate'(x)
//! ```

use crate::simd::multiversion;
use crate::slices::{binary, unary};
use crate::surrogate::{Surrogate, for_known};

/// `y` = the sign of `x`.
pub fn sign(x: &[f32], y: &mut [f32]) {
    unary(x, y, sign_block);
}

/// `input_gradient` = `gradient` times the surrogate's derivative at `x`.
pub fn sign_backward(x: &[f32], gradient: &[f32], surrogate: Surrogate, input_gradient: &mut [f32]) {
    binary(x, gradient, input_gradient, |x, gradient, out| backward_block(x, gradient, surrogate, out));
}

multiversion! {
    fn sign_block(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = if *x >= 0.0 { 1.0 } else { -1.0 };
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], surrogate: Surrogate, out: &mut [f32]) {
        for_known!(surrogate, for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = gradient * surrogate.derivative(*x);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_of_either_sign_is_positive() {
        let mut y = [0.0; 4];
        sign(&[0.0, -0.0, 1e-30, -1e-30], &mut y);
        assert_eq!(y, [1.0, 1.0, 1.0, -1.0]);
    }
}
