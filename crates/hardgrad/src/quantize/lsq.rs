use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::reduce::best_scale;

use super::Grid;
use super::quantizer::Format;
use crate::custom_gradient::straight_through;
use crate::flex::values;
use crate::ops::lsq;

/// Smallest step in use: a learned one that falls to 0 or below would turn the grid over.
const SMALLEST: f32 = 1e-6;

/// A learned step (learned step size quantisation), one or one a channel.
///
/// ```text
/// y = round(clamp(x / scale, qmin, qmax)) scale        gradients as in [`ops::lsq`](crate::ops::lsq)
/// ```
/// The step begins at the scale with the least squared error. Source: Esser et al., ICLR 2020 (whose first scale is
/// 2 mean(abs(x)) / sqrt(qmax)).
#[derive(Module, Debug)]
pub struct LsqRange {
    /// The step, in units of x: `[1]` or `[channels]`.
    pub scale: Param<Tensor<1>>,
}

impl LsqRange {
    pub(super) fn new(scale: &[f32], device: &Device) -> Self {
        Self { scale: Param::from_tensor(Tensor::from_floats(scale, device)) }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        lsq(x, self.step(), format.levels.into(), format.axis)
    }

    /// The step as the operators use it.
    pub(super) fn step(&self) -> Tensor<1> {
        at_least(self.scale.val(), SMALLEST)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        let scale = values(&self.scale.val()).iter().map(|scale| scale.max(SMALLEST)).collect();
        Grid::new(format.bits, format.levels, 0, scale)
    }

    pub(super) fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>, format: Format) {
        set(&mut self.scale, best_scale(&values(sample), format.levels.into()));
    }
}

/// The values, but at least `smallest`; gradients pass everywhere, so that a value below can grow again.
pub(super) fn at_least(learned: Tensor<1>, smallest: f32) -> Tensor<1> {
    straight_through(learned.clone().inner().clamp_min(smallest), learned)
}

/// Gives a learned scalar a new value; it stays the same parameter.
pub(super) fn set(parameter: &mut Param<Tensor<1>>, value: f32) {
    *parameter = parameter.clone().map(|old| {
        let (device, trainable) = (old.device(), old.is_require_grad());
        Tensor::full(old.dims(), value, &device).set_require_grad(trainable)
    });
}
