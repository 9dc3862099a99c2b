//! The largest values of each row, and of a whole tensor.
//!
//! Both orders are total: of equal values the lower index comes first, and -0 equals +0. So the result is one definite
//! set, whatever the algorithm and the number of threads. Values must be finite.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::CHUNK;
use crate::simd::multiversion;

/// `indices` `[rows, k]` = the places of the `k` largest of each row of `scores` `[rows, row_len]`, by falling score.
///
/// # Panics
/// If `k` exceeds `row_len`, or `indices` does not hold `k` values a row.
pub fn top_k(scores: &[f32], row_len: usize, k: usize, indices: &mut [u32]) {
    assert!(k <= row_len && row_len <= u32::MAX as usize, "{k} of {row_len} values");
    if k == 0 || scores.is_empty() {
        assert!(indices.is_empty());
        return;
    }
    assert!(scores.len().is_multiple_of(row_len) && indices.len() == scores.len() / row_len * k);
    indices
        .par_chunks_mut(k)
        .zip(scores.par_chunks(row_len))
        .with_min_len((CHUNK / 16 / row_len).max(1))
        .for_each_init(
            || Vec::with_capacity(row_len),
            |keys: &mut Vec<u64>, (indices, scores)| {
                keys.clear();
                // One integer holds score and index, so that no comparison has to look anything up.
                keys.extend(scores.iter().zip(0u64..).map(|(score, index)| u64::from(falling(*score)) << 32 | index));
                if k < row_len {
                    keys.select_nth_unstable(k - 1);
                }
                keys[..k].sort_unstable();
                for (index, key) in indices.iter_mut().zip(keys.iter()) {
                    *index = *key as u32;
                }
            },
        );
}

/// A number that falls as `score` rises.
#[inline(always)]
fn falling(score: f32) -> u32 {
    // Adding +0 turns -0 into +0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    // Among non-negative floats bits rise with the value, among negative ones they fall.
    if bits >> 31 == 0 { !bits & 0x7fff_ffff } else { bits }
}

/// Digits of abs(x) that [`largest`] looks at one after the other: lowest bit and width, 31 bits in all.
const DIGITS: [(u32, u32); 3] = [(20, 11), (10, 10), (0, 10)];

/// `mask` = 1 on the `count` values of the whole tensor that are largest in size, abs(x), else 0.
///
/// The smallest size that is kept is found digit by digit from histograms (radix selection): every pass reads the
/// values on all threads, nothing is copied or sorted, and no input is slow.
///
/// # Panics
/// If `count` exceeds the number of values, or `mask` has another length.
pub fn largest(values: &[f32], count: usize, mask: &mut [f32]) {
    assert!(count <= values.len() && values.len() <= u32::MAX as usize, "{count} of {} values", values.len());
    assert_eq!(mask.len(), values.len());
    if count == 0 {
        mask.fill(0.0);
        return;
    }
    // Of the values whose leading digits are those of `threshold`, the `wanted` largest are kept.
    let (mut threshold, mut wanted) = (0u32, count);
    for (shift, width) in DIGITS {
        let histogram: Vec<AtomicU32> = (0..1 << width).map(|_| AtomicU32::new(0)).collect();
        values.par_chunks(CHUNK).for_each(|values| {
            let mut counts = [0; 1 << DIGITS[0].1];
            count_digits(values, threshold, shift, width, &mut counts);
            // Sums of whole numbers are the same in any order.
            for (sum, count) in histogram.iter().zip(counts).filter(|(_, count)| *count > 0) {
                sum.fetch_add(count, Ordering::Relaxed);
            }
        });
        let mut digit = (1 << width) - 1;
        loop {
            let count = histogram[digit].load(Ordering::Relaxed) as usize;
            if count >= wanted {
                break;
            }
            wanted -= count;
            digit -= 1;
        }
        threshold = threshold << width | digit as u32;
    }
    // Now `wanted` of the values of exactly this size are kept: the first ones.
    let ties: Vec<usize> = values.par_chunks(CHUNK).map(|values| count_equal(values, threshold) as usize).collect();
    let before: Vec<usize> = ties
        .iter()
        .scan(0, |sum, ties| {
            *sum += ties;
            Some(*sum - ties)
        })
        .collect();
    let parts = values.par_chunks(CHUNK).zip(ties).zip(before);
    mask.par_chunks_mut(CHUNK).zip(parts).for_each(|(mask, ((values, ties), before))| {
        let mut wanted = wanted.saturating_sub(before);
        if wanted >= ties {
            mask_block(values, threshold, mask);
        } else {
            mask_block(values, threshold + 1, mask);
            let equal = values.iter().zip(mask).filter(|(value, _)| size(**value) == threshold);
            for (_, mask) in equal {
                if wanted == 0 {
                    break;
                }
                *mask = 1.0;
                wanted -= 1;
            }
        }
    });
}

