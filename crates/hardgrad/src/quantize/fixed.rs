use burn::module::Module;
use burn::tensor::Tensor;

use super::Grid;
use super::quantizer::Format;
use crate::ops::{Bounds, Rule, fake_quant};

/// A scale and a zero point that never change.
///
/// ```text
/// y = clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point, times scale
/// dx = G where the code was not clamped, else 0
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

/// Values on a grid of consecutive whole numbers, by the clipped rule.
pub(super) fn on_grid<const D: usize>(x: Tensor<D>, grid: &Grid, axis: Option<usize>) -> Tensor<D> {
    let bounds: Vec<Bounds> = grid
        .lowest
        .iter()
        .map(|&lowest| Bounds { lowest: lowest as f32, highest: (lowest + grid.span) as f32 })
        .collect();
    fake_quant(x, &grid.scale, &bounds, axis, Rule::Clipped)
}
