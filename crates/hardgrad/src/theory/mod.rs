//! Problems small enough to be solved on paper, against which gradient estimators can be measured.
//!
//! Everything here is f64 and exact up to rounding, but for what says that it is sampled: no tensors, no device.
//!
//! - [`TwoLayer`]: a two-layer network with binary activation on Gaussian data, with its loss, its gradient and what
//!   three straight-through estimators give in its place.
//! - [`saddle`], [`spurious_minimum`]: where descent can stop short of the teacher.
//! - [`Descent`]: coarse gradient descent, with expected gradients or with means over samples.

mod critical_points;
mod descent;
mod two_layer;

pub use critical_points::{CriticalPoint, saddle, spurious_minimum};
pub use descent::Descent;
pub use two_layer::{TwoLayer, TwoLayerError};
