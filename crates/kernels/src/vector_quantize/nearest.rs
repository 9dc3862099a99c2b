//! The search for the nearest code.
//!
//! ```text
//! index = argmin over j of |x - c_j|^2, ties to the lowest index        q = c_index
//! ```
//! Source: van den Oord et al., "Neural discrete representation learning", NeurIPS 2017.

use rayon::prelude::*;

use super::bounds::{Codes, bounds, row_norms};
use crate::matmul::{Matrix, matmul_here};
use crate::reduce::LANES;
use crate::simd::multiversion;

/// Rows of `x` that one task searches for; a multiple of [`STRIP`].
const ROWS: usize = 128;

/// Codes of one block: with [`ROWS`] it makes 256 KiB of products, which stay in the second-level cache.
const CODES: usize = 512;

/// The index of the nearest code of each row of `x` by Euclidean distance; of equally near codes the lowest.
///
/// It is the index that the sums of (x - c)^2 in `f64`, added up from the first dimension to the last, give. Scores
/// |c|^2 / 2 - x . c in `f32` decide the rows where one code is nearer than the others by more than all rounding errors
/// together can amount to; the sums in `f64` are only made for the codes that are left in the other rows. Rows whose
/// products could overflow take the sums alone.
///
/// # Panics
/// If there is no code but a row, or a length does not fit.
pub fn nearest(x: &[f32], codebook: &[f32], dims: usize, indices: &mut [u32]) {
    assert!(dims > 0 && codebook.len().is_multiple_of(dims) && x.len() == indices.len() * dims);
    assert!(codebook.len() / dims <= u32::MAX as usize);
    if x.is_empty() {
        return;
    }
    assert!(!codebook.is_empty(), "no code to choose");
    let codes = Codes::new(codebook, dims);
    let buffer = || vec![0.0; ROWS * CODES.min(codes.half.len())];
    indices
        .par_chunks_mut(ROWS)
        .zip(x.par_chunks(ROWS * dims))
        .for_each_init(buffer, |products, (indices, x)| codes.search(x, products, indices));
}

impl Codes<'_> {
    /// Finds the nearest codes of up to [`ROWS`] rows; `products` is only scratch space.
    fn search(&self, x: &[f32], products: &mut [f32], indices: &mut [u32]) {
        let (rows, dims) = (indices.len(), self.dims);
        let mut found = Found::default();
        let mut norms = [0.0; ROWS];
        row_norms(x, dims, &mut norms);
        for (out, norm) in found.norms.iter_mut().zip(&norms) {
            *out = *norm as f32;
        }
        for first in (0..self.half.len()).step_by(CODES) {
            let count = CODES.min(self.half.len() - first);
            let (half, slope, offset) =
                (&self.half[first..][..count], &self.slope[first..][..count], &self.offset[first..][..count]);
            let codes = Matrix::rows(&self.values[first * dims..], dims);
            // One row of products a code, so that neighbouring rows of `x` fill the lanes of the search.
            matmul_here(codes, Matrix::rows(x, dims).transposed(), [count, rows, dims], products, false);
            best_of_block(products, rows, half, slope, offset, first as u32, &mut found);
        }
        let mut candidates = Vec::new();
        for (row, index) in indices.iter_mut().enumerate() {
            let (x, norm) = (&x[row * dims..][..dims], norms[row]);
            candidates.clear();
            if self.bounds_hold(norm) {
                let limit = f64::from(found.highest[row]) + 2.0 * self.spread(norm);
                if f64::from(found.second[row]) > limit {
                    *index = found.index[row];
                    continue;
                }
                self.candidates(x, norm as f32, limit, products, &mut candidates);
            } else {
                candidates.extend(0..self.half.len() as u32);
            }
            *index = self.nearest_of(x, &candidates);
        }
    }

    /// The codes whose lower bound does not exceed `limit`.
    fn candidates(&self, x: &[f32], norm: f32, limit: f64, products: &mut [f32], candidates: &mut Vec<u32>) {
        for first in (0..self.half.len()).step_by(CODES) {
            let count = CODES.min(self.half.len() - first);
            let codes = Matrix::rows(&self.values[first * self.dims..], self.dims);
            matmul_here(codes, Matrix::rows(x, 1), [count, 1, self.dims], products, false);
            candidates.extend((first..).zip(&products[..count]).filter_map(|(code, product)| {
                let (low, _) = bounds(*product, norm, self.half[code], self.slope[code], self.offset[code]);
                (f64::from(low) <= limit).then_some(code as u32)
            }));
        }
    }

    /// The nearest of `candidates`, which rise, by distances in `f64`; the first one if no distance is a number.
    fn nearest_of(&self, x: &[f32], candidates: &[u32]) -> u32 {
        let mut best = (f64::INFINITY, candidates[0]);
        for some in candidates.chunks(TOGETHER) {
            // The last one stands in where fewer are left.
            let code = |lane: usize| some[lane.min(some.len() - 1)] as usize;
            let codes = std::array::from_fn(|lane| &self.values[code(lane) * self.dims..][..self.dims]);
            for (distance, code) in distances(x, &codes).into_iter().zip(some) {
                if distance < best.0 {
                    best = (distance, *code);
                }
            }
        }
        best.1
    }
}

