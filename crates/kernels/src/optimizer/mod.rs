//! Optimizers: one step over one parameter, in place and in one pass; and the norm that gradients are clipped by.
//!
//! The names in the formulas:
//!
//! ```text
//! w  weight      f  gradient_factor (1, or that of `clip_factor`)      c  coupled weight decay
//! g  f gradient + c w                                                 d  decoupled weight decay
//! ```
//! All slices of one update have the length of the parameter. Parameters of up to [`CHUNK`](crate::CHUNK) values are updated
//! on the calling thread, for networks have many small ones and each would wait for the pool.

mod adam;
mod clipping;
mod sgd;

pub use adam::Adam;
pub use clipping::{clip_factor, global_norm};
pub use sgd::Sgd;

/// How a weight is drawn towards 0 in each step; a share of 0 leaves it alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// The step takes this share of the weight, times the learning rate, off the weight itself (AdamW).
    Decoupled(f32),
    /// This share of the weight is added to the gradient, and passes through the moments (L2 penalty).
    Coupled(f32),
}

impl WeightDecay {
    /// No decay.
    pub const NONE: Self = Self::Decoupled(0.0);

    /// The coupled and the decoupled share, one of which is 0.
    fn shares(self) -> (f32, f32) {
        match self {
            Self::Decoupled(share) => (0.0, share),
            Self::Coupled(share) => (share, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::CHUNK;
    use crate::random::Random;

    /// Lengths around the size of a register, of one piece and of several pieces.
    pub(super) const LENGTHS: [usize; 6] = [0, 1, 17, CHUNK, CHUNK + 1, 3 * CHUNK + 5];

    /// Normal values, the same for the same `stream`.
    pub(super) fn normal(len: usize, stream: u32) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Random::new(3, 0, stream).fill_normal(&mut values);
        values
    }

    /// Fails where a value is further from its double than rounding explains.
    pub(super) fn assert_close(values: &[f32], doubles: &[f64]) {
        assert_eq!(values.len(), doubles.len());
        for (place, (value, double)) in values.iter().zip(doubles).enumerate() {
            assert!((f64::from(*value) - double).abs() <= 2e-6 * (1.0 + double.abs()), "{place}: {value} {double}");
        }
    }
}
