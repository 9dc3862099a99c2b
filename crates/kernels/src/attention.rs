//! Scaled dot-product self-attention of several heads, from the packed queries, keys and values, with its gradient.
//!
//! ```text
//! qkv [batch, tokens, 3 heads width]: of a token first q of all heads, then k, then v;   c = 1 / sqrt(width)
//! S = c q k^T      L_i = ln sum_j exp(S_ij)      P = softmax(S) = exp(S - L)      y = P v      (for each head)
//! ```
//! y is [batch, tokens, heads width]. P is never kept: the backward pass computes it again from q, k and L, [batch, heads,
//! tokens]. With the gradient G of y:
//!
//! ```text
//! dv = P^T G      dP = G v^T      dS = c P (dP - row sum of P dP)      dq = dS k      dk = dS^T q
//! ```
//! Source: Vaswani et al., "Attention is all you need", NeurIPS 2017; L in place of P: Dao et al., "FlashAttention", NeurIPS
//! 2022.
//!
//! A task handles one sequence, so the number of threads changes no sum. Its queries go in blocks, which bounds its memory.

use rayon::prelude::*;

use crate::categorical::{largest, sum, sum_of_products};
use crate::math::{exp, ln};
use crate::matmul::{Matrix, matmul_here, matmul_into};
use crate::memory::Fresh;
use crate::simd::multiversion;

/// Queries whose rows of P are in memory at once.
const BLOCK: usize = 128;

/// Sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Number of sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads that attend independently.
    pub heads: usize,
    /// Values of a query, a key or a value of one head.
    pub width: usize,
}

impl AttentionShape {
    /// Values of one token of the output.
    fn inner(&self) -> usize {
        self.heads * self.width
    }

    /// c.
    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The heads and blocks of queries of one sequence: (head, first query, number of queries).
    fn blocks(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let firsts = move || (0..self.tokens).step_by(BLOCK);
        (0..self.heads).flat_map(move |head| firsts().map(move |first| (head, first, BLOCK.min(self.tokens - first))))
    }

    fn check(&self, qkv: &[f32]) {
        assert!(self.tokens > 0 && self.heads > 0 && self.width > 0, "an attention without values: {self:?}");
        assert_eq!(qkv.len(), self.batch * self.tokens * 3 * self.inner());
    }
}

/// y and L.
///
/// # Panics
/// If a length does not fit the shape, or the shape has no tokens, heads or width.
pub fn forward(qkv: &[f32], shape: AttentionShape) -> (Vec<f32>, Vec<f32>) {
    shape.check(qkv);
    let AttentionShape { batch, tokens, heads, width } = shape;
    let (inner, stride) = (shape.inner(), 3 * shape.inner());
    let (mut output, mut log_sums) = (Fresh::new(batch * tokens * inner), Fresh::new(batch * heads * tokens));
    let outputs = output.pieces(tokens * inner).zip(log_sums.pieces(heads * tokens));
    outputs.zip(qkv.par_chunks(tokens * stride)).for_each_init(Vec::new, |weights, ((output, log_sums), qkv)| {
        let (output, log_sums) = (output.open(), log_sums.open());
        for (head, first, queries) in shape.blocks() {
            let [query, key, value] = operands(qkv, shape, head, first);
            let weights = room(weights, queries * tokens);
            matmul_here(query, key.transposed(), [queries, tokens, width], weights, false);
            softmax(tokens, shape.scale(), weights, &mut log_sums[head * tokens + first..][..queries]);
            let output = &mut output[first * inner + head * width..];
            matmul_into(Matrix::rows(weights, tokens), value, [queries, width, tokens], output, inner, false);
        }
    });
    (output.finish(), log_sums.finish())
}

