//! Problems small enough to be solved on paper, against which gradient estimators can be measured.
//!
//! Everything here is f64 and exact up to rounding: no samples, no tensors, no device.
//!
//! - [`TwoLayer`]: a two-layer network with binary activation on Gaussian data, with its loss, its gradient and what
//!   three straight-through estimators give in its place.

mod two_layer;

pub use two_layer::{TwoLayer, TwoLayerError};
