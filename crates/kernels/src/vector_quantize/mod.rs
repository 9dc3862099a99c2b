//! Vector quantisation: each row of `x` `[n, dims]` becomes the nearest row of a codebook `[k, dims]`.
//!
//! The formulas of the steps share these names:
//!
//! ```text
//! x  row to quantise        c_j  code, row j of the codebook        n_j  number of rows that chose code j
//! q  code that x chose      G    gradient that arrives at q         dx   gradient of x
//! ```
//! Source: van den Oord, Vinyals, Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017.
//!
//! Lengths, turns and averages are computed in `f64`.

mod bounds;
mod commitment;
mod moving_average;
mod nearest;
mod rotation;

pub use commitment::commitment_backward;
pub use moving_average::moving_average_update;
pub use nearest::nearest;
pub use rotation::rotation_backward;

use rayon::prelude::*;

use crate::CHUNK;
use crate::reduce::LANES;
use crate::simd::multiversion;

/// `y` `[n, dims]` = the rows of `codebook` that `indices` name.
///
/// # Panics
/// If there is no such row, or a length does not fit.
pub fn gather(codebook: &[f32], indices: &[u32], dims: usize, y: &mut [f32]) {
    assert!(dims > 0 && y.len() == indices.len() * dims);
    let rows = rows_a_task(dims);
    y.par_chunks_mut(rows * dims).zip(indices.par_chunks(rows)).for_each(|(y, indices)| {
        for (y, index) in y.chunks_exact_mut(dims).zip(indices) {
            y.copy_from_slice(&codebook[*index as usize * dims..][..dims]);
        }
    });
}

/// The sum of (x - y)^2.
pub fn squared_error(x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len());
    let sums: Vec<f64> = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).map(|(x, y)| squared_error_block(x, y)).collect();
    sums.into_iter().sum()
}

multiversion! {
    fn squared_error_block(x: &[f32], y: &[f32]) -> f64 {
        sum_pairs(x, y, |x, y| (x - y) * (x - y))
    }
}

/// Rows of an elementwise task.
fn rows_a_task(dims: usize) -> usize {
    (CHUNK / dims).max(1)
}

/// Independent partial sums of a loop over doubles: two AVX-512 registers, which hide the latency of an addition.
const DOUBLES: usize = LANES;

/// Adds up lanes pairwise, always in the same order.
#[inline(always)]
fn sum_doubles(mut lanes: [f64; DOUBLES]) -> f64 {
    let mut half = DOUBLES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of `f` over pairs, in `f64`.
#[inline(always)]
fn sum_pairs(x: &[f32], y: &[f32], f: impl Fn(f64, f64) -> f64) -> f64 {
    let (x_blocks, x_rest) = x.as_chunks::<DOUBLES>();
    let (y_blocks, y_rest) = y.as_chunks::<DOUBLES>();
    let mut lanes = [0.0; DOUBLES];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..DOUBLES {
            lanes[lane] += f(f64::from(x[lane]), f64::from(y[lane]));
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| f(f64::from(*x), f64::from(*y))).sum();
    sum_doubles(lanes) + rest
}

#[inline(always)]
fn inner(x: &[f32], y: &[f32]) -> f64 {
    sum_pairs(x, y, |x, y| x * y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    pub(super) fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(seed, 0, 0).fill_normal(&mut x);
        x
    }

    #[test]
    fn gathering_and_the_squared_error() {
        let codebook = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [0.0; 6];
        gather(&codebook, &[2, 0, 2], 2, &mut y);
        assert_eq!(y, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        assert_eq!(squared_error(&codebook, &y), 16.0 + 16.0 + 4.0 + 4.0);
        assert_eq!(squared_error(&[], &[]), 0.0);
        let (x, y) = (normal(1, 2 * CHUNK + 5), normal(2, 2 * CHUNK + 5));
        let expected: f64 = x.iter().zip(&y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        assert!((squared_error(&x, &y) - expected).abs() < 1e-9 * expected);
        assert_eq!(squared_error(&[3e38], &[-3e38]), (2.0 * f64::from(3e38f32)).powi(2));
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let (rows, k, dims) = (3000, 70, 24);
        let (x, gradient) = (normal(1, rows * dims), normal(2, rows * dims));
        let run = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let (mut codebook, mut sums, mut counts) = (normal(3, k * dims), normal(4, k * dims), vec![3.0; k]);
                let (mut indices, mut y, mut out) = (vec![0; rows], vec![0.0; x.len()], vec![0.0; x.len()]);
                nearest(&x, &codebook, dims, &mut indices);
                gather(&codebook, &indices, dims, &mut y);
                rotation_backward(&x, &y, &gradient, dims, &mut out);
                moving_average_update(&x, &indices, dims, 0.99, &mut counts, &mut sums, &mut codebook, 1e-5);
                (indices, squared_error(&x, &y), out, counts, sums, codebook)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
