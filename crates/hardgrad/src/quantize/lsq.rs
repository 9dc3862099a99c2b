use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::reduce::best_scale;

use super::quantizer::Format;
use super::{Grid, NotPositive, Positive, QuantizeError};
use crate::ops::lsq;

/// A learned step (learned step size quantisation), one or one a channel.
///
/// ```text
/// y = round(clamp(x / scale, qmin, qmax)) scale        gradients as in [`ops::lsq`](crate::ops::lsq)
/// ```
/// The step begins at the scale with the least squared error. What is learned is its logarithm ([`Positive`]), so that it stays above 0
/// and an update changes it by a share of itself. Source: Esser et al., ICLR 2020 (who learn the step itself, and begin at
/// 2 mean(abs(x)) / sqrt(qmax)).
#[derive(Module, Debug)]
pub struct LsqRange {
    /// The step, in units of x: `[1]` or `[channels]`.
    pub scale: Positive,
}

impl LsqRange {
    pub(super) fn new(scale: &[f32], device: &Device) -> Result<Self, NotPositive> {
        Ok(Self { scale: Positive::new(scale, device)? })
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        lsq(x, self.scale.val(), format.levels.into(), format.axis)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        Grid::new(format.bits, format.levels, 0, self.scale.values())
    }

    pub(super) fn calibrate(&mut self, sample: &[f32], format: Format) -> Result<(), QuantizeError> {
        let scale = best_scale(sample, format.levels.into()).ok_or(QuantizeError::SampleWithoutRange)?;
        Ok(self.scale.set(scale)?)
    }
}
