use hardgrad_runtime::Pixels;

use super::PackError;
use crate::quantize::{Quantizer, ToCode};

/// A quantiser of activations as the packed model has it: consecutive whole numbers and one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub bits: u32,
    pub lowest: i32,
    pub highest: i32,
    pub scale: f32,
    /// What values are multiplied with to become whole numbers; divided by the scale where there is none.
    pub factor: Option<f32>,
}

impl Levels {
    pub fn new(node: &str, quantizer: &Quantizer) -> Result<Self, PackError> {
        let node = || node.to_string();
        if !quantizer.is_active() {
            return Err(PackError::Delayed { node: node() });
        }
        let grid = quantizer.activation_grid().filter(|grid| grid.spacing == 1 && grid.scale.len() == 1);
        let grid = grid.ok_or_else(|| PackError::WeightQuantizer { node: node() })?;
        if quantizer.is_unset() {
            return Err(PackError::Unset { node: node() });
        }
        if !grid.scale[0].is_finite() {
            return Err(PackError::NotFinite { node: node() });
        }
        let factor = match grid.to_code {
            ToCode::Divide => None,
            ToCode::Multiply(factor) => Some(factor),
        };
        let (lowest, highest) = (grid.lowest[0], grid.lowest[0] + grid.span);
        Ok(Self { bits: grid.bits, lowest, highest, scale: grid.scale[0], factor })
    }

    /// The pixels whose whole numbers are these.
    fn pixels(self, node: &str) -> Result<Pixels, PackError> {
        let Self { bits, lowest, highest, scale, factor } = self;
        match u8::try_from(-lowest) {
            Ok(zero_point) if bits == 8 && highest - lowest == 255 && factor.is_none() => {
                Ok(Pixels { scale, zero_point })
            }
            Ok(_) | Err(_) => Err(PackError::NotPixels { node: node.to_string(), bits, lowest, highest }),
        }
    }

    /// Fails where these are not the whole numbers of `found`, the pixels of a model.
    pub fn check_pixels(self, node: &str, found: Pixels) -> Result<(), PackError> {
        let Pixels { scale, zero_point } = self.pixels(node)?;
        let Pixels { scale: found_scale, zero_point: found_zero_point } = found;
        if scale.to_bits() == found_scale.to_bits() && zero_point == found_zero_point {
            return Ok(());
        }
        let node = node.to_string();
        Err(PackError::OtherPixels { node, scale, zero_point, found_scale, found_zero_point })
    }
}

impl Quantizer {
    /// The pixels of a packed model whose first layer, called `layer`, has this quantiser at its input.
    ///
    /// Fails if the quantiser does not take pixels as they are: 8 unsigned bits, a scale and a zero point, as the range
    /// `fixed` has.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use hardgrad::quantize::{QuantizerConfig, RangeMethod};
    ///
    /// let pixels = QuantizerConfig {
    ///     range: RangeMethod::Fixed,
    ///     fixed_scale: 0.01,
    ///     fixed_zero_point: 70,
    ///     ..QuantizerConfig::activations(8)
    /// };
    /// let pixels = pixels.init(&Device::flex()).unwrap().pixels("first").unwrap();
    /// assert_eq!((pixels.scale, pixels.zero_point), (0.01, 70));
    /// ```
    pub fn pixels(&self, layer: &str) -> Result<Pixels, PackError> {
        Levels::new(layer, self)?.pixels(layer)
    }
}
