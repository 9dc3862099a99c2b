//! The commitment loss: how far rows are from their codes.
//!
//! ```text
//! loss = commitment mean((x - q)^2)        dx = G 2 commitment (x - q) / (n dims)        q held constant
//! ```
//! Source: van den Oord et al., "Neural discrete representation learning", NeurIPS 2017.

use crate::simd::multiversion;
use crate::slices::binary;

/// `input_gradient` = (`x` - `quantized`) times `factor`.
pub fn commitment_backward(x: &[f32], quantized: &[f32], factor: f32, input_gradient: &mut [f32]) {
    binary(x, quantized, input_gradient, |x, quantized, out| block(x, quantized, factor, out));
}

multiversion! {
    fn block(x: &[f32], quantized: &[f32], factor: f32, out: &mut [f32]) {
        for ((out, x), quantized) in out.iter_mut().zip(x).zip(quantized) {
            *out = (x - quantized) * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gradient_points_to_the_code() {
        let mut dx = [9.0; 2];
        super::commitment_backward(&[1.0, -1.0], &[0.5, 1.0], 2.0, &mut dx);
        assert_eq!(dx, [1.0, -4.0]);
    }
}
