use burn::module::{Module, Reparameterization, RunningState};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::reduce::max_abs;

use super::error::sample_values;
use super::min_max::plain;
use super::recorder::record;
use super::{
    DorefaRange, FixedRange, Grid, Levels, LsqRange, MinMaxRange, MovingAverageRange, PactRange, QuantizeError, Role,
    StepClock,
};
use crate::coded::{Activation, CodedTensor};
use crate::flex::{tensor, values};
use crate::ops::{LearnedStep, lsq_coded};

/// A range method with its state.
#[derive(Module, Debug)]
#[allow(missing_docs)]
pub enum Range {
    Fixed(FixedRange),
    MinMax(MinMaxRange),
    MovingAverage(MovingAverageRange),
    Lsq(LsqRange),
    Pact(PactRange),
    Dorefa(DorefaRange),
}

/// Moves values to a grid, forward; lets gradients through by the rule of its range method, backward.
///
/// As a layer it quantises activations; [`QuantizeWeights`](super::QuantizeWeights) attaches it to weights. Built by
/// [`QuantizerConfig`](super::QuantizerConfig).
#[derive(Module, Debug)]
pub struct Quantizer {
    /// The range method with its state.
    pub range: Range,
    /// `[1]`: 1 from the first call after the delay on, 0 before; none without a delay. Saved with the model, because a
    /// clock is not.
    pub begun: Option<RunningState<Tensor<1>>>,
    #[module(skip)]
    format: Format,
    #[module(skip)]
    start: Start,
}

/// What is the same for all range methods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub bits: u32,
    pub levels: Levels,
    /// Where the outputs of a weight are; none for activations.
    pub outputs: Option<usize>,
    /// Each index along this axis has a scale of its own.
    pub axis: Option<usize>,
    pub role: Role,
}

/// When a quantiser begins to work.
#[derive(Clone, Debug)]
struct Start {
    delay: u64,
    clock: StepClock,
}

impl Quantizer {
    /// A quantiser that waits until `clock` reaches `delay`.
    pub(super) fn new(range: Range, format: Format, delay: u64, clock: StepClock, device: &Device) -> Self {
        let begun = (delay > 0).then(|| RunningState::new(Tensor::zeros([1], &plain(device))));
        Self { range, begun, format, start: Start { delay, clock } }
    }

