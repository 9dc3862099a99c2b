use burn::tensor::{Device, Tensor};
use hardgrad_kernels::lfq;

use super::Codes;
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{device, on_flex, tensor, values, whole};

/// Lookup-free quantisation: the signs of a vector are its code.
///
/// ```text
/// y = +1 where x > 0, else -1        index = sum over i of 2^(dims-1-i) 1[x_i > 0]        dx = G
/// ```
/// x `[n, dims]`, 1 to 62 dimensions. Source: Yu et al., "MAGVIT-v2", ICLR 2024.
///
/// # Panics
/// If there are no dimensions, or more than 62.
pub fn lfq(x: Tensor<2>) -> Codes {
    let dims = x.dims();
    assert!((1..=62).contains(&dims[1]), "lfq: 1 to 62 dimensions, got {}", dims[1]);
    let input = values(&x.clone().inner().to_device(&Device::flex()));
    let (mut y, mut indices) = (vec![0.0; input.len()], vec![0; dims[0]]);
    lfq::lfq(&input, dims[1], &mut y, &mut indices);
    let indices = whole(indices.into_iter().map(|index| index as i64), [dims[0]], device(&x));
    let quantized = if on_flex(&x) { custom_vjp(x, tensor(y, dims), |gradient| gradient) } else { composed(x) };
    Codes { quantized, indices }
}

/// The signs of [`lfq()`] as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<2>) -> Tensor<2> {
    exactly(x.clone().inner().greater_scalar(0.0).float() * 2.0 - 1.0, x)
}
