//! Self-attention of one sequence.

use super::matmul::{Layout, Rows};
use crate::categorical::{normalize, weights};
use crate::convolution::at_least;

/// Queries whose rows of P are in memory at once.
const BLOCK: usize = 64;

/// `out` `[tokens, heads width]` of one sequence `qkv` `[tokens, 3 heads width]`, whose rows hold the queries of all heads,
/// then their keys, then their values.
///
/// `scratch` is working memory that a caller keeps between calls; its content does not matter.
///
/// ```
/// let (mut y, qkv) = ([0.0; 2], [0.0, 0.0, 3.0, 0.0, 0.0, 5.0]);
/// hardgrad_kernels::ordered::attention(&qkv, 2, 1, 1, &mut Vec::new(), &mut y);
/// assert_eq!(y, [4.0, 4.0]);
/// ```
///
/// # Panics
/// If a length does not fit the sizes, or one of these is 0.
pub fn attention(qkv: &[f32], tokens: usize, heads: usize, width: usize, scratch: &mut Vec<f32>, out: &mut [f32]) {
    assert!(tokens > 0 && heads > 0 && width > 0, "attention of {tokens} tokens, {heads} heads of width {width}");
    let (inner, stride) = (heads * width, 3 * heads * width);
    assert_eq!([qkv.len(), out.len()], [tokens * stride, tokens * inner], "{tokens} tokens of {heads} heads");
    let (key_layout, value_layout) = (Layout::new(tokens, width), Layout::new(width, tokens));
    let probabilities_len = BLOCK.min(tokens) * tokens;
    let scratch = at_least(scratch, key_layout.len() + value_layout.len() + probabilities_len);
    let (keys, scratch) = scratch.split_at_mut(key_layout.len());
    let (values, probabilities) = scratch.split_at_mut(value_layout.len());
    let scale = 1.0 / (width as f32).sqrt();
    let mut rows = Rows::default();
    for head in 0..heads {
        let column = head * width;
        key_layout.fill_from_rows(&qkv[inner + column..], stride, tokens, keys);
        value_layout.fill_from_columns(&qkv[2 * inner + column..], stride, width, values);
        for first in (0..tokens).step_by(BLOCK) {
            let queries = BLOCK.min(tokens - first);
            let probabilities = &mut probabilities[..queries * tokens];
            rows.set(&qkv[first * stride + column..], stride, queries, width);
            rows.times(keys, &key_layout, tokens, probabilities, tokens);
            weights(tokens, scale, probabilities);
            normalize(tokens, probabilities);
            rows.set(probabilities, tokens, queries, tokens);
            rows.times(values, &value_layout, width, &mut out[first * inner + column..], inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::matmul::tests::{bits, normal};
    use super::*;
    use crate::attention::{AttentionShape, forward};
    use crate::math::exp;

    /// The sum of a row: 16 partial sums added pairwise, then the rest.
    fn row_sum(row: &[f32]) -> f32 {
        let whole = row.len() / 16 * 16;
        let mut lanes = [0.0f32; 16];
        row[..whole].iter().enumerate().for_each(|(place, x)| lanes[place % 16] += x);
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        row[whole..].iter().fold(lanes[0], |sum, x| sum + x)
    }

    /// Value by value.
    fn plain(qkv: &[f32], tokens: usize, heads: usize, width: usize) -> Vec<f32> {
        let inner = heads * width;
        let at = |part: usize, token: usize, column: usize| qkv[(token * 3 + part) * inner + column];
        let scale = 1.0 / (width as f32).sqrt();
        let mut out = vec![0.0f32; tokens * inner];
        for (head, query) in (0..heads).flat_map(|head| (0..tokens).map(move |query| (head, query))) {
            let columns = head * width..(head + 1) * width;
            let products = (0..tokens)
                .map(|key| columns.clone().fold(0.0f32, |sum, column| sum + at(0, query, column) * at(1, key, column)));
            let mut row: Vec<f32> = products.collect();
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = exp((*x - largest) * scale));
            let factor = 1.0 / row_sum(&row);
            row.iter_mut().for_each(|x| *x *= factor);
            for column in columns {
                let y = &mut out[query * inner + column];
                *y = (0..tokens).fold(0.0f32, |sum, token| sum + row[token] * at(2, token, column));
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_bit_is_that_of_the_plain_sums(
            tokens in prop_oneof![3 => 1usize..40, 1 => 60usize..70, 1 => 125usize..135], heads in 1usize..4, width in 1usize..36,
        ) {
            let qkv = normal(tokens * 3 * heads * width, 0);
            let (mut scratch, mut out) = (vec![f32::NAN; 99], vec![9.0; tokens * heads * width]);
            attention(&qkv, tokens, heads, width, &mut scratch, &mut out);
            prop_assert!(bits(&out) == bits(&plain(&qkv, tokens, heads, width)));
            let (other, _) = forward(&qkv, AttentionShape { batch: 1, tokens, heads, width });
            prop_assert!(out.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5), "the kernel of training is near");
        }
    }
}