/// Codes whose distances are added up at the same time, because one sum in order leaves the processor waiting.
const TOGETHER: usize = 8;

multiversion! {
    /// Squared distances of `x` from some codes, each added up in order.
    fn distances(x: &[f32], codes: &[&[f32]; TOGETHER]) -> [f64; TOGETHER] {
        let codes: [&[f32]; TOGETHER] = std::array::from_fn(|lane| &codes[lane][..x.len()]);
        let mut sums = [0.0; TOGETHER];
        for (i, x) in x.iter().enumerate() {
            for lane in 0..TOGETHER {
                let difference = f64::from(*x) - f64::from(codes[lane][i]);
                sums[lane] += difference * difference;
            }
        }
        sums
    }
}

/// What the search knows of each row of its block.
struct Found {
    norms: [f32; ROWS],
    /// The code of the lowest lower bound.
    index: [u32; ROWS],
    /// The lowest lower bound.
    lowest: [f32; ROWS],
    /// The lowest lower bound of the other codes.
    second: [f32; ROWS],
    /// The lowest upper bound: no code with a lower bound above it can be the nearest.
    highest: [f32; ROWS],
}

impl Default for Found {
    fn default() -> Self {
        let infinite = [f32::INFINITY; ROWS];
        Self { norms: [0.0; ROWS], index: [0; ROWS], lowest: infinite, second: infinite, highest: infinite }
    }
}

/// Rows whose state stays in registers.
const STRIP: usize = 2 * LANES;

