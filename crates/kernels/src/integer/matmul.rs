//! Products of two matrices whose rows both run along the depth.
//!
//! out[row, column] = sum over k of a[row, k] * b[column, k].
//!
//! A block of rows times four columns is held in registers, so that each load serves several products. The horizontal sums
//! at the end of a block are made four at a time.

use super::lanes::{Lanes, Portable};
use crate::simd::{self, Level};

/// `out` `[rows, columns]` of `a` `[rows, depth]` and `b` `[columns, depth]`; exact if no sum of products can leave `i32`.
///
/// ```
/// use hardgrad_kernels::integer::matmul;
/// let mut out = [0; 2];
/// matmul(&[1, 2, 3, 4, 5, 6], &[1, 0, -1], 2, 1, 3, &mut out);
/// assert_eq!(out, [-2, -2]);
/// ```
///
/// # Panics
/// If a slice does not have the length that the sizes give.
pub fn matmul(a: &[i16], b: &[i16], rows: usize, columns: usize, depth: usize, out: &mut [i32]) {
    matmul_at(simd::level(), a, b, rows, columns, depth, out);
}

fn matmul_at(level: Level, a: &[i16], b: &[i16], rows: usize, columns: usize, depth: usize, out: &mut [i32]) {
    assert!(level <= simd::level(), "this machine has no {level:?}");
    let lengths = (rows.checked_mul(depth), columns.checked_mul(depth), rows.checked_mul(columns));
    assert_eq!(lengths, (Some(a.len()), Some(b.len()), Some(out.len())), "slices must fit the sizes");
    // Blocks are four columns wide, so a product with one column is computed as the product with one row that it equals.
    let sizes =
        if columns == 1 { Sizes { rows: columns, columns: rows, depth } } else { Sizes { rows, columns, depth } };
    let (a, b) = if columns == 1 { (b, a) } else { (a, b) };
    match level {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: the processor has AVX-512, and the lengths were compared with the sizes.
        Level::Avx512 => unsafe { avx512(a, b, sizes, out) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: the processor has AVX2, and the lengths were compared with the sizes.
        Level::Avx2 => unsafe { avx2(a, b, sizes, out) },
        #[allow(unsafe_code)]
        // SAFETY: the lengths were compared with the sizes.
        _ => unsafe { product::<Portable, 2>(a, b, sizes, out) },
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    columns: usize,
    depth: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(unsafe_code)]
// SAFETY: as `product`.
unsafe fn avx512(a: &[i16], b: &[i16], sizes: Sizes, out: &mut [i32]) {
    unsafe { product::<std::arch::x86_64::__m512i, 4>(a, b, sizes, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
// SAFETY: as `product`.
unsafe fn avx2(a: &[i16], b: &[i16], sizes: Sizes, out: &mut [i32]) {
    // 16 registers: two rows leave room for the factors.
    unsafe { product::<std::arch::x86_64::__m256i, 2>(a, b, sizes, out) }
}

/// # Safety
/// The processor must have the instructions of `L`, and the slices the lengths that `sizes` gives.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn product<L: Lanes, const R: usize>(a: &[i16], b: &[i16], sizes: Sizes, out: &mut [i32]) {
    /// Values of `b` that stay in the second-level cache while all rows of `a` pass.
    const BLOCK: usize = 128 * 1024;
    let Sizes { rows, columns, depth } = sizes;
    let width = (BLOCK / depth.max(1)).max(4) / 4 * 4;
    let (a, b) = (a.as_ptr(), b.as_ptr());
    for left in (0..columns).step_by(width) {
        let right = (left + width).min(columns);
        let mut row = 0;
        while row < rows {
            let tall = rows - row >= R;
            let mut column = left;
            while column < right {
                let wide = right - column >= 4;
                // SAFETY: R or 1 rows and 4 or 1 columns are left, each `depth` values long.
                unsafe {
                    let (a, b) = (a.add(row * depth), b.add(column * depth));
                    let out = &mut out[row * columns + column..];
                    match (tall, wide) {
                        (true, true) => tile::<L, R, 4>(a, b, sizes, out),
                        (true, false) => tile::<L, R, 1>(a, b, sizes, out),
                        (false, true) => tile::<L, 1, 4>(a, b, sizes, out),
                        (false, false) => tile::<L, 1, 1>(a, b, sizes, out),
                    }
                }
                column += if wide { 4 } else { 1 };
            }
            row += if tall { R } else { 1 };
        }
    }
}

/// `R` rows of `a` times `C` (1 or 4) rows of `b`.
///
/// # Safety
/// The processor must have the instructions of `L`; `a` must hold `R * depth` values and `b` `C * depth`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn tile<L: Lanes, const R: usize, const C: usize>(a: *const i16, b: *const i16, sizes: Sizes, out: &mut [i32]) {
    let Sizes { columns, depth, .. } = sizes;
    // SAFETY: as the caller promises; `k` stays below `depth`.
    unsafe {
        let mut sums = [[L::zero(); C]; R];
        let whole = depth - depth % (2 * L::LANES);
        let mut k = 0;
        while k < whole {
            let factors: [L; C] = std::array::from_fn(|c| L::load(b.add(c * depth + k)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = L::load(a.add(r * depth + k));
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = sum.add_products(row, factor);
                }
            }
            k += 2 * L::LANES;
        }
        if k < depth {
            let factors: [L; C] = std::array::from_fn(|c| L::load_part(b.add(c * depth + k), depth - k));
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = L::load_part(a.add(r * depth + k), depth - k);
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = sum.add_products(row, factor);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let four = std::array::from_fn(|c| if c < C { sums[c] } else { L::zero() });
            out[r * columns..][..C].copy_from_slice(&L::sums(four)[..C]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::tests::{LEVELS, small_numbers};
    use proptest::prelude::*;

    fn naive(a: &[i16], b: &[i16], depth: usize) -> Vec<i32> {
        let dot = |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        a.chunks(depth).flat_map(|a| b.chunks(depth).map(move |b| dot(a, b))).collect()
    }

    proptest! {
        #[test]
        fn every_level_equals_the_naive_sum(rows in 1usize..11, columns in 1usize..11, depth in 1usize..150, seed: u64) {
            let (a, b) = (small_numbers(seed, rows * depth), small_numbers(!seed, columns * depth));
            let expected = naive(&a, &b, depth);
            for level in LEVELS.into_iter().filter(|&level| level <= simd::level()) {
                let mut out = vec![-1; rows * columns];
                matmul_at(level, &a, &b, rows, columns, depth, &mut out);
                prop_assert_eq!(&out, &expected, "{:?}", level);
            }
        }
    }

    #[test]
    fn many_columns_are_cut_into_blocks() {
        let (rows, columns, depth) = (3, 40, 9000);
        let (a, b) = (small_numbers(1, rows * depth), small_numbers(2, columns * depth));
        let mut out = vec![0; rows * columns];
        matmul(&a, &b, rows, columns, depth, &mut out);
        assert_eq!(out, naive(&a, &b, depth));
    }

    #[test]
    fn the_largest_factors_of_both_signs_are_exact() {
        for level in LEVELS.into_iter().filter(|&level| level <= simd::level()) {
            for sign in [1, -1] {
                let mut out = [0; 4];
                matmul_at(level, &vec![255; 4 * 33_000], &vec![255 * sign; 33_000], 4, 1, 33_000, &mut out);
                assert_eq!(out, [65_025 * 33_000 * i32::from(sign); 4]);
            }
        }
    }

    #[test]
    fn without_depth_the_sums_are_zero() {
        let mut out = [7; 6];
        matmul(&[], &[], 2, 3, 0, &mut out);
        assert_eq!(out, [0; 6]);
    }
}
