//! Bounds of the scores that the search compares, wide enough for all rounding errors.
//!
//! ```text
//! s = h - p        h = |c|^2 / 2        p = x . c          score: half of the squared distance, less |x|^2 / 2
//! low = s - e      high = s + e         e = |x| slope + offset
//! ```
//! In the following u is [`UNIT`], |x| the norm of a row, |c| that of a code, and d the dimensions. Computed in `f32`,
//! the score misses the true one by at most
//!
//! ```text
//! u h                                     h was rounded from a double
//! (d + 2) u / (1 - (d + 2) u) |x| |c|     p, in any order of summation, with or without fused multiplications, cut
//!                                         anywhere: |x| |c| bounds the sum of the |x_i c_i|
//! u (h + |x| |c|)                         the subtraction (and terms in u^2, here and below)
//! (d + 1) TINY                            products too small for a float
//! ```
//! and the bounds, computed in `f32` too, miss theirs by another u (h + |x| |c| + e) and by e's own rounding. With d u
//! below 2^-8 all this is less than
//!
//! ```text
//! e = |x| slope + offset        slope = 1.02 (d + 6) u |c|        offset = 2 u |c|^2 + (d + 8) TINY
//! ```
//! The sums in `f64` that define the answer are themselves off by a share of (d + 2) 2^-53 of the squared distance,
//! which is at most 2 (|x|^2 + |c|^2). Scores are half of squared distances, less |x|^2 / 2. So the share of |c|^2 goes
//! into the offset, and that of |x|^2 is added to the bounds of the row.
//! Source of the bound of p: Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1.

use rayon::prelude::*;

use super::{inner, rows_a_task};
use crate::simd::multiversion;

/// Half the distance between 1 and the next float.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// The same for doubles.
const DOUBLE_UNIT: f64 = f64::EPSILON / 2.0;

/// The distance between 0 and the next float.
const TINY: f64 = 1.401_298_464_324_817e-45;

/// A codebook and what the search needs to know of each code.
pub(super) struct Codes<'a> {
    pub values: &'a [f32],
    pub dims: usize,
    pub half: Vec<f32>,
    pub slope: Vec<f32>,
    pub offset: Vec<f32>,
    /// The largest norm.
    largest: f64,
}

impl<'a> Codes<'a> {
    /// Above this number of dimensions the bound of the errors does not hold.
    const MOST_DIMS: usize = 1 << 16;

    pub fn new(values: &'a [f32], dims: usize) -> Self {
        let mut norms = vec![0.0; values.len() / dims];
        let rows = rows_a_task(dims);
        norms
            .par_chunks_mut(rows)
            .zip(values.par_chunks(rows * dims))
            .for_each(|(norms, codes)| row_norms(codes, dims, norms));
        let d = dims as f64;
        let offset = |norm: f64| (2.0 * UNIT + (d + 4.0) * DOUBLE_UNIT) * norm * norm + (d + 8.0) * TINY;
        Self {
            values,
            dims,
            half: norms.iter().map(|norm| (norm * norm / 2.0) as f32).collect(),
            slope: norms.iter().map(|norm| (1.02 * (d + 6.0) * UNIT * norm) as f32).collect(),
            offset: norms.iter().map(|norm| offset(*norm) as f32).collect(),
            // A norm that is not finite means values that are not: then no row takes the fast way.
            largest: if norms.iter().all(|norm| norm.is_finite()) {
                norms.iter().copied().fold(0.0, f64::max)
            } else {
                f64::INFINITY
            },
        }
    }

    /// Whether the bounds hold for a row of this norm. False also where a value is not finite.
    pub fn bounds_hold(&self, norm: f64) -> bool {
        self.dims <= Self::MOST_DIMS && norm < 1e38 && (norm + self.largest) * self.largest < 1e38
    }

    /// What the sums in `f64` can add to a bound, on either side, for the share of the row.
    pub fn spread(&self, norm: f64) -> f64 {
        (self.dims as f64 + 4.0) * DOUBLE_UNIT * norm * norm + TINY
    }
}

/// The bounds of a score, from the product x . c.
#[inline(always)]
pub(super) fn bounds(product: f32, norm: f32, half: f32, slope: f32, offset: f32) -> (f32, f32) {
    let (score, error) = (half - product, norm * slope + offset);
    (score - error, score + error)
}

multiversion! {
    /// The norm of each row of `x`.
    pub(super) fn row_norms(x: &[f32], dims: usize, norms: &mut [f64]) {
        for (norm, x) in norms.iter_mut().zip(x.chunks_exact(dims)) {
            *norm = inner(x, x).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Matrix, matmul_here};
    use crate::vector_quantize::tests::normal;

    #[test]
    fn the_bounds_hold_the_true_score_and_are_not_far_from_its_error() {
        // Dimensions, and the sizes of rows and of codes as powers of ten.
        let cases =
            [(1, 0, 0), (3, 15, 15), (64, 0, 0), (64, -20, -20), (8, -22, -22), (64, -8, 0), (64, 9, 0), (5000, 8, 8)];
        for (dims, x_power, code_power) in cases {
            // Values of one sign, so that no rounding error hides behind a larger bound.
            let values = |seed, len, power| -> Vec<f32> {
                normal(seed, len).iter().map(|x| x.abs() * 10f32.powi(power)).collect()
            };
            let (x, codebook) = (values(1, 20 * dims, x_power), values(2, 50 * dims, code_power));
            let (codes, mut products) = (Codes::new(&codebook, dims), vec![0.0; 50 * 20]);
            let view = Matrix::rows(&x, dims).transposed();
            matmul_here(Matrix::rows(&codebook, dims), view, [50, 20, dims], &mut products, false);
            for (i, product) in products.iter().enumerate() {
                let (code, row) = (i / 20, i % 20);
                let (x, c) = (&x[row * dims..][..dims], &codebook[code * dims..][..dims]);
                let norm = inner(x, x).sqrt() as f32;
                let (low, high) = bounds(*product, norm, codes.half[code], codes.slope[code], codes.offset[code]);
                let (low, high, score) = (f64::from(low), f64::from(high), inner(c, c) / 2.0 - inner(x, c));
                assert!(low <= score && score <= high, "{dims} dimensions: {low} {score} {high}");
                let scale = (inner(x, x) * inner(c, c)).sqrt() + inner(c, c) + 1e-36;
                assert!(high - low < 4.0 * (dims as f64 + 20.0) * UNIT * scale);
            }
        }
    }
}
