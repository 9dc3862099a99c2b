use burn::tensor::Tensor;

/// The score of a token from a learned score and three similarities.
///
/// ```text
/// y = (1 - 2 beta) s_pred + beta (s_m2 + s_m3 + 2 s_im)
/// ```
/// All of the same shape: `s_pred` the learned score, `s_im` the similarity with the token's own modality, `s_m2` and `s_m3`
/// with two others; the gradient is exact. Source: Mao et al., "SEPS" (sparse and dense text-aware patch selection), 2025.
pub fn token_score<const D: usize>(
    s_pred: Tensor<D>,
    s_m2: Tensor<D>,
    s_m3: Tensor<D>,
    s_im: Tensor<D>,
    beta: f32,
) -> Tensor<D> {
    s_pred * (1.0 - 2.0 * beta) + (s_m2 + s_m3 + s_im * 2.0) * beta
}