multiversion! {
    /// Takes a block of codes, the first of which is `first`, into account; `products` is `[codes, rows]`.
    fn best_of_block(
        products: &[f32],
        rows: usize,
        half: &[f32],
        slope: &[f32],
        offset: &[f32],
        first: u32,
        found: &mut Found,
    ) {
        for strip in (0..rows).step_by(STRIP) {
            let width = STRIP.min(rows - strip);
            let (mut norms, mut index) = ([0.0; STRIP], [0; STRIP]);
            let (mut lowest, mut second, mut highest) = ([0.0; STRIP], [0.0; STRIP], [0.0; STRIP]);
            norms.copy_from_slice(&found.norms[strip..][..STRIP]);
            index.copy_from_slice(&found.index[strip..][..STRIP]);
            lowest.copy_from_slice(&found.lowest[strip..][..STRIP]);
            second.copy_from_slice(&found.second[strip..][..STRIP]);
            highest.copy_from_slice(&found.highest[strip..][..STRIP]);
            let mut padded = [0.0; STRIP];
            for (code, ((half, slope), offset)) in half.iter().zip(slope).zip(offset).enumerate() {
                let some = &products[code * rows + strip..][..width];
                let products = match some.as_array::<STRIP>() {
                    Some(products) => products,
                    None => {
                        padded[..width].copy_from_slice(some);
                        &padded
                    }
                };
                for lane in 0..STRIP {
                    let (low, high) = bounds(products[lane], norms[lane], *half, *slope, *offset);
                    index[lane] = if low < lowest[lane] { first + code as u32 } else { index[lane] };
                    let loser = if low > lowest[lane] { low } else { lowest[lane] };
                    second[lane] = if loser < second[lane] { loser } else { second[lane] };
                    lowest[lane] = if low < lowest[lane] { low } else { lowest[lane] };
                    highest[lane] = if high < highest[lane] { high } else { highest[lane] };
                }
            }
            found.index[strip..][..STRIP].copy_from_slice(&index);
            found.lowest[strip..][..STRIP].copy_from_slice(&lowest);
            found.second[strip..][..STRIP].copy_from_slice(&second);
            found.highest[strip..][..STRIP].copy_from_slice(&highest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;
    use crate::vector_quantize::inner;
    use crate::vector_quantize::tests::normal;

    /// The index that the distances in `f64` give.
    fn nearest_by_distance(x: &[f32], codebook: &[f32], dims: usize) -> Vec<u32> {
        let distance =
            |x: &[f32], c: &[f32]| x.iter().zip(c).map(|(x, c)| (f64::from(*x) - f64::from(*c)).powi(2)).sum::<f64>();
        x.chunks(dims)
            .map(|x| {
                let distances = codebook.chunks(dims).map(|code| distance(x, code));
                let first = |best: (u32, f64), next: (u32, f64)| if next.1 < best.1 { next } else { best };
                (0..).zip(distances).reduce(first).unwrap().0
            })
            .collect()
    }

    fn check(x: &[f32], codebook: &[f32], dims: usize) {
        let mut indices = vec![u32::MAX; x.len() / dims];
        nearest(x, codebook, dims, &mut indices);
        assert_eq!(indices, nearest_by_distance(x, codebook, dims), "{dims} dimensions");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn nearest_agrees_with_distances_in_f64(
            rows in 0usize..300, k in 1usize..1200, dims in 1usize..40, seed in 0u64..1000,
        ) {
            check(&normal(seed, rows * dims), &normal(seed + 5000, k * dims), dims);
        }

        #[test]
        fn ties_and_near_ties_are_told_apart(
            rows in 1usize..200, half in 1usize..40, dims in 1usize..40, offset in 0u32..8, seed in 0u64..1000,
        ) {
            // Codes in pairs that differ by an ulp or not at all, far from the origin; rows on codes, between, or near.
            let random = Random::new(seed, 0, 1);
            let offset = 10f32.powi(offset as i32) - 1.0;
            let mut codebook: Vec<f32> = normal(seed, half * dims).iter().map(|c| c + offset).collect();
            codebook.extend_from_within(..);
            for i in 0..half {
                if random.below(i as u64, 2) == 0 {
                    let value = &mut codebook[(half + i) * dims + random.below(i as u64 + 1000, dims as u32) as usize];
                    *value = if random.below(i as u64 + 2000, 2) == 0 { value.next_up() } else { value.next_down() };
                }
            }
            let code = |index: u64| &codebook[random.below(index, 2 * half as u32) as usize * dims..][..dims];
            let x: Vec<f32> = (0..rows as u64).flat_map(|row| {
                let (a, b, way) = (code(3 * row + 10_000), code(3 * row + 10_001), random.below(3 * row + 10_002, 3));
                a.iter().zip(b).map(move |(a, b)| match way {
                    0 => *a,
                    1 => (a + b) / 2.0,
                    _ => a + 0.01 * (b - a),
                })
            }).collect();
            check(&x, &codebook, dims);
        }

        #[test]
        fn any_magnitude_of_rows_and_codes(
            x_power in -44i32..38, code_power in -44i32..38, mixed in any::<bool>(), dims in 1usize..20,
            seed in 0u64..1000,
        ) {
            let scaled = |seed: u64, len: usize, power: i32| -> Vec<f32> {
                let random = Random::new(seed, 0, 2);
                let power = |i: u64| if mixed { power + random.below(i / dims as u64, 9) as i32 - 4 } else { power };
                let value = |(x, i)| (f64::from(x) * 10f64.powi(power(i))).clamp(-3e38, 3e38) as f32;
                normal(seed, len).into_iter().zip(0..).map(value).collect()
            };
            check(&scaled(seed, 60 * dims, x_power), &scaled(seed + 5000, 50 * dims, code_power), dims);
        }
    }

    #[test]
    fn hand_cases_of_the_nearest_code() {
        let mut indices = [9; 4];
        nearest(&[0.4, 0.5, 0.6, -7.0], &[1.0, 0.0, 1.0, 0.0], 1, &mut indices);
        assert_eq!(indices, [1, 0, 0, 1]);
        nearest(&[], &[1.0], 1, &mut []);
        nearest(&[], &[], 3, &mut []);
        // One code, zeros only, and one far code that must not blur the others.
        check(&normal(1, 30), &[5.0, 5.0, 5.0], 3);
        check(&[0.0; 30], &[0.0, -0.0, 0.0, -0.0, 0.0, 0.0], 3);
        check(&normal(1, 30), &[1e15, 1e15, 1e15, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1e15, -1e15, 0.0], 3);
        check(&[1e18, -1e18, 3e38, -3e38, 1.0, 1.0], &[1e18, -1e18, 3e38, 3e38, 1.0, 1.0, -3e38, 1e18], 2);
        check(&normal(1, 70_000), &normal(2, 210_000), 70_000);
    }

    #[test]
    fn what_is_not_a_number_chooses_the_first_code_and_changes_no_other_row() {
        let mut x = normal(1, 300);
        (x[4], x[140]) = (f32::NAN, f32::INFINITY);
        let codebook = normal(2, 60);
        let mut indices = [9; 100];
        nearest(&x, &codebook, 3, &mut indices);
        let mut expected = nearest_by_distance(&x, &codebook, 3);
        (expected[1], expected[46]) = (0, 0);
        assert_eq!(indices[..], expected);
    }

    #[test]
    fn ordinary_rows_need_no_second_look() {
        let (x, codebook) = (normal(1, ROWS * 64), normal(2, CODES * 64));
        let codes = Codes::new(&codebook, 64);
        let (mut products, mut found) = (vec![0.0; ROWS * CODES], Found::default());
        x.chunks(64).zip(&mut found.norms).for_each(|(x, norm)| *norm = inner(x, x).sqrt() as f32);
        let view = Matrix::rows(&x, 64).transposed();
        matmul_here(Matrix::rows(&codebook, 64), view, [CODES, ROWS, 64], &mut products, false);
        best_of_block(&products, ROWS, &codes.half, &codes.slope, &codes.offset, 0, &mut found);
        assert!(found.second.iter().zip(&found.highest).filter(|(second, highest)| second <= highest).count() <= 1);
    }
}
