//! Hard random choices between 0 and 1, by their probability.
//!
//! ```text
//! y = 1 where uniform < theta, else 0          dtheta = G
//! ```
//! Source: Franceschi et al., "Learning discrete structures for graph neural networks" (LDS), ICML 2019.

use crate::simd::multiversion;
use crate::slices::binary;

/// `y` = 1 where `uniform` lies below `theta`, else 0.
pub fn bernoulli(theta: &[f32], uniform: &[f32], y: &mut [f32]) {
    binary(theta, uniform, y, block);
}

multiversion! {
    fn block(theta: &[f32], uniform: &[f32], y: &mut [f32]) {
        for ((y, theta), uniform) in y.iter_mut().zip(theta).zip(uniform) {
            *y = if uniform < theta { 1.0 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn equality_gives_zero() {
        let mut y = [9.0; 4];
        super::bernoulli(&[0.5, 0.5, 1.0, 0.0], &[0.4, 0.5, 0.99, 1e-7], &mut y);
        assert_eq!(y, [1.0, 0.0, 1.0, 0.0]);
    }
}
