//! Weights and activations at 1 to 8 bits.
//!
//! A [`Quantizer`] moves values to a [`Grid`]: whole multiples of a scale between two bounds. Where the scale comes from is
//! the *range method*, one file each: `fixed`, `min_max`, `moving_average`, `lsq`, `pact`, `dorefa`. The same quantiser
//! serves activations, as a layer, and weights, attached to parameters by [`QuantizeWeights`].

mod clock;
mod config;
mod dorefa;
mod fixed;
mod grid;
mod lsq;
mod min_max;
mod moving_average;
mod pact;
mod quantizer;
mod recorder;
mod weights;

pub use clock::StepClock;
pub use config::{QuantizeError, QuantizerConfig, RangeMethod, Role};
pub use dorefa::DorefaRange;
pub use fixed::FixedRange;
pub use grid::{Grid, Levels, ToCode};
pub use lsq::LsqRange;
pub use min_max::MinMaxRange;
pub use moving_average::MovingAverageRange;
pub use pact::PactRange;
pub use quantizer::{Quantizer, Range};
pub(crate) use recorder::recorded;
pub use weights::QuantizeWeights;
