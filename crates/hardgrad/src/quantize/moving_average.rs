use burn::module::{Module, RunningState};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::reduce::min_max;

use super::fixed::on_grid;
use super::min_max::{grid_of_ranges, plain, sample_range};
use super::quantizer::Format;
use super::{Grid, QuantizeError};
use crate::flex::{tensor, values};

/// The range of a moving average of each training batch's smallest and largest activation.
///
/// ```text
/// low = decay low + (1 - decay) min(x)        high = decay high + (1 - decay) max(x)
/// ```
/// The first batch sets both. Scale, zero point and backward pass are those of [`MinMaxRange`](super::MinMaxRange).
/// Source: Jacob et al., CVPR 2018.
#[derive(Module, Debug)]
pub struct MovingAverageRange {
    /// The averages, `[low, high]`.
    pub averages: RunningState<Tensor<1>>,
    decay: f32,
    zero_point: bool,
}

impl MovingAverageRange {
    pub(super) fn new(decay: f32, zero_point: bool, device: &Device) -> Self {
        Self { averages: RunningState::new(Tensor::zeros([2], &plain(device))), decay, zero_point }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        if x.is_autodiff() {
            self.observe(&x);
        }
        on_grid(x, &self.grid(format), None)
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        let averages = values(&self.averages.value_sync());
        grid_of_ranges(&[(averages[0], averages[1])], format, self.zero_point)
    }

    /// True where no activation was seen.
    pub(super) fn is_unset(&self) -> bool {
        values(&self.averages.value_sync()).iter().all(|value| *value == 0.0)
    }

    pub(super) fn calibrate(&mut self, sample: &[f32], format: Format) -> Result<(), QuantizeError> {
        let (low, high) = sample_range(sample, format, self.zero_point)?;
        self.averages.update(tensor(vec![low, high], [2]));
        // Settles the update now, so that a saved model does not miss it.
        let _ = self.averages.value_sync();
        Ok(())
    }

    fn observe<const D: usize>(&self, x: &Tensor<D>) {
        let (low, high) = min_max(&values(x));
        let old = values(&self.averages.value_sync());
        let first = old[0] == 0.0 && old[1] == 0.0;
        let mixed = |old: f32, new: f32| if first { new } else { self.decay * old + (1.0 - self.decay) * new };
        self.averages.update(tensor(vec![mixed(old[0], low.min(0.0)), mixed(old[1], high.max(0.0))], [2]));
    }
}
