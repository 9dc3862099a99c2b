use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::fake_quant::Bounds;
use hardgrad_kernels::reduce::best_scale;

use super::Grid;
use super::lsq::{at_least, set};
use super::quantizer::Format;
use crate::flex::values;
use crate::ops::pact;

/// Smallest clipping bound in use; a learned one that falls to 0 would stop every gradient.
const SMALLEST: f32 = 1e-4;

/// A learned clipping bound alpha for unsigned activations (PACT).
///
/// ```text
/// s = alpha / (2^bits - 1)        y = round(clamp(x, 0, alpha) / s) s        gradients as in [`ops::pact`](crate::ops::pact)
/// ```
/// Source: Choi et al., 2018.
#[derive(Module, Debug)]
pub struct PactRange {
    /// The bound, in units of x, `[1]`.
    pub alpha: Param<Tensor<1>>,
}

impl PactRange {
    pub(super) fn new(scale: f32, bits: u32, device: &Device) -> Self {
        let alpha = scale * Bounds::unsigned(bits).highest;
        Self { alpha: Param::from_tensor(Tensor::from_floats([alpha], device)) }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        pact(x, at_least(self.alpha.val(), SMALLEST), format.bits)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        let alpha = values(&self.alpha.val())[0].max(SMALLEST);
        Grid::new(format.bits, format.levels, 0, vec![crate::ops::pact_scale(alpha, format.bits)])
    }

    pub(super) fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>, format: Format) {
        let bounds: Bounds = format.levels.into();
        set(&mut self.alpha, best_scale(&values(sample), bounds) * bounds.highest);
    }
}