/// The gradient of qkv for the gradient G of y; `log_sums` is the L that the forward pass gave.
///
/// # Panics
/// If a length does not fit the shape, or the shape has no tokens, heads or width.
pub fn backward(qkv: &[f32], log_sums: &[f32], gradient: &[f32], shape: AttentionShape) -> Vec<f32> {
    shape.check(qkv);
    let AttentionShape { batch, tokens, heads, width } = shape;
    let (inner, stride) = (shape.inner(), 3 * shape.inner());
    assert!(log_sums.len() == batch * heads * tokens && gradient.len() == batch * tokens * inner);
    let mut out = Fresh::new(qkv.len());
    let inputs = log_sums.par_chunks(heads * tokens).zip(gradient.par_chunks(tokens * inner));
    let items = out.pieces(tokens * stride).zip(qkv.par_chunks(tokens * stride)).zip(inputs);
    items.for_each_init(<[Vec<f32>; 2]>::default, |buffers, ((out, qkv), (log_sums, gradient))| {
        let out = out.open();
        for (head, first, queries) in shape.blocks() {
            let [query, key, value] = operands(qkv, shape, head, first);
            let gradient = Matrix::rows(&gradient[first * inner + head * width..], inner);
            let [weights, slopes] = buffers.each_mut().map(|buffer| room(buffer, queries * tokens));
            matmul_here(query, key.transposed(), [queries, tokens, width], weights, false);
            matmul_here(gradient, value.transposed(), [queries, tokens, width], slopes, false);
            let log_sums = &log_sums[head * tokens + first..][..queries];
            softmax_backward(tokens, shape.scale(), log_sums, weights, slopes);
            let (weights, slopes) = (Matrix::rows(weights, tokens), Matrix::rows(slopes, tokens));
            // Keys and values gather the shares of all blocks of queries; `open` made them 0.
            let [dquery, dkey, dvalue] = places(shape, head, first);
            matmul_into(slopes, key, [queries, width, tokens], &mut out[dquery..], stride, false);
            matmul_into(slopes.transposed(), query, [tokens, width, queries], &mut out[dkey..], stride, true);
            matmul_into(weights.transposed(), gradient, [tokens, width, queries], &mut out[dvalue..], stride, true);
        }
    });
    out.finish()
}

/// Where in the qkv of a sequence lie the queries of one head from `first` on, its keys and its values.
fn places(shape: AttentionShape, head: usize, first: usize) -> [usize; 3] {
    let (inner, column) = (shape.inner(), head * shape.width);
    [first * 3 * inner + column, inner + column, 2 * inner + column]
}

/// The queries of one head from `first` on, its keys and its values.
fn operands(qkv: &[f32], shape: AttentionShape, head: usize, first: usize) -> [Matrix<'_>; 3] {
    places(shape, head, first).map(|place| Matrix::rows(&qkv[place..], 3 * shape.inner()))
}

/// The first `len` values of a buffer that grows when it must.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(buffer.len().max(len), 0.0);
    &mut buffer[..len]
}

multiversion! {
    /// Rows of products q k^T become rows of P.
    fn softmax(tokens: usize, scale: f32, rows: &mut [f32], log_sums: &mut [f32]) {
        for (row, log_sum) in rows.chunks_exact_mut(tokens).zip(log_sums) {
            let largest = largest(row);
            for x in row.iter_mut() {
                *x = exp((*x - largest) * scale);
            }
            let sum = sum(row);
            *log_sum = largest * scale + ln(sum);
            let factor = 1.0 / sum;
            for x in row {
                *x *= factor;
            }
        }
    }
}

