use burn::tensor::{Int, Tensor};
use hardgrad_kernels::categorical::softmax_backward;
use hardgrad_kernels::token_select::{self, TokenShape};

use super::top_k::{self, chosen, soft};
use crate::custom_gradient::node;
use crate::flex::{device, on_flex, tensor, values, whole};

/// What [`token_select()`] gives.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The kept tokens by falling score, then the extra one: `[batch, k + 1, c]`.
    pub tokens: Tensor<3>,
    /// 1 on the kept tokens, else 0; a plain tensor `[batch, n]`.
    pub mask: Tensor<2>,
    /// The kept places by falling score: `[batch, k]`.
    pub indices: Tensor<2, Int>,
}

/// Keeps the `k` tokens with the largest scores and folds the others into one extra token.
///
/// ```text
/// mask = 1 on the k largest scores, ties to the lowest index, else 0        r = 1 - mask
/// kept = gather(tokens mask)        extra = sum of tokens r / (sum r + 1e-8)
/// ```
/// The backward pass is the exact derivative of this expression, with dmask/dscores that of
/// softmax((scores + g) / temperature), g = -ln(-ln u), or 0 without `uniform`. With k = n nothing is dropped: the extra
/// token is 0 and passes no gradient.
///
/// `tokens` `[batch, n, c]`; `scores` and `uniform` (strictly between 0 and 1) `[batch, n]`; `temperature` above 0.
/// Sources: Mao et al., "SEPS", 2025; Liang et al., "EViT", ICLR 2022 (the extra token).
///
/// # Panics
/// If `k` is above n, or the shapes do not fit.
pub fn token_select(
    tokens: Tensor<3>,
    scores: Tensor<2>,
    uniform: Option<Tensor<2>>,
    k: usize,
    temperature: f32,
) -> Selection {
    let [batch, count, width] = tokens.dims();
    assert_eq!(scores.dims(), [batch, count], "token_select: one score a token");
    let indices = chosen(&scores, k);
    let places = whole(indices.iter().map(|index| i64::from(*index)), [batch, k], device(&scores));
    if !on_flex(&tokens) {
        let (tokens, mask) = composed(tokens, scores, uniform, &indices, temperature);
        return Selection { tokens, mask: mask.inner(), indices: places };
    }
    let shape = TokenShape { batch, tokens: count, kept: k, width };
    let input = values(&tokens);
    let soft = soft(&values(&scores), uniform, [batch, count], temperature);
    let (mut out, mut mask) = (vec![0.0; batch * (k + 1) * width], vec![0.0; batch * count]);
    token_select::token_select(&input, &indices, shape, &mut out, &mut mask);
    let y = tensor(out, [batch, k + 1, width]);
    let out = values(&y);
    let tokens = node([tokens.into(), scores.into()], y, move |gradient, _| {
        let (mut dtokens, mut dmask) = (vec![0.0; input.len()], vec![0.0; soft.len()]);
        let gradient = values(&gradient);
        token_select::token_select_backward(&input, &indices, shape, &out, &gradient, &mut dtokens, &mut dmask);
        let mut dscores = vec![0.0; soft.len()];
        softmax_backward(&soft, &dmask, count, temperature, &mut dscores);
        [Some(tensor(dtokens, [batch, count, width]).into()), Some(tensor(dscores, [batch, count]).into())]
    });
    Selection { tokens, mask: tensor(mask, [batch, count]), indices: places }
}

/// Tokens and mask of [`token_select()`] for chosen places (by row) as a composition of Burn's operators, for any device.
pub fn composed(
    tokens: Tensor<3>,
    scores: Tensor<2>,
    uniform: Option<Tensor<2>>,
    indices: &[u32],
    temperature: f32,
) -> (Tensor<3>, Tensor<2>) {
    let [batch, count, width] = tokens.dims();
    let k = indices.len() / batch.max(1);
    let mask = top_k::composed(scores, uniform, indices, temperature);
    let column = mask.clone().reshape([batch, count, 1]);
    let places =
        whole(indices.iter().map(|index| i64::from(*index)), [batch, k, 1], device(&tokens)).expand([batch, k, width]);
    let kept = (tokens.clone() * column.clone()).gather(1, places);
    let extra = if k < count {
        let rest = -column + 1.0;
        (tokens * rest.clone()).sum_dim(1) / (rest.sum_dim(1) + 1e-8)
    } else {
        (tokens * 0.0).sum_dim(1)
    };
    (Tensor::cat(vec![kept, extra], 1), mask)
}
