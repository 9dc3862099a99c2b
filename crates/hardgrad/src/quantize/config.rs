use burn::tensor::Device;
use hardgrad_kernels::fake_quant::Bounds;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    DorefaRange, FixedRange, Levels, LsqRange, MinMaxRange, MovingAverageRange, PactRange, Quantizer, Range, StepClock,
};

/// Where a quantiser's scale comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeMethod {
    /// Set once, never changed.
    Fixed,
    /// The smallest and largest value: of the weights as they are, of all activations seen in training.
    MinMax,
    /// A moving average of the smallest and largest activation of each batch.
    MovingAverage,
    /// A learned step.
    Lsq,
    /// A learned clipping bound.
    Pact,
    /// Clipping to 0..1 (activations), tanh to -1..1 (weights).
    Dorefa,
}

impl RangeMethod {
    /// The word that configs and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::MinMax => "min_max",
            Self::MovingAverage => "moving_average",
            Self::Lsq => "lsq",
            Self::Pact => "pact",
            Self::Dorefa => "dorefa",
        }
    }
}

/// What is quantised; the same method can treat the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Parameters, known before the forward pass.
    Weight,
    /// Values between layers.
    Activation,
}

/// Settings of a [`Quantizer`].
///
/// ```
/// use burn::tensor::Device;
/// use hardgrad::quantize::{QuantizerConfig, RangeMethod};
///
/// let config = QuantizerConfig { range: RangeMethod::Pact, ..QuantizerConfig::activations(4) };
/// let quantizer = config.init(&Device::flex()).unwrap();
/// assert!(QuantizerConfig::activations(0).init(&Device::flex()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizerConfig {
    /// Bits of a code, 1 to 8.
    pub bits: u32,
    /// Codes from -2^(bits-1) if true, from 0 if false.
    pub signed: bool,
    /// Leave out the lowest signed code, so that the codes are symmetric around 0.
    pub narrow: bool,
    /// Where the scale comes from.
    pub range: RangeMethod,
    /// One scale for each output channel instead of one for all (weights only).
    pub per_channel: bool,
    /// A zero point, so that the range need not contain as much below 0 as above.
    pub zero_point: bool,
    /// The scale of [`RangeMethod::Fixed`], in units of the values.
    pub fixed_scale: f32,
    /// The zero point of [`RangeMethod::Fixed`].
    pub fixed_zero_point: i32,
    /// How much of the old value [`RangeMethod::MovingAverage`] keeps in a step.
    pub decay: f32,
    /// Steps of the [`StepClock`] during which values pass unchanged.
    pub delay: u64,
}

impl QuantizerConfig {
    /// Signed weights with a learned step a channel.
    pub fn weights(bits: u32) -> Self {
        Self {
            bits,
            signed: true,
            narrow: false,
            range: RangeMethod::Lsq,
            per_channel: true,
            zero_point: false,
            fixed_scale: 1.0,
            fixed_zero_point: 0,
            decay: 0.99,
            delay: 0,
        }
    }

    /// Unsigned activations (after a ReLU) with one learned step.
    pub fn activations(bits: u32) -> Self {
        Self { signed: false, per_channel: false, ..Self::weights(bits) }
    }

