//! What convolution and linear layers share: input and weight on their grids, in training and packed.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::fake_quant::{Channels, grid_codes};
use hardgrad_runtime::{InputQuantizer, QuantizeRule, Weight};
use thiserror::Error;

use crate::coded::Activation;
use crate::flex::values;
use crate::quantize::{Grid, QuantizeError, QuantizeWeights, Quantizer, QuantizerConfig, StepClock, ToCode};

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
}

/// The quantiser of a layer's input.
pub(super) fn input_quantizer(
    config: Option<&QuantizerConfig>,
    clock: &StepClock,
    device: &Device,
) -> Result<Option<Quantizer>, QuantizeError> {
    config.map(|config| config.init_waiting(clock.clone(), device)).transpose()
}

/// The layer with a quantiser at its weight, where there is a config for one.
pub(super) fn with_weight_quantizer<M: Module>(
    layer: M,
    config: Option<&QuantizerConfig>,
    clock: &StepClock,
) -> Result<M, QuantizeError> {
    Ok(match config {
        Some(config) => layer.apply_reparameterization(QuantizeWeights::new(config.clone())?.with_clock(clock.clone())),
        None => layer,
    })
}

/// Input and weight as the forward pass uses them, and the weight's grid if it is quantised.
pub(super) fn on_grids<const A: usize, const B: usize>(
    input_quantizer: Option<&Quantizer>,
    x: Activation<A>,
    weight: &Param<Tensor<B>>,
) -> (Activation<A>, Tensor<B>, Option<Grid>) {
    let x = match input_quantizer.filter(|quantizer| quantizer.is_active()) {
        Some(quantizer) => quantizer.encode(x.values()),
        None => x,
    };
    let quantized = weight.reparameterization::<Quantizer>();
    match quantized.and_then(|quantizer| quantizer.forward_with_grid(weight.base())) {
        Some((weight, grid)) => (x, weight, Some(grid)),
        None => (x, weight.val(), None),
    }
}

/// The weight and the input quantiser of a layer in their packed form; `arrange` puts the codes into the packed order.
pub(super) fn pack<const D: usize>(
    layer: &str,
    weight: &Param<Tensor<D>>,
    input: Option<&Quantizer>,
    pixels: bool,
    arrange: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<(Weight, InputQuantizer), PackError> {
    let layer = layer.to_string();
    let Some(weight_quantizer) = weight.reparameterization::<Quantizer>() else {
        return Err(PackError::FloatWeight { layer });
    };
    let Some(input) = input else { return Err(PackError::FloatInput { layer }) };
    if !weight_quantizer.is_active() || !input.is_active() {
        return Err(PackError::Delayed { layer });
    }
    let grid = weight_quantizer.grid(&weight.base());
    let hard = weight.val();
    let axis = if D == 2 { 1 } else { 0 };
    let channels = Channels::along(&hard.dims(), axis);
    let whole = {
        let hard = values(&hard);
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
    let input = if pixels { InputQuantizer::Pixels } else { pack_input(input.grid(&hard)) };
    Ok((weight, input))
}

fn pack_input(grid: Grid) -> InputQuantizer {
    InputQuantizer::Levels {
        bits: grid.bits,
        lowest: grid.lowest[0],
        highest: grid.lowest[0] + grid.span,
        scale: grid.scale[0],
        rule: match grid.to_code {
            ToCode::Divide => QuantizeRule::Divide,
            ToCode::Multiply(factor) => QuantizeRule::Multiply { factor },
        },
    }
}

/// The values of an optional parameter.
pub(super) fn vector(parameter: &Option<Param<Tensor<1>>>) -> Option<Vec<f32>> {
    parameter.as_ref().map(|parameter| values(&parameter.val()).to_vec())
}