/// A number that rises with abs(value): its bits.
#[inline(always)]
fn size(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Counts the digits at `shift` of the values whose digits above are `leading`.
fn count_digits(values: &[f32], leading: u32, shift: u32, width: u32, counts: &mut [u32; 1 << DIGITS[0].1]) {
    for value in values {
        let digits = size(*value) >> shift;
        if digits >> width == leading {
            counts[digits as usize & ((1 << width) - 1)] += 1;
        }
    }
}

multiversion! {
    fn count_equal(values: &[f32], threshold: u32) -> u32 {
        values.iter().map(|value| u32::from(size(*value) == threshold)).sum()
    }
}

multiversion! {
    fn mask_block(values: &[f32], lowest: u32, mask: &mut [f32]) {
        for (mask, value) in mask.iter_mut().zip(values) {
            *mask = if size(*value) >= lowest { 1.0 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    /// Values with many ties, zeros of both signs and a few of extreme size.
    fn values(seed: u64, len: usize) -> Vec<f32> {
        let extremes = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, -0.0, 0.0];
        let random = Random::new(seed, 0, 0);
        (0..len as u64)
            .map(|i| match random.below(2 * i, 3) {
                0 => extremes[random.below(2 * i + 1, 8) as usize],
                1 => random.below(2 * i + 1, 9) as f32 - 4.0,
                _ => 20.0 * random.uniform(2 * i + 1) - 10.0,
            })
            .collect()
    }

    /// The places of the `k` largest, from a stable sort.
    fn sorted(values: impl Iterator<Item = f32>, k: usize) -> Vec<u32> {
        let mut places: Vec<(u32, f32)> = (0..).zip(values).collect();
        places.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
        places.into_iter().take(k).map(|(place, _)| place).collect()
    }

    #[test]
    fn ties_go_to_the_lowest_index_and_zeros_of_either_sign_are_equal() {
        let mut indices = [9; 8];
        top_k(&[-1.0, -0.0, 0.0, 2.0, -0.0, 7.0, 7.0, -8.0, 7.0, -9.0], 5, 4, &mut indices);
        assert_eq!(indices, [3, 1, 2, 4, 0, 1, 3, 2]);
        let mut mask = [9.0; 7];
        largest(&[-2.0, 0.0, 2.0, 3.0, -0.0, -2.0, 2.0], 3, &mut mask);
        assert_eq!(mask, [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        largest(&[-2.0, 0.0, 2.0, 3.0, -0.0, -2.0, 2.0], 6, &mut mask);
        assert_eq!(mask, [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn nothing_and_everything() {
        top_k(&[], 5, 2, &mut []);
        top_k(&[1.0, 2.0], 2, 0, &mut []);
        largest(&[], 0, &mut []);
        let mut mask = [9.0; 2];
        largest(&[0.0, 1.0], 0, &mut mask);
        assert_eq!(mask, [0.0; 2]);
        largest(&[0.0, 1.0], 2, &mut mask);
        assert_eq!(mask, [1.0; 2]);
    }

    proptest! {
        #[test]
        fn rows_agree_with_a_stable_sort(
            rows in 0usize..40, row_len in 1usize..70, part in 0usize..70, seed in 0u64..1000,
        ) {
            let (scores, k) = (values(seed, rows * row_len), part % (row_len + 1));
            let mut indices = vec![u32::MAX; rows * k];
            top_k(&scores, row_len, k, &mut indices);
            let expected: Vec<u32> = scores.chunks(row_len).flat_map(|row| sorted(row.iter().copied(), k)).collect();
            prop_assert_eq!(indices, expected);
        }
    }

    #[test]
    fn the_mask_agrees_with_a_stable_sort_on_any_number_of_threads() {
        for (len, seed) in [(1, 0), (100, 1), (CHUNK, 2), (3 * CHUNK + 5, 3)] {
            let mut tensor = values(seed, len);
            for part in [0.0, 0.01, 0.3, 0.5, 0.7, 0.99, 1.0] {
                let count = (part * len as f64) as usize;
                let mut expected = vec![0.0; len];
                sorted(tensor.iter().map(|x| x.abs()), count).into_iter().for_each(|i| expected[i as usize] = 1.0);
                for threads in [1, 3] {
                    let mut mask = vec![9.0; len];
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| largest(&tensor, count, &mut mask));
                    assert_eq!(mask, expected);
                }
            }
            tensor.fill(-0.5);
            let mut mask = vec![9.0; len];
            largest(&tensor, len / 2, &mut mask);
            assert!(mask.iter().enumerate().all(|(i, mask)| *mask == f32::from(i < len / 2)));
        }
    }
}