    /// Fails where the settings do not go together.
    pub fn check(&self, role: Role) -> Result<(), QuantizeError> {
        if !(1..=8).contains(&self.bits) {
            return Err(QuantizeError::Bits { bits: self.bits });
        }
        let range = self.range;
        let refuse = |reason| Err(QuantizeError::Settings { range, reason });
        let learned_or_dorefa = matches!(range, RangeMethod::Lsq | RangeMethod::Pact | RangeMethod::Dorefa);
        match (range, role) {
            (RangeMethod::Lsq, _) if self.signed && self.bits < 2 => {
                return refuse(
                    "signed values need at least 2 bits; for 1-bit weights use dorefa with per_channel = false",
                );
            }
            (RangeMethod::Pact, Role::Weight) => return refuse("it clips activations; use lsq or dorefa for weights"),
            (RangeMethod::Pact, _) if self.signed => return refuse("it clips at 0 and takes unsigned values only"),
            (RangeMethod::MovingAverage, Role::Weight) => {
                return refuse("weights are known exactly; use min_max for them");
            }
            (RangeMethod::Dorefa, Role::Weight) if !self.signed || self.per_channel => {
                return refuse("its weights are signed with one scale; set per_channel = false");
            }
            (RangeMethod::Dorefa, Role::Activation) if self.signed => {
                return refuse("its activations lie in 0..1 and are unsigned");
            }
            _ if self.zero_point && learned_or_dorefa => return refuse("it has no zero point; use min_max for one"),
            _ if self.per_channel && role == Role::Activation => {
                return refuse("activations have one scale; set per_channel = false");
            }
            _ if !(self.fixed_scale > 0.0 && self.fixed_scale.is_finite()) => {
                return refuse("fixed_scale must be above 0");
            }
            _ if !(0.0..1.0).contains(&self.decay) => return refuse("decay must be at least 0 and below 1"),
            _ => {}
        }
        let Levels { qmin, qmax } = self.levels();
        if range == RangeMethod::Fixed && !(qmin..=qmax).contains(&self.fixed_zero_point) {
            return refuse("fixed_zero_point must be one of the codes");
        }
        if self.narrow && (!self.signed || self.bits < 2) {
            return refuse("narrow leaves out the lowest signed code and needs at least 2 bits");
        }
        Ok(())
    }

    /// A quantiser for activations; learned ranges begin as if values reached 4 and want [`Quantizer::calibrate`].
    pub fn init(&self, device: &Device) -> Result<Quantizer, QuantizeError> {
        self.init_waiting(StepClock::default(), device)
    }

    /// As [`init`](Self::init), with the clock that a delay waits on.
    pub fn init_waiting(&self, clock: StepClock, device: &Device) -> Result<Quantizer, QuantizeError> {
        let scale = 4.0 / Bounds::from(self.levels()).highest.max(1.0);
        self.init_at(Role::Activation, None, &[scale], clock, device)
    }

    /// A quantiser whose learned scales begin at `scale` (one, or one a channel along `axis`), and which waits on `clock`.
    pub(crate) fn init_at(
        &self,
        role: Role,
        axis: Option<usize>,
        scale: &[f32],
        clock: StepClock,
        device: &Device,
    ) -> Result<Quantizer, QuantizeError> {
        self.check(role)?;
        let range = match self.range {
            RangeMethod::Fixed => Range::Fixed(FixedRange::new(self.fixed_scale, self.fixed_zero_point)),
            RangeMethod::MinMax => Range::MinMax(MinMaxRange::new(role, self.zero_point, device)),
            RangeMethod::MovingAverage => {
                Range::MovingAverage(MovingAverageRange::new(self.decay, self.zero_point, device))
            }
            RangeMethod::Lsq => Range::Lsq(LsqRange::new(scale, device)),
            RangeMethod::Pact => Range::Pact(PactRange::new(scale[0], self.bits, device)),
            RangeMethod::Dorefa => Range::Dorefa(DorefaRange::new(role)),
        };
        let axis = axis.filter(|_| self.per_channel);
        Ok(Quantizer::new(range, self.bits, self.levels(), axis, self.delay, clock))
    }

    pub(crate) fn levels(&self) -> Levels {
        Levels::new(self.bits, self.signed, self.narrow)
    }
}

/// Settings of a quantiser that cannot work.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum QuantizeError {
    /// The number of bits is not supported.
    #[error("bits must be 1 to 8, got {bits}")]
    Bits {
        /// What was asked for.
        bits: u32,
    },
    /// A range method that cannot do what is asked of it.
    #[error("{}: {reason}", range.name())]
    Settings {
        /// The method.
        range: RangeMethod,
        /// What is wrong and how to mend it.
        reason: &'static str,
    },
}