    /// The values on the grid, or unchanged before the delay is over; any shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !self.is_active() {
            return x;
        }
        match &self.range {
            Range::Fixed(range) => range.quantize(x, self.format),
            Range::MinMax(range) => range.quantize(x, self.format),
            Range::MovingAverage(range) => range.quantize(x, self.format),
            Range::Lsq(range) => range.quantize(x, self.format),
            Range::Pact(range) => range.quantize(x, self.format),
            Range::Dorefa(range) => range.quantize(x, self.format),
        }
    }

    /// The values on the grid, and the grid; `None` before the delay is over.
    pub(crate) fn forward_with_grid<const D: usize>(&self, x: Tensor<D>) -> Option<(Tensor<D>, Grid)> {
        if !self.is_active() {
            return None;
        }
        // The range of weights is measured once.
        if let Range::MinMax(range) = &self.range {
            return Some(range.quantize_with_grid(x, self.format));
        }
        let y = self.forward(x);
        let grid = self.grid(&y);
        Some((y, grid))
    }

    /// The values on the grid as codes, where the fused kernels can run; as floats before the delay is over.
    pub fn encode<const D: usize>(&self, x: Tensor<D>) -> Activation<D> {
        if let Range::Lsq(range) = &self.range
            && self.format.axis.is_none()
            && self.is_active()
        {
            return lsq_coded(x, range.scale.val(), self.format.levels.into());
        }
        match self.forward_with_grid(x.clone()) {
            Some((y, grid)) => Activation::on_grid(y, &grid),
            None => x.into(),
        }
    }

    /// The learned step, where this quantiser behind a ReLU is one operator with it: codes from 0, one step for all.
    pub(crate) fn relu_step(&self) -> Option<LearnedStep> {
        match &self.range {
            Range::Lsq(range) if self.format.levels.qmin == 0 && self.format.axis.is_none() => {
                Some(LearnedStep { scale: range.scale.val(), highest: self.format.levels.qmax as f32 })
            }
            Range::Lsq(_)
            | Range::Fixed(_)
            | Range::MinMax(_)
            | Range::MovingAverage(_)
            | Range::Pact(_)
            | Range::Dorefa(_) => None,
        }
    }

    /// The grid that [`forward`](Self::forward) moves `x` to, as it is after that call.
    pub fn grid<const D: usize>(&self, x: &Tensor<D>) -> Grid {
        match &self.range {
            Range::Fixed(range) => range.grid(self.format),
            Range::MinMax(range) => range.grid(x, self.format),
            Range::MovingAverage(range) => range.grid(self.format),
            Range::Lsq(range) => range.grid(self.format),
            Range::Pact(range) => range.grid(self.format),
            Range::Dorefa(range) => range.grid(self.format),
        }
    }

    /// The grid of a quantiser of activations, which does not depend on them; none for one of weights.
    pub(crate) fn activation_grid(&self) -> Option<Grid> {
        match self.format.role {
            Role::Activation => Some(self.grid(&tensor(vec![0.0], [1]))),
            Role::Weight => None,
        }
    }

    /// True where the range is one of activations seen, but none was.
    pub(crate) fn is_unset(&self) -> bool {
        match &self.range {
            Range::MinMax(range) => range.is_unset(),
            Range::MovingAverage(range) => range.is_unset(),
            Range::Fixed(_) | Range::Lsq(_) | Range::Pact(_) | Range::Dorefa(_) => false,
        }
    }

    /// How far apart the values of `x` are that get neighbouring codes; the mean over the channels.
    fn step<const D: usize>(&self, x: &Tensor<D>) -> f32 {
        let grid = self.grid(x);
        let mean = grid.scale.iter().sum::<f32>() / grid.scale.len() as f32;
        let step = grid.spacing as f32 * mean;
        match &self.range {
            // Its weights are stretched: by 1/max abs(tanh(x)) at 0.
            Range::Dorefa(_) if self.format.role == Role::Weight => match max_abs(&values(x)).tanh() {
                0.0 => step,
                largest => step * largest,
            },
            Range::Dorefa(_)
            | Range::Fixed(_)
            | Range::MinMax(_)
            | Range::MovingAverage(_)
            | Range::Lsq(_)
            | Range::Pact(_) => step,
        }
    }

    /// False until the delay is over; from then on true, also in a model that was saved and loaded, whose clock begins
    /// at 0.
    pub fn is_active(&self) -> bool {
        let Some(begun) = &self.begun else { return true };
        let noted = begun.value().inner();
        if noted.clone().into_scalar::<f32>() > 0.5 {
            return true;
        }
        let active = self.start.clock.step() >= self.start.delay;
        if active {
            begun.update(noted.ones_like());
            // Settles the update now, so that a saved model does not miss it.
            let _ = begun.value_sync();
        }
        active
    }

    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        self.format.bits
    }

    /// The axis of the outputs in the weight that this quantiser was made for; none for one of activations.
    pub fn output_axis(&self) -> Option<usize> {
        self.format.outputs
    }

    /// How the values of a tensor of these sizes share so many scales of this quantiser's grid: one for all, or one an
    /// output.
    pub(crate) fn channels(&self, dims: &[usize], scales: usize) -> Channels {
        match self.format.axis.filter(|_| scales > 1) {
            Some(axis) => Channels::along(dims, axis),
            None => Channels::one(dims.iter().product()),
        }
    }

    /// True where quantising these codes would change nothing, nor observe or learn anything: a fixed range with their
    /// very grid.
    pub(crate) fn keeps<const D: usize>(&self, x: &CodedTensor<D>) -> bool {
        match &self.range {
            Range::Fixed(range) => x.is_on(&range.grid(self.format)),
            Range::MinMax(_) | Range::MovingAverage(_) | Range::Lsq(_) | Range::Pact(_) | Range::Dorefa(_) => false,
        }
    }

    /// Sets the range from a sample of the values to come, such as the activations of a few hundred training images.
    ///
    /// Learned ranges get the scale with the least squared error, observed ranges the extremes; the others stay. Fails,
    /// and leaves the range as it was, where the sample is empty, not finite, or says nothing about the range.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use hardgrad::quantize::{QuantizeError, QuantizerConfig};
    ///
    /// let device = Device::flex();
    /// let mut quantizer = QuantizerConfig::activations(4).init(&device).unwrap();
    /// quantizer.calibrate(&Tensor::<1>::from_floats([0.0, 0.5, 1.5], &device)).unwrap();
    /// let zeros = Tensor::<1>::zeros([3], &device);
    /// assert_eq!(quantizer.calibrate(&zeros).unwrap_err(), QuantizeError::SampleWithoutRange);
    /// ```
    pub fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>) -> Result<(), QuantizeError> {
        let sample = sample_values(sample)?;
        match &mut self.range {
            Range::Lsq(range) => range.calibrate(&sample, self.format),
            Range::Pact(range) => range.calibrate(&sample, self.format),
            Range::MinMax(range) => range.calibrate(&sample, self.format),
            Range::MovingAverage(range) => range.calibrate(&sample, self.format),
            Range::Fixed(_) | Range::Dorefa(_) => Ok(()),
        }
    }
}

impl Reparameterization for Quantizer {
    const NAME: &'static str = "quantizer";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let note = || {
            let (quantizer, base) = (self.clone(), base.clone());
            move || quantizer.is_active().then(|| quantizer.step(&base))
        };
        match record(note) {
            true => base,
            false => self.forward(base),
        }
    }
}
