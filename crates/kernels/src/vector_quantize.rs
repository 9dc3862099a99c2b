//! Vector quantisation: each row of `x` `[n, dims]` becomes the nearest row of a codebook `[k, dims]`.
//!
//! ```text
//! index = argmin over j of |x - c_j|^2             (ties to the lowest index)
//! q     = c_index
//! ```
//! Backward by the rotation trick, which turns and stretches the gradient as x was turned and stretched to q:
//!
//! ```text
//! a = x / |x|      b = q / |q|      r = (a + b) / |a + b|      R = I - 2 r r^T + 2 b a^T      (R a = b)
//! dx = |q| / |x| R^T G
//! ```
//! The codebook follows moving averages over the rows that chose each code, with Laplace smoothing of the counts:
//!
//! ```text
//! counts = decay counts + (1 - decay) n_j          sums = decay sums + (1 - decay) sum of the rows of code j
//! c_j    = sums_j / ((counts_j + epsilon) / (total + k epsilon) total),    total = sum of counts
//! ```
//! Sources: van den Oord, Vinyals, Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017, and its
//! published code for the smoothing; Fifty et al., "Restructuring vector quantization with the rotation trick", ICLR
//! 2025.

use rayon::prelude::*;

use crate::CHUNK;
use crate::matmul::{Matrix, matmul_here};
use crate::reduce::LANES;
use crate::simd::multiversion;

/// Rows of `x` that one task searches for; a multiple of [`STRIP`].
const ROWS: usize = 128;

/// Codes of one block: with [`ROWS`] it makes 256 KiB of products, which stay in the second-level cache.
const CODES: usize = 512;

/// Half the distance between 1 and the next float.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// The same for doubles.
const DOUBLE_UNIT: f64 = f64::EPSILON / 2.0;

/// The distance between 0 and the next float.
const TINY: f64 = 1.401_298_464_324_817e-45;

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

/// A codebook and what the search needs to know of each code.
///
/// In the following u is [`UNIT`], |x| the norm of a row, |c| that of a code, and d the dimensions. Computed in `f32`,
/// the score s = h - p, with h = |c|^2 / 2 and p = x . c, misses the true one by at most
///
/// ```text
/// u h                                     h was rounded from a double
/// (d + 2) u / (1 - (d + 2) u) |x| |c|     p, in any order of summation, with or without fused multiplications, cut
///                                         anywhere: |x| |c| bounds the sum of the |x_i c_i|
/// u (h + |x| |c|)                         the subtraction (and terms in u^2, here and below)
/// (d + 1) TINY                            products too small for a float
/// ```
/// and the bounds s - e and s + e, computed in `f32` too, miss theirs by another u (h + |x| |c| + e) and by e's own
/// rounding. With d u below 2^-8 all this is less than
///
/// ```text
/// e = |x| slope + offset,     slope = 1.02 (d + 6) u |c|,     offset = 2 u |c|^2 + (d + 8) TINY
/// ```
/// The sums in `f64` that define the answer are themselves off by a share of (d + 2) 2^-53 of the squared distance,
/// which is at most 2 (|x|^2 + |c|^2). Scores are half of squared distances, less |x|^2 / 2. So the share of |c|^2 goes
/// into the offset, and that of |x|^2 is added to the bounds of the row.
struct Codes<'a> {
    values: &'a [f32],
    dims: usize,
    half: Vec<f32>,
    slope: Vec<f32>,
    offset: Vec<f32>,
    /// The largest norm.
    largest: f64,
}

impl<'a> Codes<'a> {
    /// Above this number of dimensions the bound of the errors does not hold.
    const MOST_DIMS: usize = 1 << 16;

