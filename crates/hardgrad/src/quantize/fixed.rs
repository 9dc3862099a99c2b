use burn::module::Module;
use burn::tensor::Tensor;

use super::Grid;
use super::quantizer::Format;
use crate::custom_gradient::exactly;
use crate::ops::{Bounds, Rule, fake_quant};

/// A scale and a zero point that never change.
///
/// ```text
/// y = clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point, times scale
/// dx = G where the code was not clamped, else 0
/// signed values of 1 bit:        y = scale where x >= 0, else -scale        dx = G where abs(x) <= scale, else 0
/// ```
/// `scale` is in units of x. Source: Jacob et al., CVPR 2018.
#[derive(Module, Debug)]
pub struct FixedRange {
    scale: f32,
    zero_point: i32,
}

impl FixedRange {
    pub(super) fn new(scale: f32, zero_point: i32) -> Self {
        Self { scale, zero_point }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        on_grid(x, &self.grid(format), None)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        Grid::new(format.bits, format.levels, self.zero_point, vec![self.scale])
    }
}

/// Values on a grid of consecutive whole numbers or of two signs, by the clipped rule.
pub(super) fn on_grid<const D: usize>(x: Tensor<D>, grid: &Grid, axis: Option<usize>) -> Tensor<D> {
    if grid.spacing != 1 {
        return signs(x, &grid.scale, axis);
    }
    let bounds: Vec<Bounds> = grid
        .lowest
        .iter()
        .map(|&lowest| Bounds { lowest: lowest as f32, highest: (lowest + grid.span) as f32 })
        .collect();
    fake_quant(x, &grid.scale, &bounds, axis, Rule::Clipped)
}

/// Exactly plus or minus a scale, one for all or one for each index along `axis`.
fn signs<const D: usize>(x: Tensor<D>, scale: &[f32], axis: Option<usize>) -> Tensor<D> {
    let constant = x.clone().inner();
    let mut shape = [1; D];
    if let Some(axis) = axis {
        shape[axis] = scale.len();
    }
    let scale: Tensor<D> = Tensor::<1>::from_floats(scale, &constant.device()).reshape(shape);
    let sign = constant.clone().greater_equal_scalar(0.0).float() * 2.0 - 1.0;
    let inside = constant.clone().abs().lower_equal(scale.clone().expand(constant.dims())).float();
    exactly(sign * scale, x * inside)
}
