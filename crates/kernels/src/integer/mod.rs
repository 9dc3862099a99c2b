//! Exact arithmetic on small whole numbers: what a packed model computes with.
//!
//! Activations and weights are `i16` with a magnitude of at most 255, sums are `i32`. The caller makes sure that no sum can
//! leave `i32`; then every order of adding gives the same number, and all instruction sets agree without further care.
//!
//! These functions run on the calling thread: a packed model spreads images over threads, not the loops of one image.

mod conv2d;
mod lanes;
mod matmul;
mod pooling;
mod scaling;

pub use conv2d::conv2d;
pub use matmul::matmul;
pub use pooling::max_pool2d;
pub use scaling::{affine_features, affine_plane, decode, pixels, quantize_divide, quantize_multiply, relu};
pub use scaling::{scale_features, scale_plane};

#[cfg(test)]
mod tests {
    use crate::random::Random;
    use crate::simd::Level;

    pub(super) const LEVELS: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// Whole numbers from -255 to 255.
    pub(super) fn small_numbers(seed: u64, count: usize) -> Vec<i16> {
        let random = Random::new(seed, 0, 0);
        (0..count as u64).map(|i| random.below(i, 511) as i16 - 255).collect()
    }
}
