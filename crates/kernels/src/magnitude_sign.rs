//! Sign with a magnitude of its own for each filter (XNOR weights).
//!
//! ```text
//! y  = m_c sign(x),   m_c = mean abs(x) over row c,   sign(0) = +1
//! dx = G m_c where abs(x) <= 1, else 0                (m_c held constant)
//! ```
//! Source: Rastegari et al., "XNOR-Net", ECCV 2016; the magnitude-aware gradient follows Liu et al., "Bi-Real Net", ECCV 2018.

use rayon::prelude::*;

use crate::reduce::sum_abs;
use crate::simd::multiversion;

/// Mean magnitude of each row of `row` values.
pub fn magnitudes(x: &[f32], row: usize) -> Vec<f32> {
    x.chunks(row.max(1)).map(|x| (sum_abs(x) / x.len() as f64) as f32).collect()
}

/// `y` = magnitude of the row times the sign.
pub fn magnitude_sign(x: &[f32], magnitudes: &[f32], row: usize, y: &mut [f32]) {
    rows(x, x, magnitudes, row, y, |x, _, magnitude, y| sign_block(x, magnitude, y));
}

/// `input_gradient` = `gradient` times the magnitude of the row, within 1 of 0.
pub fn magnitude_sign_backward(
    x: &[f32],
    gradient: &[f32],
    magnitudes: &[f32],
    row: usize,
    input_gradient: &mut [f32],
) {
    rows(x, gradient, magnitudes, row, input_gradient, backward_block);
}

fn rows(
    x: &[f32],
    gradient: &[f32],
    magnitudes: &[f32],
    row: usize,
    out: &mut [f32],
    block: impl Fn(&[f32], &[f32], f32, &mut [f32]) + Sync,
) {
    let row = row.max(1);
    assert!(x.len() == out.len() && gradient.len() == out.len() && magnitudes.len() == out.len().div_ceil(row));
    let inputs = x.par_chunks(row).zip(gradient.par_chunks(row)).zip(magnitudes);
    out.par_chunks_mut(row)
        .zip(inputs)
        .for_each(|(out, ((x, gradient), magnitude))| block(x, gradient, *magnitude, out));
}

multiversion! {
    fn sign_block(x: &[f32], magnitude: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = if *x >= 0.0 { magnitude } else { -magnitude };
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], magnitude: f32, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = if x.abs() <= 1.0 { gradient * magnitude } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_own_magnitude() {
        let x = [1.0, -3.0, 0.0, 0.5];
        let means = magnitudes(&x, 2);
        assert_eq!(means, [2.0, 0.25]);
        let (mut y, mut dx) = ([0.0; 4], [0.0; 4]);
        magnitude_sign(&x, &means, 2, &mut y);
        magnitude_sign_backward(&x, &[1.0; 4], &means, 2, &mut dx);
        assert_eq!((y, dx), ([2.0, -2.0, 0.25, 0.25], [2.0, 0.0, 0.25, 0.25]));
    }
}
