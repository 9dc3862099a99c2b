//! Keeping some tokens of a sequence and folding the others into one more.
//!
//! ```text
//! mask     = 1 on the kept tokens, else 0                     r = 1 - mask
//! selected = the kept tokens, in the order of `indices`
//! extra    = sum over the tokens of t r / (sum r + 1e-8)      (the mean of the dropped ones; 0 where all are kept)
//! ```
//! Backward the mask counts as a function of the scores, so it has a gradient too. With gradients S of `selected` and E
//! of `extra`:
//!
//! ```text
//! dt    = S_j on the token kept at place j, E / (sum r + 1e-8) on a dropped one
//! dmask = [kept at place j] t . S_j - (t . E - extra . E) / (sum r + 1e-8)
//! ```
//! Where all tokens are kept nothing flows through `extra`.
//!
//! The extra token has the form of the fused token of Liang et al., "Not all patches are what you need: expediting
//! vision transformers via token reorganizations" (EViT), ICLR 2022, with equal weights.

use rayon::prelude::*;

use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Part of the definition; it vanishes beside a count of 1 or more, and a count of 0 is never divided by.
const EPSILON: f32 = 1e-8;

/// Sizes of one selection: tokens are `[batch, tokens, width]`, kept indices `[batch, kept]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// Number of sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Tokens that are kept.
    pub kept: usize,
    /// Values of a token.
    pub width: usize,
}

impl TokenShape {
    /// The divisor of the extra token; none where there is nothing to divide.
    fn dropped(&self) -> Option<f32> {
        (self.kept < self.tokens).then(|| (self.tokens - self.kept) as f32 + EPSILON)
    }

    fn check(&self, tokens: &[f32], indices: &[u32]) {
        assert!(self.kept <= self.tokens, "{} of {} tokens", self.kept, self.tokens);
        assert_eq!(tokens.len(), self.batch * self.tokens * self.width);
        assert_eq!(indices.len(), self.batch * self.kept);
    }
}

/// `out` `[batch, kept + 1, width]`: the kept tokens, then the extra one; and `mask` `[batch, tokens]`.
///
/// The indices of a sequence must differ.
///
/// # Panics
/// If an index is not below the number of tokens, or a length does not fit the shape.
pub fn token_select(tokens: &[f32], indices: &[u32], shape: TokenShape, out: &mut [f32], mask: &mut [f32]) {
    let TokenShape { batch, tokens: count, kept, width } = shape;
    shape.check(tokens, indices);
    assert!(out.len() == batch * (kept + 1) * width && mask.len() == batch * count);
    let outputs = rows_mut(out, batch, (kept + 1) * width).into_par_iter().zip(rows_mut(mask, batch, count));
    outputs.enumerate().for_each(|(item, (out, mask))| {
        let (selected, extra) = out.split_at_mut(kept * width);
        let tokens = &tokens[item * count * width..][..count * width];
        let indices = &indices[item * kept..][..kept];
        mask.fill(0.0);
        for index in indices {
            mask[*index as usize] = 1.0;
        }
        for (place, index) in indices.iter().enumerate() {
            selected[place * width..][..width].copy_from_slice(&tokens[*index as usize * width..][..width]);
        }
        extra.fill(0.0);
        if let Some(dropped) = shape.dropped() {
            sum_dropped(tokens, mask, extra);
            extra.iter_mut().for_each(|extra| *extra /= dropped);
        }
    });
}

/// Gradients with respect to the tokens and to the mask; `out` is the output and `gradient` the gradient of it.
pub fn token_select_backward(
    tokens: &[f32],
    indices: &[u32],
    shape: TokenShape,
    out: &[f32],
    gradient: &[f32],
    token_gradient: &mut [f32],
    mask_gradient: &mut [f32],
) {
    let TokenShape { batch, tokens: count, kept, width } = shape;
    shape.check(tokens, indices);
    assert!(out.len() == batch * (kept + 1) * width && gradient.len() == out.len());
    assert!(token_gradient.len() == tokens.len() && mask_gradient.len() == batch * count);
    rows_mut(token_gradient, batch, count * width)
        .into_par_iter()
        .zip(rows_mut(mask_gradient, batch, count))
        .enumerate()
        .for_each_init(
            || (vec![None; count], vec![0.0; width]),
            |(places, share), (item, (token_gradient, mask_gradient))| {
                let first = item * (kept + 1) * width;
                let (selected_gradient, extra_gradient) =
                    gradient[first..][..(kept + 1) * width].split_at(kept * width);
                let extra = &out[first + kept * width..][..width];
                places.fill(None);
                for (place, index) in indices[item * kept..][..kept].iter().enumerate() {
                    places[*index as usize] = Some(place);
                }
                // What every dropped token gets, and what the mask of every token gets through the divisor.
                share.fill(0.0);
                if let Some(dropped) = shape.dropped() {
                    share.iter_mut().zip(extra_gradient).for_each(|(share, gradient)| *share = gradient / dropped);
                }
                let base = dot(extra, share);
                for (token, (place, mask_gradient)) in places.iter().zip(mask_gradient).enumerate() {
                    let out = &mut token_gradient[token * width..][..width];
                    let token = &tokens[(item * count + token) * width..][..width];
                    *mask_gradient = base - dot(token, share);
                    match place {
                        Some(place) => {
                            let gradient = &selected_gradient[place * width..][..width];
                            out.copy_from_slice(gradient);
                            *mask_gradient += dot(token, gradient);
                        }
                        None => out.copy_from_slice(share),
                    }
                }
            },
        );
}

/// The `count` parts of `len` values each of `values`; they may be empty.
fn rows_mut(mut values: &mut [f32], count: usize, len: usize) -> Vec<&mut [f32]> {
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let row;
        (row, values) = values.split_at_mut(len);
        rows.push(row);
    }
    rows
}

