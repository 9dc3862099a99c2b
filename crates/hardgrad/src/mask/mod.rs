//! Masks that learn which values stay.

pub(crate) mod hard_concrete;
pub(crate) mod score;
pub(crate) mod soft_threshold;
pub(crate) mod threshold;

pub use hard_concrete::{HardConcrete, HardConcreteGate, HardConcreteGateConfig, hard_concrete};
pub use score::score_mask;
pub use soft_threshold::{SoftThreshold, SoftThresholdConfig, soft_threshold};
pub use threshold::{ThresholdMask, ThresholdMaskConfig, threshold_mask};
