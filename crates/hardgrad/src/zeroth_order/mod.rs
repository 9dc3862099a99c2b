//! Gradients from values of the loss alone, and blends of them with straight-through gradients.
//!
//! The loss is called at points beside the parameters, so the hard function may stay as it is and needs no derivative.
//! What remains to choose is where to look. [`Guidance`] runs a [`GradientMethod`] on any module with any loss; the optimizer
//! stays what it is, only the gradient of the quantised parameters is another.
//!
//! | method | gradient | forward passes a step |
//! |---|---|---|
//! | `straight_through` | as the backward pass gives it | none more |
//! | [`spsa`](Spsa) | differences along n random directions | 2n |
//! | [`fogzo`](Fogzo) | differences along directions that lean towards the straight-through gradient | 2n |
//! | [`weighted_average`](WeightedAverage) | a fixed blend of straight-through and spsa | 2n |
//! | [`bias_correction`](BiasCorrection) | straight-through minus the bias that differences show | 2n |
//! | [`adaptive`](Adaptive) | a blend by measured agreement and variance | 2n |
//!
//! How wide to look follows from the surrogate and the quantiser's step ([`Smoothing`]).

mod adaptive;
mod bias_correction;
mod error;
mod fogzo;
mod guidance;
mod method;
mod perturbed;
mod smoothing;
mod spsa;
mod weighted_average;

pub use adaptive::Adaptive;
pub use bias_correction::BiasCorrection;
pub use error::ZerothOrderError;
pub use fogzo::{Fogzo, fogzo};
pub use guidance::{Guidance, Moment, Probes, Report};
pub use method::{Combination, Direction, GradientConfig, GradientMethod, Measured, MethodName, Mix};
pub use perturbed::{Perturbed, quantized};
pub use smoothing::{Noise, Smoothing};
pub use spsa::Spsa;
pub use weighted_average::WeightedAverage;
