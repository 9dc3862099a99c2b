//! Lookup-free quantisation: a row of signs is its own code, so no codebook is searched.
//!
//! ```text
//! y     = +1 where x > 0, else -1                  (unlike `sign`, 0 becomes -1)
//! index = sum over i of 2^(l-1-i) [x_i > 0]        (the first value of a row is the highest bit)
//! ```
//! Source: Yu et al., "Language model beats diffusion: tokenizer is key to visual generation" (MAGVIT-v2), ICLR 2024.

use rayon::prelude::*;

use crate::CHUNK;
use crate::simd::multiversion;

/// `y` = the signs of `x`, and `indices` = the code of each row of `row_len` values.
///
/// # Panics
/// If `row_len` is not in 1..=63, or a length does not fit.
pub fn lfq(x: &[f32], row_len: usize, y: &mut [f32], indices: &mut [u64]) {
    assert!((1..=63).contains(&row_len), "a code has 1 to 63 bits, not {row_len}");
    assert!(x.len() == indices.len() * row_len && y.len() == x.len());
    let rows = CHUNK / row_len;
    y.par_chunks_mut(rows * row_len).zip(x.par_chunks(rows * row_len)).zip(indices.par_chunks_mut(rows)).for_each(
        |((y, x), indices)| {
            sign_block(x, y);
            for (index, x) in indices.iter_mut().zip(x.chunks_exact(row_len)) {
                *index = x.iter().fold(0, |index, x| index << 1 | u64::from(*x > 0.0));
            }
        },
    );
}

multiversion! {
    fn sign_block(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = if *x > 0.0 { 1.0 } else { -1.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_table() {
        let x = [0.5, -0.5, 2.0, 0.0, -0.0, 1e-30, -3.0, -1e-30, -9.0];
        let (mut y, mut indices) = ([9.0; 9], [9; 3]);
        lfq(&x, 3, &mut y, &mut indices);
        assert_eq!(y, [1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0]);
        assert_eq!(indices, [0b101, 0b001, 0b000]);
    }

    #[test]
    fn the_index_is_the_sum_of_powers_for_every_length() {
        for row_len in [1, 2, 10, 18, 32, 33, 63] {
            let rows = 2 * CHUNK / row_len + 3;
            let mut x = vec![0.0; rows * row_len];
            crate::random::Random::new(row_len as u64, 0, 0).fill_normal(&mut x);
            x[..row_len].fill(1.0);
            let (mut y, mut indices) = (vec![9.0; x.len()], vec![9; rows]);
            lfq(&x, row_len, &mut y, &mut indices);
            assert_eq!(indices[0], (1 << row_len) - 1);
            for ((x, y), index) in x.chunks(row_len).zip(y.chunks(row_len)).zip(indices) {
                let signs = x.iter().map(|&x| if x > 0.0 { 1.0 } else { -1.0 });
                assert!(signs.eq(y.iter().copied()));
                let powers = (0..row_len).filter(|&i| x[i] > 0.0).map(|i| 1u64 << (row_len - 1 - i));
                assert_eq!(index, powers.sum::<u64>());
            }
        }
    }

    #[test]
    fn no_row_gives_no_code() {
        lfq(&[], 5, &mut [], &mut []);
    }
}
