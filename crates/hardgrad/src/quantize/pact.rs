use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::reduce::best_scale;

use super::quantizer::Format;
use super::{Grid, NotPositive, Positive, QuantizeError};
use crate::ops::{pact, pact_scale};

/// A learned clipping bound alpha for unsigned activations (PACT).
///
/// ```text
/// s = alpha / (2^bits - 1)        y = round(clamp(x, 0, alpha) / s) s        gradients as in [`ops::pact`](crate::ops::pact)
/// ```
/// What is learned is the logarithm of alpha ([`Positive`]), so that it stays above 0. Source: Choi et al., 2018 (who learn alpha
/// itself).
#[derive(Module, Debug)]
pub struct PactRange {
    /// The bound, in units of x, `[1]`.
    pub alpha: Positive,
}

impl PactRange {
    pub(super) fn new(scale: f32, bits: u32, device: &Device) -> Result<Self, NotPositive> {
        Ok(Self { alpha: Positive::new(&[scale * Bounds::unsigned(bits).highest], device)? })
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        pact(x, self.alpha.val(), format.bits)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        let scale = self.alpha.values().into_iter().map(|alpha| pact_scale(alpha, format.bits)).collect();
        Grid::new(format.bits, format.levels, 0, scale)
    }

    pub(super) fn calibrate(&mut self, sample: &[f32], format: Format) -> Result<(), QuantizeError> {
        let bounds: Bounds = format.levels.into();
        let scale = best_scale(sample, bounds).ok_or(QuantizeError::SampleWithoutRange)?;
        Ok(self.alpha.set(scale * bounds.highest)?)
    }
}
