use burn::tensor::Tensor;
use hardgrad_kernels::attention::{self, AttentionShape};
use hardgrad_kernels::ordered::batch;

use super::softmax::composed as softmax;
use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// Scaled dot-product self-attention of queries, keys and values that one linear layer gave.
///
/// ```text
/// y = softmax(q k^T / sqrt(width)) v        for each sequence and head
/// ```
/// qkv `[batch, tokens, 3 heads width]`: a row holds the queries of all heads, then their keys, then their values. y
/// `[batch, tokens, heads width]`. Kept for the backward pass: qkv and one number a query; the probabilities are computed
/// again. A plain qkv is computed in the fixed order of the packed model, bit for bit. Source: Vaswani et al., NeurIPS 2017; Dao et al., "FlashAttention", NeurIPS 2022 (what is kept).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let y = hardgrad::ops::attention(Tensor::<3>::zeros([2, 5, 3 * 8], &Device::flex()), 2);
/// assert_eq!(y.dims(), [2, 5, 8]);
/// ```
///
/// # Panics
/// If the last axis is not 3 heads times a width, or there is no token.
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let dims @ [batch, tokens, columns] = qkv.dims();
    assert!(heads > 0 && columns.is_multiple_of(3 * heads), "attention: {columns} columns for {heads} heads");
    if !on_flex(&qkv) {
        return composed(qkv, heads);
    }
    let shape = AttentionShape { batch, tokens, heads, width: columns / (3 * heads) };
    let (input, y_dims) = (values(&qkv), [batch, tokens, columns / 3]);
    if !qkv.is_autodiff() {
        return tensor(profile::forward("attention", || batch::attention(&input, shape)), y_dims);
    }
    let (y, log_sums) = profile::forward("attention", || attention::forward(&input, shape));
    custom_vjp(qkv, tensor(y, y_dims), move |gradient: Tensor<3>| {
        let gradient = values(&gradient);
        tensor(profile::backward("attention", || attention::backward(&input, &log_sums, &gradient, shape)), dims)
    })
}

/// [`attention()`] as a composition of Burn's operators, for any device.
pub fn composed(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, tokens, columns] = qkv.dims();
    let width = columns / (3 * heads);
    let mut parts =
        qkv.chunk(3, 2).into_iter().map(|part: Tensor<3>| part.reshape([batch, tokens, heads, width]).swap_dims(1, 2));
    let mut next = || parts.next().expect("three parts of an axis of three times the width");
    let (q, k, v): (Tensor<4>, Tensor<4>, Tensor<4>) = (next(), next(), next());
    let weights = softmax(q.matmul(k.swap_dims(2, 3)) / (width as f32).sqrt());
    weights.matmul(v).swap_dims(1, 2).reshape([batch, tokens, columns / 3])
}