multiversion! {
    fn sum_dropped(tokens: &[f32], mask: &[f32], sum: &mut [f32]) {
        let width = sum.len();
        for (token, _) in mask.iter().enumerate().filter(|(_, mask)| **mask == 0.0) {
            for (sum, value) in sum.iter_mut().zip(&tokens[token * width..][..width]) {
                *sum += value;
            }
        }
    }
}

multiversion! {
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let (a_blocks, a_rest) = a.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        sum_lanes(lanes) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;
    use crate::top_k::top_k;

    fn normal(stream: u32, len: usize) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(5, 0, stream).fill_normal(&mut x);
        x
    }

    #[test]
    fn a_hand_table() {
        let shape = TokenShape { batch: 1, tokens: 4, kept: 2, width: 2 };
        let tokens = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let (mut out, mut mask) = ([9.0; 6], [9.0; 4]);
        token_select(&tokens, &[3, 1], shape, &mut out, &mut mask);
        assert_eq!(out, [7.0, 8.0, 3.0, 4.0, 3.0, 4.0]);
        assert_eq!(mask, [0.0, 1.0, 0.0, 1.0]);
        let (mut dt, mut dmask) = ([9.0; 8], [9.0; 4]);
        let gradient = [1.0, 0.0, 0.0, 2.0, 2.0, 4.0];
        token_select_backward(&tokens, &[3, 1], shape, &out, &gradient, &mut dt, &mut dmask);
        assert_eq!(dt, [1.0, 2.0, 0.0, 2.0, 1.0, 2.0, 1.0, 0.0]);
        // t . E = 10, 22, 34, 46 and extra . E = 22; the kept ones add t . S = 8 and 7.
        assert_eq!(dmask, [6.0, 8.0, -6.0, -12.0 + 7.0]);
    }

    #[test]
    fn nothing_flows_through_the_extra_token_where_all_are_kept() {
        let shape = TokenShape { batch: 2, tokens: 3, kept: 3, width: 5 };
        let (tokens, indices) = (normal(0, 30), [2, 0, 1, 0, 1, 2]);
        let (mut out, mut mask) = ([9.0; 40], [9.0; 6]);
        token_select(&tokens, &indices, shape, &mut out, &mut mask);
        assert_eq!((&out[15..20], &out[35..], mask), (&[0.0; 5][..], &[0.0; 5][..], [1.0; 6]));
        let (mut dt, mut dmask) = ([9.0; 30], [9.0; 6]);
        let mut gradient = normal(1, 40);
        gradient[15..20].fill(1e9);
        gradient[35..].fill(1e9);
        token_select_backward(&tokens, &indices, shape, &out, &gradient, &mut dt, &mut dmask);
        for (row, index) in indices.iter().enumerate() {
            let (token, row) = (5 * (row / 3 * 3 + *index as usize), 5 * (row + row / 3));
            assert_eq!(dt[token..token + 5], gradient[row..row + 5]);
            assert_eq!(dmask[token / 5], dot(&tokens[token..token + 5], &gradient[row..row + 5]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_shape_agrees_with_the_masked_sums(
            batch in 0usize..5, count in 1usize..20, part in 0usize..20, width in 0usize..40,
        ) {
            let shape = TokenShape { batch, tokens: count, kept: part % (count + 1), width };
            let TokenShape { kept, .. } = shape;
            let tokens = normal(0, batch * count * width);
            let mut indices = vec![0; batch * kept];
            top_k(&normal(1, batch * count), count, kept, &mut indices);
            let mut out = vec![f32::NAN; batch * (kept + 1) * width];
            let mut mask = vec![f32::NAN; batch * count];
            token_select(&tokens, &indices, shape, &mut out, &mut mask);
            let gradient = normal(2, out.len());
            let (mut dt, mut dmask) = (vec![f32::NAN; tokens.len()], vec![f32::NAN; mask.len()]);
            token_select_backward(&tokens, &indices, shape, &out, &gradient, &mut dt, &mut dmask);

            for item in 0..batch {
                let token = |t: usize, c: usize| f64::from(tokens[(item * count + t) * width + c]);
                let first = item * (kept + 1);
                let at = |values: &[f32], row: usize, c: usize| f64::from(values[(first + row) * width + c]);
                let place = |t: usize| indices[item * kept..][..kept].iter().position(|&index| index as usize == t);
                let r: Vec<f64> = (0..count).map(|t| f64::from(place(t).is_none())).collect();
                let sum = r.iter().sum::<f64>() + 1e-8;
                let flows = f64::from(kept < count);
                for c in 0..width {
                    let extra = (0..count).map(|t| token(t, c) * r[t]).sum::<f64>() / sum;
                    prop_assert!((at(&out, kept, c) - extra).abs() < 1e-5);
                }
                for t in 0..count {
                    prop_assert_eq!(f64::from(mask[item * count + t]), 1.0 - r[t]);
                    let mut expected = 0.0;
                    for c in 0..width {
                        let found = f64::from(dt[(item * count + t) * width + c]);
                        let ge = at(&gradient, kept, c);
                        expected -= flows * (token(t, c) - at(&out, kept, c)) * ge / sum;
                        match place(t) {
                            Some(place) => {
                                prop_assert_eq!(at(&out, place, c), token(t, c));
                                prop_assert_eq!(found, at(&gradient, place, c));
                                expected += token(t, c) * at(&gradient, place, c);
                            }
                            None => prop_assert!((found - ge / sum).abs() < 1e-6),
                        }
                    }
                    prop_assert!((f64::from(dmask[item * count + t]) - expected).abs() < 1e-4);
                }
            }
        }
    }
}