    fn new(values: &'a [f32], dims: usize) -> Self {
        let mut norms = vec![0.0; values.len() / dims];
        norms
            .par_chunks_mut(CODES)
            .zip(values.par_chunks(CODES * dims))
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
            // False also where a value is not finite.
            let bounded = dims <= Self::MOST_DIMS && norm < 1e38 && (norm + self.largest) * self.largest < 1e38;
            candidates.clear();
            if bounded {
                let spread = (dims as f64 + 4.0) * DOUBLE_UNIT * norm * norm + TINY;
                let limit = f64::from(found.highest[row]) + 2.0 * spread;
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

/// The bounds of a score, from the product x . c.
#[inline(always)]
fn bounds(product: f32, norm: f32, half: f32, slope: f32, offset: f32) -> (f32, f32) {
    let (score, error) = (half - product, norm * slope + offset);
    (score - error, score + error)
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

/// Rows of an elementwise task.
fn rows_a_task(dims: usize) -> usize {
    (CHUNK / dims).max(1)
}

/// The sum of (x - y)^2.
pub fn squared_error(x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len());
    let sums: Vec<f64> = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).map(|(x, y)| squared_error_block(x, y)).collect();
    sums.into_iter().sum()
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

multiversion! {
    fn squared_error_block(x: &[f32], y: &[f32]) -> f64 {
        sum_pairs(x, y, |x, y| (x - y) * (x - y))
    }
}

multiversion! {
    /// The norm of each row of `x`.
    fn row_norms(x: &[f32], dims: usize, norms: &mut [f64]) {
        for (norm, x) in norms.iter_mut().zip(x.chunks_exact(dims)) {
            *norm = inner(x, x).sqrt();
        }
    }
}

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

/// Moves `counts` `[k]` and `sums` `[k, dims]` towards the rows of `x` that chose each code, and the codebook too.
///
/// The codebook stays as it is while the counts are all 0.
///
/// # Panics
/// If an index is not below the number of codes, or a length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn moving_average_update(
    x: &[f32],
    indices: &[u32],
    dims: usize,
    decay: f32,
    counts: &mut [f32],
    sums: &mut [f32],
    codebook: &mut [f32],
    epsilon: f32,
) {
    assert!(dims > 0 && x.len() == indices.len() * dims);
    assert!(sums.len() == counts.len() * dims && codebook.len() == sums.len());
    // Counting sort: the rows of code j are order[starts[j]..starts[j + 1]], and they rise.
    let mut starts = vec![0usize; counts.len() + 1];
    for index in indices {
        starts[*index as usize + 1] += 1;
    }
    for code in 0..counts.len() {
        starts[code + 1] += starts[code];
    }
    let (mut next, mut order) = (starts.clone(), vec![0u32; indices.len()]);
    for (row, index) in (0..).zip(indices) {
        let place = &mut next[*index as usize];
        order[*place] = row;
        *place += 1;
    }

    let decay = f64::from(decay);
    for (count, ends) in counts.iter_mut().zip(starts.windows(2)) {
        *count = (decay * f64::from(*count) + (1.0 - decay) * (ends[1] - ends[0]) as f64) as f32;
    }
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    let scale = total / (total + counts.len() as f64 * f64::from(epsilon));
    sums.par_chunks_mut(dims)
        .zip(codebook.par_chunks_mut(dims))
        .zip(counts.par_iter().zip(starts.par_windows(2)))
        .for_each_init(
            || vec![0.0; dims],
            |rows_sum, ((sums, code), (count, ends))| {
                rows_sum.fill(0.0);
                for row in &order[ends[0]..ends[1]] {
                    add(&x[*row as usize * dims..][..dims], rows_sum);
                }
                for (sum, rows_sum) in sums.iter_mut().zip(rows_sum) {
                    *sum = (decay * f64::from(*sum) + (1.0 - decay) * *rows_sum) as f32;
                }
                if total > 0.0 {
                    let smoothed = (f64::from(*count) + f64::from(epsilon)) * scale;
                    code.iter_mut().zip(sums).for_each(|(code, sum)| *code = (f64::from(*sum) / smoothed) as f32);
                }
            },
        );
}

multiversion! {
    fn add(x: &[f32], sums: &mut [f64]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(seed, 0, 0).fill_normal(&mut x);
        x
    }

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

    #[test]
    fn a_moving_average_by_hand() {
        let (mut counts, mut sums, mut codebook) = ([2.0, 0.0, 1.0], [2.0, 4.0, 0.0, 0.0, 3.0, 3.0], [9.0; 6]);
        let x = [1.0, 1.0, 5.0, 7.0, 3.0, 1.0];
        moving_average_update(&x, &[0, 2, 0], 2, 0.5, &mut counts, &mut sums, &mut codebook, 1.0);
        assert_eq!(counts, [2.0, 0.0, 1.0]);
        assert_eq!(sums, [3.0, 3.0, 0.0, 0.0, 4.0, 5.0]);
        // total 3, with smoothing (count + 1) / 6 * 3: 1.5, 0.5, 1.
        assert_eq!(codebook, [2.0, 2.0, 0.0, 0.0, 4.0, 5.0]);
        let (mut counts, mut sums, mut codebook) = ([0.0], [0.0], [7.0]);
        moving_average_update(&[], &[], 1, 0.9, &mut counts, &mut sums, &mut codebook, 1e-5);
        assert_eq!((counts, sums, codebook), ([0.0], [0.0], [7.0]));
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

    #[test]
    fn moving_averages_agree_with_sums_over_all_rows() {
        let (rows, k, dims) = (500, 7, 5);
        let x = normal(1, rows * dims);
        let indices: Vec<u32> = (0..rows as u64).map(|row| Random::new(3, 0, 0).below(row, k as u32 - 1)).collect();
        let (mut counts, mut sums, mut codebook) = (vec![4.0f32; k], normal(2, k * dims), vec![f32::NAN; k * dims]);
        let (old_counts, old_sums) = (counts.clone(), sums.clone());
        moving_average_update(&x, &indices, dims, 0.9, &mut counts, &mut sums, &mut codebook, 1e-5);
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        for code in 0..k {
            let own = || (0..rows).filter(|row| indices[*row] as usize == code);
            let count = 0.9 * f64::from(old_counts[code]) + 0.1 * own().count() as f64;
            assert!((f64::from(counts[code]) - count).abs() < 1e-4);
            for i in 0..dims {
                let place = code * dims + i;
                let sum =
                    0.9 * f64::from(old_sums[place]) + 0.1 * own().map(|row| f64::from(x[row * dims + i])).sum::<f64>();
                assert!((f64::from(sums[place]) - sum).abs() < 1e-5);
                let smoothed = (count + 1e-5) / (total + k as f64 * 1e-5) * total;
                assert!((f64::from(codebook[place]) - sum / smoothed).abs() < 1e-5);
            }
        }
    }
}
