//! Gradients from values of the loss alone.
//!
//! The loss is called at points beside the parameters, so the hard function may stay as it is and needs no derivative.
//! What remains to choose is where to look.
//!
//! - [`fogzo`]: along random directions that lean towards a straight-through gradient.

mod fogzo;

pub use fogzo::fogzo;
