//! The rotation trick: the gradient is turned and stretched as x was turned and stretched to q.
//!
//! ```text
//! a = x / |x|      b = q / |q|      r = (a + b) / |a + b|      R = I - 2 r r^T + 2 b a^T      (R a = b)
//! dx = |q| / |x| R^T G
//! ```
//! Source: Fifty et al., "Restructuring vector quantization with the rotation trick", ICLR 2025.

use rayon::prelude::*;

use super::{DOUBLES, inner, rows_a_task, sum_doubles};
use crate::simd::multiversion;

/// Norms below this one have no direction to turn by: the gradient passes as it is.
const SHORTEST: f64 = 1e-6;

/// a + b shorter than this is what rounding leaves of 0: r is 0 there.
const OPPOSITE: f64 = 1e-12;

/// The gradient of `x` by the rotation trick, from that of `quantized`; all are `[n, dims]`.
pub fn rotation_backward(x: &[f32], quantized: &[f32], gradient: &[f32], dims: usize, out: &mut [f32]) {
    assert!(dims > 0 && x.len().is_multiple_of(dims) && quantized.len() == x.len());
    assert!(gradient.len() == x.len() && out.len() == x.len());
    let task = rows_a_task(dims) * dims;
    let inputs = x.par_chunks(task).zip(quantized.par_chunks(task)).zip(gradient.par_chunks(task));
    out.par_chunks_mut(task)
        .zip(inputs)
        .for_each(|(out, ((x, quantized), gradient))| rotate_back(x, quantized, gradient, dims, out));
}

multiversion! {
    /// All in `f64`: near a = -b the sum a + b cancels, and its direction must still be right.
    fn rotate_back(x: &[f32], quantized: &[f32], gradient: &[f32], dims: usize, out: &mut [f32]) {
        let inputs = x.chunks_exact(dims).zip(quantized.chunks_exact(dims)).zip(gradient.chunks_exact(dims));
        for (out, ((x, quantized), gradient)) in out.chunks_exact_mut(dims).zip(inputs) {
            let (length, quantized_length) = (inner(x, x).sqrt(), inner(quantized, quantized).sqrt());
            if length < SHORTEST || quantized_length < SHORTEST {
                out.copy_from_slice(gradient);
                continue;
            }
            let (to_a, to_b) = (1.0 / length, 1.0 / quantized_length);
            let middle = Middle::new(x, quantized, gradient, to_a, to_b);
            let by_middle = if middle.square.sqrt() < OPPOSITE { 0.0 } else { 2.0 * middle.along / middle.square };
            let by_a = 2.0 * inner(quantized, gradient) * to_b;
            let stretch = quantized_length * to_a;
            for (((out, x), q), g) in out.iter_mut().zip(x).zip(quantized).zip(gradient) {
                let (a, b) = (f64::from(*x) * to_a, f64::from(*q) * to_b);
                *out = (stretch * (f64::from(*g) - by_middle * (a + b) + by_a * a)) as f32;
            }
        }
    }
}

/// Sums over m = a + b.
struct Middle {
    /// m . m
    square: f64,
    /// m . gradient
    along: f64,
}

impl Middle {
    #[inline(always)]
    fn new(x: &[f32], quantized: &[f32], gradient: &[f32], to_a: f64, to_b: f64) -> Self {
        let (x_blocks, x_rest) = x.as_chunks::<DOUBLES>();
        let (q_blocks, q_rest) = quantized.as_chunks::<DOUBLES>();
        let (g_blocks, g_rest) = gradient.as_chunks::<DOUBLES>();
        let (mut squares, mut along) = ([0.0; DOUBLES], [0.0; DOUBLES]);
        for ((x, q), g) in x_blocks.iter().zip(q_blocks).zip(g_blocks) {
            for lane in 0..DOUBLES {
                let m = f64::from(x[lane]) * to_a + f64::from(q[lane]) * to_b;
                squares[lane] += m * m;
                along[lane] += m * f64::from(g[lane]);
            }
        }
        let mut middle = Self { square: sum_doubles(squares), along: sum_doubles(along) };
        for ((x, q), g) in x_rest.iter().zip(q_rest).zip(g_rest) {
            let m = f64::from(*x) * to_a + f64::from(*q) * to_b;
            middle.square += m * m;
            middle.along += m * f64::from(*g);
        }
        middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CHUNK;
    use crate::vector_quantize::tests::normal;

    /// `rotation_backward` of one row with the matrix written out.
    fn rotated(x: &[f32], q: &[f32], gradient: &[f32]) -> Vec<f64> {
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let unit = |values: &[f64]| values.iter().map(|x| x / norm(values)).collect::<Vec<f64>>();
        let (x, q, gradient) = (wide(x), wide(q), wide(gradient));
        let (a, b) = (unit(&x), unit(&q));
        let sum: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let r = if norm(&sum) < 1e-12 { vec![0.0; x.len()] } else { unit(&sum) };
        let matrix = |i: usize, j: usize| f64::from(i == j) - 2.0 * r[i] * r[j] + 2.0 * b[i] * a[j];
        (0..x.len())
            .map(|j| norm(&q) / norm(&x) * (0..x.len()).map(|i| matrix(i, j) * gradient[i]).sum::<f64>())
            .collect()
    }

    #[test]
    fn rotation_of_hand_cases() {
        // A quarter turn from the first axis to the second, twice as long: R^T turns back.
        let mut out = [0.0; 2];
        rotation_backward(&[2.0, 0.0], &[0.0, 4.0], &[3.0, 5.0], 2, &mut out);
        assert!((out[0] - 10.0).abs() < 1e-6 && (out[1] + 6.0).abs() < 1e-6, "{out:?}");
        // Exactly opposite: R = I - 2 b b^T.
        rotation_backward(&[3.0, 0.0], &[-1.0, 0.0], &[3.0, 6.0], 2, &mut out);
        assert!((out[0] + 1.0).abs() < 1e-6 && (out[1] - 2.0).abs() < 1e-6, "{out:?}");
        // Too short for a direction.
        for (x, q) in [([1e-7, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.0, 1e-7]), ([0.0; 2], [0.0; 2])] {
            rotation_backward(&x, &q, &[3.0, 6.0], 2, &mut out);
            assert_eq!(out, [3.0, 6.0]);
        }
    }

    #[test]
    fn rotation_agrees_with_the_matrix_also_near_opposite_rows() {
        for dims in [1, 2, 7, 16, 33] {
            let rows = 3 * CHUNK / dims / 2;
            let (mut x, q, gradient) = (normal(1, rows * dims), normal(2, rows * dims), normal(3, rows * dims));
            for row in (0..rows).step_by(2) {
                // Nearer and nearer to -2 q, at last equal.
                let share = 10f32.powi(-(row as i32 % 20 / 2));
                for i in row * dims..(row + 1) * dims {
                    x[i] = if row % 20 == 18 { -2.0 * q[i] } else { -2.0 * q[i] + share * x[i] };
                }
            }
            let mut out = vec![f32::NAN; x.len()];
            rotation_backward(&x, &q, &gradient, dims, &mut out);
            for row in (0..rows).take(400) {
                let range = row * dims..(row + 1) * dims;
                let expected = rotated(&x[range.clone()], &q[range.clone()], &gradient[range.clone()]);
                let size = expected.iter().map(|x| x.abs()).fold(1e-3, f64::max);
                for (found, expected) in out[range].iter().zip(&expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-6 * size,
                        "row {row} of {dims}: {found} {expected}"
                    );
                }
            }
        }
    }
}
