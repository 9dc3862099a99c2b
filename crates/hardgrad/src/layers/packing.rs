//! What convolution and linear layers become in the packed model, and the pixels that the first of them reads.

use burn::module::Param;
use burn::tensor::Tensor;
use hardgrad_kernels::fake_quant::{Channels, grid_codes};
use hardgrad_runtime::{Input, InputQuantizer, QuantizeRule, Weight};
use thiserror::Error;

use crate::flex::values;
use crate::quantize::{Grid, Quantizer, ToCode};

/// A layer that has no packed form.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PackError {
    /// The weight is float32.
    #[error("layer {layer}: its weight is not quantised; a packed model runs in integers, so give it 1 to 8 bits")]
    FloatWeight {
        /// Its name.
        layer: String,
    },
    /// The input is float32.
    #[error(
        "layer {layer}: its input is not quantised by an input quantiser of its own; a packed model runs in integers, so give the \
         layer one of 1 to 8 bits"
    )]
    FloatInput {
        /// Its name.
        layer: String,
    },
    /// The delay of a quantiser is not over.
    #[error("layer {layer}: quantisation has not begun; train beyond the delay")]
    Delayed {
        /// Its name.
        layer: String,
    },
    /// The weight or a range is not finite.
    #[error(
        "layer {layer}: its weight or a scale is infinite or not a number; train it again with a lower learning rate"
    )]
    NotFinite {
        /// Its name.
        layer: String,
    },
    /// The input quantiser is one of weights.
    #[error(
        "layer {layer}: its input quantiser was made for weights, whose grid depends on them; make one with QuantizerConfig::init"
    )]
    WeightQuantizer {
        /// Its name.
        layer: String,
    },
    /// The input quantiser follows the activations, but has seen none.
    #[error("layer {layer}: the range of its input quantiser is not set; call calibrate, or train")]
    Unset {
        /// Its name.
        layer: String,
    },
    /// The input quantiser cannot take 8-bit pixels as they are.
    #[error(
        "layer {layer}: its input quantiser has {bits} bits and the whole numbers {lowest} to {highest}, but pixels are 256 whole \
         numbers with 0 among them, round(x / scale); give the layer the range fixed with 8 unsigned bits, or pack it without pixels"
    )]
    NotPixels {
        /// Its name.
        layer: String,
        /// Bits of the quantiser.
        bits: u32,
        /// Its lowest whole number.
        lowest: i32,
        /// Its highest whole number.
        highest: i32,
    },
    /// The packed model's pixels are not those that the layer was trained with.
    #[error(
        "layer {layer}: its input quantiser takes pixels of scale {scale} and zero point {zero_point}, the packed model's have scale \
         {found_scale} and zero point {found_zero_point}; make the model's Input with Quantizer::pixel_input"
    )]
    OtherPixels {
        /// Its name.
        layer: String,
        /// Scale of the quantiser.
        scale: f32,
        /// Zero point of the quantiser.
        zero_point: u8,
        /// Scale of the packed model's input.
        found_scale: f32,
        /// Zero point of the packed model's input.
        found_zero_point: u8,
    },
}

