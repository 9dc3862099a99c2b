use burn::tensor::Tensor;
use hardgrad_kernels::score_mask::{self, kept};
use hardgrad_kernels::top_k::largest;

use crate::custom_gradient::{custom_vjp2, exactly};
use crate::flex::{on_flex, tensor, values};

/// Keeps the share `keep` of the values whose learned scores have the largest magnitudes.
///
/// ```text
/// m = 1 on the n - floor((1 - keep) n) largest abs(scores), ties to the lowest index, else 0      y = x m
/// dx = G m        dscores = G x
/// ```
/// x and `scores` of the same shape; `keep` from 0 to 1, n the number of values. A product that only rounding keeps from being
/// whole counts as whole: of 5 values, 0.8 keeps 4.
/// Sources: Ramanujan et al. (edge-popup), CVPR 2020; Sanh et al., "Movement pruning", NeurIPS 2020.
///
/// # Panics
/// If the shapes differ or `keep` is not from 0 to 1.
pub fn score_mask<const D: usize>(x: Tensor<D>, scores: Tensor<D>, keep: f64) -> Tensor<D> {
    let mask = mask(&x, &scores, keep);
    if !on_flex(&x) {
        let mask = Tensor::<1>::from_floats(mask.as_slice(), &x.clone().inner().device());
        let dims = x.dims();
        return composed(x, scores, mask.reshape(dims));
    }
    let (input, dims) = (values(&x), x.dims());
    let mut y = vec![0.0; input.len()];
    score_mask::score_mask(&input, &mask, &mut y);
    custom_vjp2(x, scores, tensor(y, dims), move |gradient, _| {
        let (mut dx, mut dscores) = (vec![0.0; input.len()], vec![0.0; input.len()]);
        score_mask::score_mask_backward(&input, &mask, &values(&gradient), &mut dx, &mut dscores);
        (Some(tensor(dx, dims)), Some(tensor(dscores, dims)))
    })
}

/// The mask, row by row. It is chosen on the CPU wherever the tensors live.
fn mask<const D: usize>(x: &Tensor<D>, scores: &Tensor<D>, keep: f64) -> Vec<f32> {
    assert_eq!(x.dims(), scores.dims(), "score_mask: x and scores must have the same shape");
    assert!((0.0..=1.0).contains(&keep), "score_mask: keep must be from 0 to 1, got {keep}");
    let scores: Vec<f32> = scores.clone().inner().into_data().try_into_vec().expect("scores are f32");
    let mut mask = vec![0.0; scores.len()];
    largest(&scores, kept(scores.len(), keep), &mut mask);
    mask
}

/// [`score_mask()`] with a given mask, as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, scores: Tensor<D>, mask: Tensor<D>) -> Tensor<D> {
    let constant = x.clone().inner();
    exactly(constant.clone() * mask.clone(), x * mask + scores * constant)
}
