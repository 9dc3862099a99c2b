//! What training does to hard values: which codes weights have, how many flip, how many values are clipped, what has vanished.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use hardgrad_kernels::channels::Channels;

use crate::flex::values;
use crate::quantize::{Grid, Quantizer, Range};

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
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::diagnose::weight_codes;
/// use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
///
/// let layer = LinearConfig::new(4, 3).init(&Device::flex());
/// let layer = QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap().apply(layer).unwrap();
/// assert_eq!(weight_codes("weight", &layer.weight).unwrap().codes.len(), 12);
/// ```
pub fn weight_codes<const D: usize>(name: &str, weight: &Param<Tensor<D>>) -> Option<WeightCodes> {
    let quantizer = weight.reparameterization::<Quantizer>().filter(|quantizer| quantizer.is_active())?;
    let latent = weight.base();
    let grid = quantizer.grid(&latent);
    let channels = quantizer.channels(&latent.dims(), grid.scale.len());
    let hard = values(&weight.val());
    let scale = |index: usize| grid.scale[channel(index, channels)];
    let codes = hard.iter().enumerate().map(|(index, value)| (value / scale(index)).round() as i32);
    let clipped = match &quantizer.range {
        // Its tanh squeezes all weights between the ends.
        Range::Dorefa(_) => 0,
        Range::Fixed(_) | Range::MinMax(_) | Range::MovingAverage(_) | Range::Lsq(_) | Range::Pact(_) => {
            beyond(&values(&latent), &grid, channels)
        }
    };
    Some(WeightCodes {
        name: name.to_string(),
        codes: codes.collect(),
        clipped,
        steps: (0..latent.shape().num_elements()).map(|index| grid.spacing as f32 * scale(index)).collect(),
    })
}

/// How many values of an activation lie beyond the ends of its quantiser's grid.
pub fn clipped<const D: usize>(quantizer: &Quantizer, x: &Tensor<D>) -> usize {
    let x = values(x);
    beyond(&x, &quantizer.grid(&crate::flex::tensor::<1>(x.to_vec(), [x.len()])), Channels::one(x.len()))
}

/// Output channels of a quantised weight whose hard values no longer follow the latent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanishing {
    /// Name of the parameter.
    pub name: String,
    /// How many channels have vanished.
    pub channels: usize,
    /// How many the weight has.
    pub of: usize,
}

/// The channels of a quantised weight called `name` that have vanished; none where all are well, or nothing is quantised.
///
/// ```text
/// vanished: max abs(quantised) < max abs(latent) / 10, of one output channel
/// ```
/// That is what a step leaves behind that has fallen too far (the grid is too narrow) or risen too far (all codes are 0).
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::diagnose::vanishing;
/// use hardgrad::quantize::{QuantizeWeights, QuantizerConfig, RangeMethod};
///
/// let config = QuantizerConfig { range: RangeMethod::Fixed, fixed_scale: 1000.0, ..QuantizerConfig::weights(4) };
/// let layer = QuantizeWeights::new(config).unwrap().apply(LinearConfig::new(4, 3).init(&Device::flex())).unwrap();
/// let vanished = vanishing("weight", &layer.weight).unwrap();
/// assert_eq!((vanished.channels, vanished.of), (3, 3));
/// ```
pub fn vanishing<const D: usize>(name: &str, weight: &Param<Tensor<D>>) -> Option<Vanishing> {
    let quantizer = weight.reparameterization::<Quantizer>().filter(|quantizer| quantizer.is_active())?;
    let (latent, hard) = (weight.base(), weight.val());
    let channels = Channels::along(&latent.dims(), quantizer.output_axis()?);
    let largest = |x: &[f32]| {
        let mut largest = vec![0.0f32; channels.channels];
        for (index, value) in x.iter().enumerate() {
            let largest = &mut largest[channel(index, channels)];
            *largest = largest.max(value.abs());
        }
        largest
    };
    let pairs = largest(&values(&latent)).into_iter().zip(largest(&values(&hard)));
    let vanished = pairs.filter(|(latent, hard)| *hard < latent / 10.0).count();
    (vanished > 0).then(|| Vanishing { name: name.to_string(), channels: vanished, of: channels.channels })
}

