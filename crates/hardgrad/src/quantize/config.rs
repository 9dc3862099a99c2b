use burn::tensor::Device;
use hardgrad_kernels::bounds::Bounds;
use serde::{Deserialize, Serialize};

use super::quantizer::Format;
use super::{
    DorefaRange, FixedRange, Levels, LsqRange, MinMaxRange, MovingAverageRange, PactRange, QuantizeError, Quantizer,
    Range, StepClock,
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
    /// All range methods.
    pub const ALL: [Self; 6] = [Self::Fixed, Self::MinMax, Self::MovingAverage, Self::Lsq, Self::Pact, Self::Dorefa];

    /// The range method of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

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
    /// Codes from -2^(bits-1) if true (1 bit: the signs -1 and +1), from 0 if false.
    pub signed: bool,
    /// Leave out the lowest signed code, so that the codes are symmetric around 0.
    pub narrow: bool,
    /// Where the scale comes from.
    pub range: RangeMethod,
    /// One scale for each output channel instead of one for all (weights only).
    pub per_channel: bool,
    /// A zero point, so that the range need not contain as much below 0 as above; [`RangeMethod::Fixed`] has its own.
    pub zero_point: bool,
    /// The scale of [`RangeMethod::Fixed`], in units of the values.
    pub fixed_scale: f32,
    /// The zero point of [`RangeMethod::Fixed`].
    pub fixed_zero_point: i32,
    /// How much of the old value [`RangeMethod::MovingAverage`] keeps in a step.
    pub decay: f32,
    /// Steps of the [`StepClock`] during which values pass unchanged. That they are over is kept with the model, also
    /// on disk.
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

    /// Fails where the settings do not go together, or would lose what they are meant for.
    pub fn check(&self, role: Role) -> Result<(), QuantizeError> {
        if !(1..=8).contains(&self.bits) {
            return Err(QuantizeError::Bits { bits: self.bits });
        }
        let range = self.range;
        match self.codes_problem(role).or_else(|| self.range_problem(role)) {
            Some(reason) => Err(QuantizeError::Settings { range, reason }),
            None => Ok(()),
        }
    }

    /// What the codes rule out, whatever sets the scale.
    fn codes_problem(&self, role: Role) -> Option<&'static str> {
        let shifted = match self.range {
            RangeMethod::Fixed => self.fixed_zero_point != 0,
            RangeMethod::MinMax
            | RangeMethod::MovingAverage
            | RangeMethod::Lsq
            | RangeMethod::Pact
            | RangeMethod::Dorefa => self.zero_point,
        };
        if self.narrow && (!self.signed || self.bits < 2) {
            return Some("narrow leaves out the lowest signed code and needs at least 2 bits");
        }
        match (role, self.signed, self.bits) {
            (Role::Activation, true, 1) => {
                Some("signed activations need at least 2 bits; set signed = false, or bits to 2 or more")
            }
            (Role::Weight, true, 1) if shifted || self.zero_point => Some(
                "weights of 1 bit are -scale and +scale and have no zero point; set zero_point = false and fixed_zero_point = 0, \
                 or bits to 2 or more",
            ),
            (Role::Weight, false, 1) => Some(
                "weights of 1 bit are -scale and +scale; set signed = true and zero_point = false, or bits to 2 or more",
            ),
            (Role::Weight, false, _) if !shifted => Some(
                "unsigned weights without a zero point lose every negative weight; set signed = true (QuantizerConfig::weights), or \
                 give them a zero point",
            ),
            (Role::Weight | Role::Activation, _, _) => None,
        }
    }

    /// What the range method rules out.
    fn range_problem(&self, role: Role) -> Option<&'static str> {
        let range = self.range;
        let has_zero_point = match range {
            RangeMethod::MinMax | RangeMethod::MovingAverage => true,
            RangeMethod::Fixed | RangeMethod::Lsq | RangeMethod::Pact | RangeMethod::Dorefa => false,
        };
        match (range, role) {
            (RangeMethod::Lsq, Role::Weight) if self.signed && self.bits < 2 => {
                return Some(
                    "signed values need at least 2 bits; for 1-bit weights use min_max, or dorefa with per_channel = false",
                );
            }
            (RangeMethod::Pact, Role::Weight) => return Some("it clips activations; use lsq or dorefa for weights"),
            (RangeMethod::Pact, Role::Activation) if self.signed => {
                return Some("it clips at 0 and takes unsigned values only; set signed = false, or use lsq");
            }
            (RangeMethod::MovingAverage, Role::Weight) => {
                return Some("weights are known exactly; use min_max for them");
            }
            (RangeMethod::Dorefa, Role::Weight) if !self.signed || self.per_channel => {
                return Some("its weights are signed with one scale; set signed = true and per_channel = false");
            }
            (RangeMethod::Dorefa, Role::Activation) if self.signed => {
                return Some("its activations lie in 0..1 and are unsigned; set signed = false, or use lsq");
            }
            (
                RangeMethod::Fixed
                | RangeMethod::MinMax
                | RangeMethod::MovingAverage
                | RangeMethod::Lsq
                | RangeMethod::Pact
                | RangeMethod::Dorefa,
                Role::Weight | Role::Activation,
            ) => {}
        }
        if self.zero_point && !has_zero_point {
            return Some("zero_point is for ranges that are measured; use min_max, or fixed with a fixed_zero_point");
        }
        if self.per_channel && role == Role::Activation {
            return Some("activations have one scale; set per_channel = false");
        }
        if !(self.fixed_scale > 0.0 && self.fixed_scale.is_finite()) {
            return Some("fixed_scale must be above 0 and finite");
        }
        if !(0.0..1.0).contains(&self.decay) {
            return Some("decay must be at least 0 and below 1");
        }
        let Levels { qmin, qmax, .. } = self.levels();
        if range == RangeMethod::Fixed && !(qmin..=qmax).contains(&self.fixed_zero_point) {
            return Some("fixed_zero_point must be one of the codes");
        }
        None
    }

    /// A quantiser for activations; learned ranges begin as if values reached 4 and want [`Quantizer::calibrate`].
    pub fn init(&self, device: &Device) -> Result<Quantizer, QuantizeError> {
        self.init_waiting(StepClock::default(), device)
    }

    /// As [`init`](Self::init), with the clock that a delay waits on.
    pub fn init_waiting(&self, clock: StepClock, device: &Device) -> Result<Quantizer, QuantizeError> {
        self.check(Role::Activation)?;
        let scale = 4.0 / Bounds::from(self.levels()).highest.max(1.0);
        self.init_at(Role::Activation, None, &[scale], clock, device)
    }

    /// A quantiser whose learned scales begin at `scale` (one, or one an output of a weight, whose outputs are along
    /// the axis `outputs`), and which waits on `clock`.
    pub(crate) fn init_at(
        &self,
        role: Role,
        outputs: Option<usize>,
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
            RangeMethod::Lsq => Range::Lsq(LsqRange::new(scale, device)?),
            RangeMethod::Pact => Range::Pact(PactRange::new(scale[0], self.bits, device)?),
            RangeMethod::Dorefa => Range::Dorefa(DorefaRange::new(role)),
        };
        let axis = outputs.filter(|_| self.per_channel);
        let format = Format { bits: self.bits, levels: self.levels(), outputs, axis, role };
        Ok(Quantizer::new(range, format, self.delay, clock, device))
    }

    pub(crate) fn levels(&self) -> Levels {
        Levels::new(self.bits, self.signed, self.narrow)
    }
}
