use burn::module::{Module, RunningState};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::reduce::{channel_ranges, min_max};

use super::fixed::on_grid;
use super::quantizer::Format;
use super::{Grid, Levels, QuantizeError, Role, ToCode};
use crate::flex::{tensor, values};

/// The range from the smallest to the largest value.
///
/// ```text
/// symmetric:        scale = max(max / qmax, min / qmin), zero_point = 0; signs (1 bit): scale = max(abs(x))
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

    /// True for activations of which none was seen.
    pub(super) fn is_unset(&self) -> bool {
        self.extremes.as_ref().is_some_and(|extremes| values(&extremes.value_sync()).iter().all(|value| *value == 0.0))
    }

    pub(super) fn calibrate(&mut self, sample: &[f32], format: Format) -> Result<(), QuantizeError> {
        let (low, high) = sample_range(sample, format, self.zero_point)?;
        if let Some(extremes) = &self.extremes {
            extremes.update(tensor(vec![low, high], [2]));
            // Settles the update now, so that a saved model does not miss it.
            let _ = extremes.value_sync();
        }
        Ok(())
    }
}

/// The lowest and the highest value of a finite sample, counting 0 in; fails where the codes reach none but 0.
pub(super) fn sample_range(sample: &[f32], format: Format, zero_point: bool) -> Result<(f32, f32), QuantizeError> {
    let (low, high) = min_max(sample);
    let reached = high > 0.0 || (low < 0.0 && (format.levels.qmin < 0 || zero_point));
    if reached { Ok((low.min(0.0), high.max(0.0))) } else { Err(QuantizeError::SampleWithoutRange) }
}

/// Scale of signs where all values are 0, which two signs cannot represent: far below what any layer adds up, and far enough above
/// the smallest float for products with other scales.
const NEXT_TO_NOTHING: f32 = 1e-20;

/// The grid that covers these ranges of values, one for all or one a channel.
pub(super) fn grid_of_ranges(ranges: &[(f32, f32)], format: Format, zero_point: bool) -> Grid {
    let Levels { qmin, qmax, spacing } = format.levels;
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
            // All values 0: any step represents them, but no sign does.
            let without = if spacing == 1 { 1.0 } else { NEXT_TO_NOTHING };
            let scale = if scale >= f32::MIN_POSITIVE { scale } else { without };
            let code = if zero_point { (qmin as f32 - low / scale).round_ties_even() as i32 } else { 0 };
            (qmin - code.clamp(qmin, qmax), scale)
        })
        .unzip();
    let lowest: Vec<i32> = if zero_point { lowest } else { vec![qmin] };
    Grid { bits: format.bits, lowest, span: format.levels.span(), spacing, scale, to_code: ToCode::Divide }
}

/// The same device without a gradient tape.
pub(super) fn plain(device: &Device) -> Device {
    Tensor::<1>::zeros([1], device).inner().device()
}