/// Whether a quantiser of activations no longer shows what a sample of them holds.
///
/// ```text
/// lost: all quantised values are 0 though some of x are not, or
///       more than 9 of 10 values that are not 0 are clipped, and the grid ends below a tenth of their mean magnitude
/// ```
/// False before the delay is over. x of any shape, finite.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::diagnose::range_is_lost;
/// use hardgrad::quantize::{QuantizerConfig, RangeMethod};
///
/// let device = Device::flex();
/// let config = QuantizerConfig { range: RangeMethod::Fixed, fixed_scale: 0.01, ..QuantizerConfig::activations(4) };
/// let quantizer = config.init(&device).unwrap();
/// assert!(range_is_lost(&quantizer, &Tensor::<1>::from_floats([5.0, 7.0, 0.0], &device)));
/// assert!(!range_is_lost(&quantizer, &Tensor::<1>::from_floats([0.1, 0.2, 0.0], &device)));
/// ```
pub fn range_is_lost<const D: usize>(quantizer: &Quantizer, x: &Tensor<D>) -> bool {
    if !quantizer.is_active() {
        return false;
    }
    // On plain tensors: nothing is observed, and no gradient tape grows.
    let x = x.clone().inner();
    let hard = values(&quantizer.valid().forward(x.clone()));
    let grid = quantizer.grid(&x);
    let x = values(&x);
    let count = x.iter().filter(|value| **value != 0.0).count();
    if count == 0 {
        return false;
    }
    let clipped = x.iter().filter(|value| **value != 0.0 && grid.is_beyond(**value, 0)).count();
    let mean = x.iter().map(|value| f64::from(value.abs())).sum::<f64>() / count as f64;
    let end = f64::from(grid.largest()) * f64::from(grid.scale[0]);
    hard.iter().all(|value| *value == 0.0) || (10 * clipped > 9 * count && end < mean / 10.0)
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

fn channel(index: usize, channels: Channels) -> usize {
    index / channels.inner.max(1) % channels.channels.max(1)
}

fn beyond(latent: &[f32], grid: &Grid, channels: Channels) -> usize {
    latent.iter().enumerate().filter(|(index, value)| grid.is_beyond(**value, channel(*index, channels))).count()
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::quantize::{QuantizeWeights, QuantizerConfig, RangeMethod};

    #[test]
    fn entropy_of_known_distributions() {
        assert_eq!(entropy(&[3; 8]), 0.0);
        assert_eq!(entropy(&[]), 0.0);
        assert!((entropy(&[-1, 0, 1, 2, -1, 0, 1, 2]) - 2.0).abs() < 1e-12);
        assert!((entropy(&[0, 0, 0, 1]) - (2.0 - 0.75 * 3f64.log2())).abs() < 1e-12);
    }

    /// Two inputs, three outputs: a usual channel, one of small weights, one of zeros.
    fn layer(config: QuantizerConfig) -> Linear {
        let layer = LinearConfig::new(2, 3).with_bias(false).init(&Device::flex());
        let layer = crate::parameters::update(layer, |_, _, values| {
            values.copy_from_slice(&[1.0, 0.1, 0.0, -0.3, 0.2, 0.0]);
        });
        QuantizeWeights::new(config).unwrap().apply(layer).unwrap()
    }

    fn fixed(fixed_scale: f32, config: QuantizerConfig) -> QuantizerConfig {
        QuantizerConfig { range: RangeMethod::Fixed, fixed_scale, ..config }
    }

    #[test]
    fn channels_vanish_where_the_step_has_risen_or_fallen() {
        let vanished = |scale| vanishing("weight", &layer(fixed(scale, QuantizerConfig::weights(2))).weight);
        let some = |channels| Some(Vanishing { name: "weight".to_string(), channels, of: 3 });
        assert_eq!(vanished(0.25), None);
        // 0.2 rounds to 0: the second channel is gone.
        assert_eq!(vanished(0.5), some(1));
        // The grid ends at 0.01 and -0.02, the weights at 1 and 0.2; zeros stay what they are.
        assert_eq!(vanished(0.01), some(2));
        let learned = layer(QuantizerConfig::weights(4));
        assert_eq!(vanishing("weight", &learned.weight), None);
        let float = LinearConfig::new(2, 3).init(&Device::flex());
        assert_eq!(vanishing("weight", &float.weight), None);
    }

    #[test]
    fn signs_are_clipped_beyond_their_scale() {
        let signs = layer(fixed(0.25, QuantizerConfig::weights(1)));
        let found = weight_codes("weight", &signs.weight).unwrap();
        assert_eq!((found.codes, found.clipped), (vec![1, 1, 1, -1, 1, 1], 2));
        assert_eq!(found.steps, [0.5; 6]);
        let squeezed =
            QuantizerConfig { range: RangeMethod::Dorefa, per_channel: false, ..QuantizerConfig::weights(2) };
        assert_eq!(weight_codes("weight", &layer(squeezed).weight).unwrap().clipped, 0);
    }

    #[test]
    fn a_range_is_lost_below_and_above_its_values() {
        let lost = |scale, x: [f32; 4]| {
            let quantizer = fixed(scale, QuantizerConfig::activations(4)).init(&Device::flex()).unwrap();
            range_is_lost(&quantizer, &Tensor::<1>::from_floats(x, &Device::flex()))
        };
        // The grid ends at 0.15, below a tenth of 2.
        assert!(lost(0.01, [1.0, 2.0, 3.0, 0.0]));
        // It ends at 0.3.
        assert!(!lost(0.02, [1.0, 2.0, 3.0, 0.0]));
        // One of three values is inside.
        assert!(!lost(0.01, [0.1, 2.0, 3.0, 0.0]));
        assert!(lost(100.0, [1.0, 2.0, 3.0, 0.0]));
        assert!(!lost(100.0, [0.0; 4]));
        let dorefa = QuantizerConfig { range: RangeMethod::Dorefa, ..QuantizerConfig::activations(4) };
        let dorefa = dorefa.init(&Device::flex()).unwrap();
        let x = Tensor::<1>::from_floats([0.5, 50.0, 60.0], &Device::flex());
        assert_eq!(clipped(&dorefa, &x), 2);
        assert!(range_is_lost(&dorefa, &(x * 100.0)));
    }
}
