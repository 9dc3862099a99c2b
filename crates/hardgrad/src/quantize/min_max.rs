use burn::module::{Module, RunningState};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::fake_quant::Channels;
use hardgrad_kernels::reduce::{channel_ranges, min_max};

use super::fixed::on_grid;
use super::quantizer::Format;
use super::{Grid, Levels, Role, ToCode};
use crate::flex::{tensor, values};

/// The range from the smallest to the largest value.
///
/// ```text
/// symmetric:        scale = max(max / qmax, min / qmin), zero_point = 0
/// with zero point:  scale = (max - min) / (qmax - qmin), zero_point = round(qmin - min / scale)
/// ```
/// min and max count 0 in. Weights are measured as they are, a channel at a time; for activations the extremes of all
/// training batches are kept. The backward pass is that of [`FixedRange`](super::FixedRange).
/// Source: Jacob et al., CVPR 2018.
#[derive(Module, Debug)]
pub struct MinMaxRange {
    /// The extremes seen so far, `[lowest, highest]`; none for weights.
    pub extremes: Option<RunningState<Tensor<1>>>,
    zero_point: bool,
}

impl MinMaxRange {
    pub(super) fn new(role: Role, zero_point: bool, device: &Device) -> Self {
        let extremes = (role == Role::Activation).then(|| RunningState::new(Tensor::zeros([2], &plain(device))));
        Self { extremes, zero_point }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        self.quantize_with_grid(x, format).0
    }

    pub(super) fn quantize_with_grid<const D: usize>(&self, x: Tensor<D>, format: Format) -> (Tensor<D>, Grid) {
        if let Some(extremes) = self.extremes.as_ref().filter(|_| x.is_autodiff()) {
            let (low, high) = min_max(&values(&x));
            let seen = values(&extremes.value_sync());
            extremes.update(tensor(vec![seen[0].min(low), seen[1].max(high)], [2]));
        }
        let grid = self.grid(&x, format);
        (on_grid(x, &grid, format.axis), grid)
    }

    pub(super) fn grid<const D: usize>(&self, x: &Tensor<D>, format: Format) -> Grid {
        let ranges = match &self.extremes {
            Some(extremes) => {
                let seen = values(&extremes.value_sync());
                vec![(seen[0], seen[1])]
            }
            None => match format.axis {
                Some(axis) => channel_ranges(&values(x), Channels::along(&x.dims(), axis)),
                None => vec![min_max(&values(x))],
            },
        };
        grid_of_ranges(&ranges, format, self.zero_point)
    }

    pub(super) fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>) {
        if let Some(extremes) = &self.extremes {
            let (low, high) = min_max(&values(sample));
            extremes.update(tensor(vec![low.min(0.0), high.max(0.0)], [2]));
        }
    }
}

/// The grid that covers these ranges of values, one for all or one a channel.
pub(super) fn grid_of_ranges(ranges: &[(f32, f32)], format: Format, zero_point: bool) -> Grid {
    let Levels { qmin, qmax } = format.levels;
    let (lowest, scale) = ranges
        .iter()
        .map(|&(low, high)| {
            if low.is_nan() {
                // A value was not a number: neither is anything on this grid.
                return (qmin, f32::NAN);
            }
            let (low, high) = (low.min(0.0), high.max(0.0));
            let part = |value: f32, code: i32| if code == 0 { 0.0 } else { value / code as f32 };
            let scale = match zero_point {
                true => (high - low) / (qmax - qmin) as f32,
                false => part(low, qmin).max(part(high, qmax)),
            };
            // All values 0: any step represents them.
            let scale = if scale >= f32::MIN_POSITIVE { scale } else { 1.0 };
            let code = if zero_point { (qmin as f32 - low / scale).round_ties_even() as i32 } else { 0 };
            (qmin - code.clamp(qmin, qmax), scale)
        })
        .unzip();
    let lowest: Vec<i32> = if zero_point { lowest } else { vec![qmin] };
    Grid { bits: format.bits, lowest, span: format.levels.span(), spacing: 1, scale, to_code: ToCode::Divide }
}

/// The same device without a gradient tape.
pub(super) fn plain(device: &Device) -> Device {
    Tensor::<1>::zeros([1], device).inner().device()
}
