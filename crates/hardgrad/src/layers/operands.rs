//! What convolution and linear layers share: their quantisers, input and weight on their grids.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::coded::Activation;
use crate::quantize::{Grid, QuantizeError, QuantizeWeights, Quantizer, QuantizerConfig, StepClock};

/// The quantiser of a layer's activations: a new one where there is a config for it, else the one that is there.
pub(super) fn activation_quantizer(
    present: Option<Quantizer>,
    config: Option<&QuantizerConfig>,
    clock: &StepClock,
    device: &Device,
) -> Result<Option<Quantizer>, QuantizeError> {
    match (present, config) {
        (Some(_), Some(_)) => Err(QuantizeError::ActivationTaken),
        (None, Some(config)) => Ok(Some(config.init_waiting(clock.clone(), device)?)),
        (present, None) => Ok(present),
    }
}

/// The layer with a quantiser at its weight, where there is a config for one.
pub(super) fn with_weight_quantizer<M: Module>(
    layer: M,
    config: Option<&QuantizerConfig>,
    clock: &StepClock,
) -> Result<M, QuantizeError> {
    match config {
        Some(config) => QuantizeWeights::new(config.clone())?.with_clock(clock.clone()).apply(layer),
        None => Ok(layer),
    }
}

/// Input and weight as the forward pass uses them, and the weight's grid if it is quantised.
pub(super) fn on_grids<const A: usize, const B: usize>(
    input_quantizer: Option<&Quantizer>,
    x: Activation<A>,
    weight: &Param<Tensor<B>>,
) -> (Activation<A>, Tensor<B>, Option<Grid>) {
    let x = match (input_quantizer.filter(|quantizer| quantizer.is_active()), x) {
        // Pixels that come as codes stay codes.
        (Some(quantizer), Activation::Coded(codes)) if quantizer.keeps(&codes) => codes.into(),
        (Some(quantizer), x) => quantizer.encode(x.values()),
        (None, x) => x,
    };
    let quantized = weight.reparameterization::<Quantizer>();
    match quantized.and_then(|quantizer| quantizer.forward_with_grid(weight.base())) {
        Some((weight, grid)) => (x, weight, Some(grid)),
        None => (x, weight.val(), None),
    }
}

/// Sets the range of a layer's quantiser, where there is one, from a sample of its activations.
pub(super) fn calibrate<const D: usize>(
    quantizer: &mut Option<Quantizer>,
    sample: &Tensor<D>,
) -> Result<(), QuantizeError> {
    match quantizer {
        Some(quantizer) => quantizer.calibrate(sample),
        None => Ok(()),
    }
}
