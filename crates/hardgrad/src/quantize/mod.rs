//! Weights and activations at 1 to 8 bits.
//!
//! A [`Quantizer`] moves values to a [`Grid`]: whole multiples of a scale between two bounds. Where the scale comes from is
//! the *range method*, one file each: `fixed`, `min_max`, `moving_average`, `lsq`, `pact`, `dorefa`; learned ones are
//! [`Positive`] numbers. What the grid is does not depend on the method: signed weights of 1 bit are -scale and +scale with each. The
//! same quantiser serves activations, as a layer, and weights, attached to parameters by [`QuantizeWeights`].

mod clock;
mod config;
mod dorefa;
mod error;
mod fixed;
mod grid;
mod lsq;
mod min_max;
mod moving_average;
mod pact;
mod positive;
mod quantizer;
mod recorder;
mod weights;

pub use clock::StepClock;
pub use config::{QuantizerConfig, RangeMethod, Role};
pub use dorefa::DorefaRange;
pub use error::QuantizeError;
pub(crate) use error::sample_values;
pub use fixed::FixedRange;
pub use grid::{Grid, Levels, ToCode};
pub use lsq::LsqRange;
pub use min_max::MinMaxRange;
pub use moving_average::MovingAverageRange;
pub use pact::PactRange;
pub use positive::{NotPositive, Positive};
pub use quantizer::{Quantizer, Range};
pub(crate) use recorder::recorded;
pub use weights::QuantizeWeights;