multiversion! {
    /// Rows of products q k^T become rows of P, and rows of dP become rows of dS.
    fn softmax_backward(tokens: usize, scale: f32, log_sums: &[f32], rows: &mut [f32], slopes: &mut [f32]) {
        for (row, log_sum) in rows.chunks_exact_mut(tokens).zip(log_sums) {
            for x in row {
                *x = exp(*x * scale - log_sum);
            }
        }
        for (row, slopes) in rows.chunks_exact_mut(tokens).zip(slopes.chunks_exact_mut(tokens)) {
            // Where logits are large a float holds L only roughly; dividing by the sum makes that good.
            let factor = 1.0 / sum(row);
            let mean = sum_of_products(row, slopes, 0.0) * factor;
            for (x, slope) in row.iter_mut().zip(slopes) {
                *x *= factor;
                *slope = *x * (*slope - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    fn normals(len: usize, stream: u32) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(5, 0, stream).fill_normal(&mut x);
        x
    }

    /// qkv and a gradient of the output.
    fn inputs(shape: AttentionShape) -> (Vec<f32>, Vec<f32>) {
        let len = shape.batch * shape.tokens * shape.inner();
        (normals(3 * len, 0), normals(len, 1))
    }

    /// The sum of y G over one sequence in double precision, value by value.
    fn exact(qkv: &[f64], gradient: &[f32], shape: AttentionShape, mut each: impl FnMut(usize, f64)) -> f64 {
        let AttentionShape { tokens, heads, width, .. } = shape;
        let inner = shape.inner();
        let at = |part: usize, token: usize, column: usize| qkv[(token * 3 + part) * inner + column];
        let mut total = 0.0;
        for (head, i) in (0..heads).flat_map(|head| (0..tokens).map(move |i| (head, i))) {
            let columns = head * width..(head + 1) * width;
            let logit = |j| columns.clone().map(|c| at(0, i, c) * at(1, j, c)).sum::<f64>() / (width as f64).sqrt();
            let logits: Vec<f64> = (0..tokens).map(logit).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for column in columns {
                let y = weights.iter().enumerate().map(|(j, w)| w * at(2, j, column)).sum::<f64>() / sum;
                total += y * f64::from(gradient[i * inner + column]);
                each(i * inner + column, y);
            }
        }
        total
    }

    /// Compares a sequence with the formulas: all outputs, and `samples` gradients with central differences.
    fn check(shape: AttentionShape, samples: usize) {
        let (qkv, gradient) = inputs(shape);
        let (output, log_sums) = forward(&qkv, shape);
        let found = backward(&qkv, &log_sums, &gradient, shape);
        let len = shape.tokens * shape.inner();
        for item in 0..shape.batch {
            let (output, gradient) = (&output[item * len..][..len], &gradient[item * len..][..len]);
            let qkv: Vec<f64> = qkv[3 * item * len..][..3 * len].iter().copied().map(f64::from).collect();
            exact(&qkv, gradient, shape, |index, y| {
                assert!((f64::from(output[index]) - y).abs() < 1e-5, "{index}: {} {y}", output[index]);
            });
            for sample in 0..samples {
                let index = Random::new(7, item as u32, 0).below(sample as u64, 3 * len as u32) as usize;
                let loss = |step: f64| {
                    let mut moved = qkv.clone();
                    moved[index] += step;
                    exact(&moved, gradient, shape, |_, _| ())
                };
                let (found, expected) = (found[3 * item * len + index], (loss(1e-5) - loss(-1e-5)) / 2e-5);
                assert!((f64::from(found) - expected).abs() < 3e-5, "{index}: {found} {expected}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn values_and_gradients_equal_the_formulas(
            batch in 1usize..3, tokens in 1usize..20, heads in 1usize..4, width in 1usize..19,
        ) {
            check(AttentionShape { batch, tokens, heads, width }, 20);
        }
    }

    #[test]
    fn blocks_of_queries_add_up() {
        check(AttentionShape { batch: 1, tokens: BLOCK + 5, heads: 2, width: 3 }, 12);
    }

    #[test]
    fn a_hand_table() {
        // One head of width 1: logits 0 and ln 3, so weights 1/4 and 3/4 of the values 8 and 4.
        let shape = AttentionShape { batch: 1, tokens: 2, heads: 1, width: 1 };
        let qkv = [1.0, 0.0, 8.0, 0.0, 3f32.ln(), 4.0];
        let (output, log_sums) = forward(&qkv, shape);
        assert!((output[0] - 5.0).abs() < 1e-6 && (output[1] - 6.0).abs() < 1e-6);
        assert!((log_sums[0] - 4f32.ln()).abs() < 1e-6 && (log_sums[1] - 2f32.ln()).abs() < 1e-6);
        // dS of the first query is 1/4 (8 - 5) and 3/4 (4 - 5).
        let found = backward(&qkv, &log_sums, &[1.0, 0.0], shape);
        let expected = [-0.75 * 3f32.ln(), 0.75, 0.25, 0.0, -0.75, 0.75];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn large_logits_choose_the_largest() {
        let shape = AttentionShape { batch: 1, tokens: 9, heads: 2, width: 16 };
        let (mut qkv, gradient) = inputs(shape);
        for size in [1e4, 1e6, 1e4] {
            for token in qkv.chunks_exact_mut(96) {
                token[..64].iter_mut().for_each(|x| *x *= size);
            }
            let (output, log_sums) = forward(&qkv, shape);
            let found = backward(&qkv, &log_sums, &gradient, shape);
            assert!(output.iter().chain(&log_sums).chain(&found).all(|x| x.is_finite()));
            // The weights of a query add up to 1, so the gradients of the values add up to G.
            for column in 0..32 {
                let sum = |values: &[f32], width, column| values.iter().skip(column).step_by(width).sum::<f32>();
                assert!((sum(&found, 96, 64 + column) - sum(&gradient, 32, column)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn equal_large_logits_share_the_weight() {
        // L is 1e12, whose neighbours are 65536 apart: it alone would give three weights of 1.
        let shape = AttentionShape { batch: 1, tokens: 3, heads: 1, width: 1 };
        let qkv = [1e6, 1e6, 1.0, 1e6, 1e6, 2.0, 1e6, 1e6, 6.0];
        let (output, log_sums) = forward(&qkv, shape);
        assert!(output.iter().all(|y| (y - 3.0).abs() < 1e-5));
        let found = backward(&qkv, &log_sums, &[3.0, 0.0, 0.0], shape);
        assert!(found.iter().skip(2).step_by(3).all(|dv| (dv - 1.0).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let shape = AttentionShape { batch: 7, tokens: 33, heads: 3, width: 5 };
        let (qkv, gradient) = inputs(shape);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (output, log_sums) = forward(&qkv, shape);
                let found = backward(&qkv, &log_sums, &gradient, shape);
                [output, log_sums, found]
            })
        };
        assert!(run(1) == run(2) && run(1) == run(3));
        let none = AttentionShape { batch: 0, ..shape };
        assert!(forward(&[], none).0.is_empty() && backward(&[], &[], &[], none).is_empty());
    }
}