/// The weight and the input quantiser of a layer in their packed form; `arrange` puts the codes into the packed order.
///
/// With `pixels`, the input of the packed model, the layer reads the image itself; its quantiser must be that of these pixels.
pub(super) fn pack<const D: usize>(
    layer: &str,
    weight: &Param<Tensor<D>>,
    input: Option<&Quantizer>,
    pixels: Option<&Input>,
    arrange: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<(Weight, InputQuantizer), PackError> {
    let named = || layer.to_string();
    let Some(weight_quantizer) = weight.reparameterization::<Quantizer>() else {
        return Err(PackError::FloatWeight { layer: named() });
    };
    let Some(input) = input else { return Err(PackError::FloatInput { layer: named() }) };
    if !weight_quantizer.is_active() || !input.is_active() {
        return Err(PackError::Delayed { layer: named() });
    }
    let input = match pixels {
        Some(pixels) => pack_pixels(layer, input, pixels)?,
        None => pack_levels(layer, input)?,
    };
    let grid = weight_quantizer.grid(&weight.base());
    let hard = weight.val();
    let axis = if D == 2 { 1 } else { 0 };
    let channels = Channels::along(&hard.dims(), axis);
    let whole = {
        let hard = values(&hard);
        if !hard.iter().chain(&grid.scale).all(|value| value.is_finite()) {
            return Err(PackError::NotFinite { layer: named() });
        }
        let mut whole = vec![0.0; hard.len()];
        let by_scale = if grid.scale.len() == 1 { Channels::one(hard.len()) } else { channels };
        grid_codes(&hard, &grid.scale, by_scale, &mut whole);
        whole
    };
    let lowest_of = |index: usize| grid.lowest[(index / channels.inner % channels.channels).min(grid.lowest.len() - 1)];
    let codes = whole
        .into_iter()
        .enumerate()
        .map(|(index, whole)| ((whole as i32 - lowest_of(index)) / grid.spacing) as u8)
        .collect();
    let weight =
        Weight { bits: grid.bits, first: grid.lowest, step: grid.spacing, codes: arrange(codes), scale: grid.scale };
    Ok((weight, input))
}

/// The grid of a layer's input: consecutive whole numbers and one scale, as the packed form has it.
fn input_grid(layer: &str, quantizer: &Quantizer) -> Result<Grid, PackError> {
    let layer = || layer.to_string();
    let grid = quantizer.activation_grid().filter(|grid| grid.spacing == 1 && grid.scale.len() == 1);
    let grid = grid.ok_or_else(|| PackError::WeightQuantizer { layer: layer() })?;
    if quantizer.is_unset() {
        return Err(PackError::Unset { layer: layer() });
    }
    if grid.scale[0].is_finite() { Ok(grid) } else { Err(PackError::NotFinite { layer: layer() }) }
}

fn pack_levels(layer: &str, quantizer: &Quantizer) -> Result<InputQuantizer, PackError> {
    let grid = input_grid(layer, quantizer)?;
    Ok(InputQuantizer::Levels {
        bits: grid.bits,
        lowest: grid.lowest[0],
        highest: grid.lowest[0] + grid.span,
        scale: grid.scale[0],
        rule: match grid.to_code {
            ToCode::Divide => QuantizeRule::Divide,
            ToCode::Multiply(factor) => QuantizeRule::Multiply { factor },
        },
    })
}

fn pack_pixels(layer: &str, quantizer: &Quantizer, pixels: &Input) -> Result<InputQuantizer, PackError> {
    let own = quantizer.pixel_input(layer, [pixels.channels, pixels.height, pixels.width])?;
    if own.scale.to_bits() == pixels.scale.to_bits() && own.zero_point == pixels.zero_point {
        return Ok(InputQuantizer::Pixels);
    }
    Err(PackError::OtherPixels {
        layer: layer.to_string(),
        scale: own.scale,
        zero_point: own.zero_point,
        found_scale: pixels.scale,
        found_zero_point: pixels.zero_point,
    })
}

impl Quantizer {
    /// The input of a packed model whose first layer, called `layer`, has this quantiser for images `[channels, height, width]` of
    /// 8-bit pixels.
    ///
    /// Fails if the quantiser does not take pixels as they are: 8 unsigned bits, a scale and a zero point, as the range `fixed` has.
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
    /// let quantizer = pixels.init(&Device::flex()).unwrap();
    /// let input = quantizer.pixel_input("first", [1, 28, 28]).unwrap();
    /// assert_eq!((input.scale, input.zero_point), (0.01, 70));
    /// ```
    pub fn pixel_input(&self, layer: &str, [channels, height, width]: [usize; 3]) -> Result<Input, PackError> {
        let grid = input_grid(layer, self)?;
        let (lowest, highest) = (grid.lowest[0], grid.lowest[0] + grid.span);
        match u8::try_from(-lowest) {
            Ok(zero_point) if grid.bits == 8 && grid.span == 255 && grid.to_code == ToCode::Divide => {
                Ok(Input { channels, height, width, scale: grid.scale[0], zero_point })
            }
            Ok(_) | Err(_) => Err(PackError::NotPixels { layer: layer.to_string(), bits: grid.bits, lowest, highest }),
        }
    }
}

/// The values of an optional parameter.
pub(super) fn vector(parameter: &Option<Param<Tensor<1>>>) -> Option<Vec<f32>> {
    parameter.as_ref().map(|parameter| values(&parameter.val()).to_vec())
}
