//! What training does to hard values: which codes weights have, how many flip, how many values are clipped.

use burn::module::Param;
use burn::tensor::Tensor;
use hardgrad_kernels::fake_quant::Channels;

use crate::flex::values;
use crate::quantize::{Grid, Quantizer, ToCode};

/// The hard values of one quantised weight.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightCodes {
    /// Name of the parameter.
    pub name: String,
    /// Whole numbers of the grid, row by row.
    pub codes: Vec<i32>,
    /// How many latent weights lie beyond the ends of the grid.
    pub clipped: usize,
    /// Distance between neighbouring grid points, for each value.
    pub steps: Vec<f32>,
}

/// The codes of a quantised weight called `name`; none where it is not quantised or its delay is not over.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::diagnose::weight_codes;
/// use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
///
/// let layer = LinearConfig::new(4, 3).init(&Device::flex());
/// let layer = layer.apply_reparameterization(QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap());
/// assert_eq!(weight_codes("weight", &layer.weight).unwrap().codes.len(), 12);
/// ```
pub fn weight_codes<const D: usize>(name: &str, weight: &Param<Tensor<D>>) -> Option<WeightCodes> {
    let quantizer = weight.reparameterization::<Quantizer>().filter(|quantizer| quantizer.is_active())?;
    let latent = weight.base();
    let grid = quantizer.grid(&latent);
    let channels = weight_channels(&latent.dims(), grid.scale.len());
    let hard = values(&weight.val());
    let scale = |index: usize| grid.scale[channel(index, channels)];
    let codes = hard.iter().enumerate().map(|(index, value)| (value / scale(index)).round() as i32);
    Some(WeightCodes {
        name: name.to_string(),
        codes: codes.collect(),
        clipped: beyond(&values(&latent), &grid, channels),
        steps: (0..latent.shape().num_elements()).map(|index| grid.spacing as f32 * scale(index)).collect(),
    })
}

/// How many values of an activation lie beyond the ends of its quantiser's grid.
pub fn clipped<const D: usize>(quantizer: &Quantizer, x: &Tensor<D>) -> usize {
    let x = values(x);
    beyond(&x, &quantizer.grid(&crate::flex::tensor::<1>(x.to_vec(), [x.len()])), Channels::one(x.len()))
}

/// Entropy of the distribution of codes, in bits: 0 where all are equal, at most the bits of a code.
pub fn entropy(codes: &[i32]) -> f64 {
    let mut sorted = codes.to_vec();
    sorted.sort_unstable();
    let count = codes.len() as f64;
    let shares = sorted.chunk_by(|a, b| a == b).map(|equal| equal.len() as f64 / count);
    // Plus 0: no negative zero.
    -shares.map(|share| share * share.log2()).sum::<f64>() + 0.0
}

/// How `scales` scales are shared by a weight: one for all, or one an output channel.
fn weight_channels(dims: &[usize], scales: usize) -> Channels {
    match scales {
        1 => Channels::one(dims.iter().product()),
        _ => Channels::along(dims, if dims.len() == 2 { 1 } else { 0 }),
    }
}

fn channel(index: usize, channels: Channels) -> usize {
    index / channels.inner.max(1) % channels.channels.max(1)
}

fn beyond(latent: &[f32], grid: &Grid, channels: Channels) -> usize {
    // Other rules squeeze all values into the grid.
    if !matches!(grid.to_code, ToCode::Divide) {
        return 0;
    }
    let outside = |(index, value): &(usize, &f32)| {
        let channel = channel(*index, channels);
        let lowest = grid.lowest[channel.min(grid.lowest.len() - 1)];
        let code = (*value / grid.scale[channel]).round_ties_even();
        code < lowest as f32 || code > (lowest + grid.span) as f32
    };
    latent.iter().enumerate().filter(outside).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_distributions() {
        assert_eq!(entropy(&[3; 8]), 0.0);
        assert_eq!(entropy(&[]), 0.0);
        assert!((entropy(&[-1, 0, 1, 2, -1, 0, 1, 2]) - 2.0).abs() < 1e-12);
        assert!((entropy(&[0, 0, 0, 1]) - (2.0 - 0.75 * 3f64.log2())).abs() < 1e-12);
    }
}
