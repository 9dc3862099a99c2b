use burn::module::{Module, Reparameterization};
use burn::tensor::Tensor;
use hardgrad_kernels::reduce::max_abs;

use super::recorder::record;
use crate::coded::Activation;
use crate::flex::values;
use crate::ops::{LearnedStep, lsq_coded};

use super::{DorefaRange, FixedRange, Grid, Levels, LsqRange, MinMaxRange, MovingAverageRange, PactRange, StepClock};

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
    pub axis: Option<usize>,
}

/// When a quantiser begins to work.
#[derive(Clone, Debug)]
struct Start {
    delay: u64,
    clock: StepClock,
}

impl Quantizer {
    pub(super) fn new(
        range: Range,
        bits: u32,
        levels: Levels,
        axis: Option<usize>,
        delay: u64,
        clock: StepClock,
    ) -> Self {
        Self { range, format: Format { bits, levels, axis }, start: Start { delay, clock } }
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
        Some(match &self.range {
            // The range of weights is measured once.
            Range::MinMax(range) => range.quantize_with_grid(x, self.format),
            _ => {
                let y = self.forward(x);
                let grid = self.grid(&y);
                (y, grid)
            }
        })
    }

    /// The values on the grid as codes, where the fused kernels can run; as floats before the delay is over.
    pub fn encode<const D: usize>(&self, x: Tensor<D>) -> Activation<D> {
        match &self.range {
            Range::Lsq(range) if self.is_active() && self.format.axis.is_none() => {
                lsq_coded(x, range.step(), self.format.levels.into())
            }
            _ => match self.forward_with_grid(x.clone()) {
                Some((y, grid)) => Activation::on_grid(y, &grid),
                None => x.into(),
            },
        }
    }

    /// The learned step, where this quantiser behind a ReLU is one operator with it: codes from 0, one step for all.
    pub(crate) fn relu_step(&self) -> Option<LearnedStep> {
        match &self.range {
            Range::Lsq(range) if self.format.levels.qmin == 0 && self.format.axis.is_none() => {
                Some(LearnedStep { scale: range.step(), highest: self.format.levels.qmax as f32 })
            }
            _ => None,
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

    /// How far apart the values of `x` are that get neighbouring codes; the mean over the channels.
    fn step<const D: usize>(&self, x: &Tensor<D>) -> f32 {
        let grid = self.grid(x);
        let mean = grid.scale.iter().sum::<f32>() / grid.scale.len() as f32;
        let step = grid.spacing as f32 * mean;
        match &self.range {
            // Its weights are stretched: by 1/max abs(tanh(x)) at 0.
            Range::Dorefa(_) if grid.spacing == 2 => match max_abs(&values(x)).tanh() {
                0.0 => step,
                largest => step * largest,
            },
            _ => step,
        }
    }

    /// False until the delay is over.
    pub fn is_active(&self) -> bool {
        self.start.clock.step() >= self.start.delay
    }

    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        self.format.bits
    }

    /// Sets the range from a sample of the values to come, such as the activations of a few hundred training images.
    ///
    /// Learned ranges get the scale with the least squared error, observed ranges the extremes; the others stay.
    pub fn calibrate<const D: usize>(&mut self, sample: &Tensor<D>) {
        match &mut self.range {
            Range::Lsq(range) => range.calibrate(sample, self.format),
            Range::Pact(range) => range.calibrate(sample, self.format),
            Range::MinMax(range) => range.calibrate(sample),
            Range::MovingAverage(range) => range.calibrate(sample),
            Range::Fixed(_) | Range::Dorefa(_) => {}
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
