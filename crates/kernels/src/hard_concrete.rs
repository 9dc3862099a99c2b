//! Gates between 0 and 1 that are exactly 0 or 1 with a positive probability.
//!
//! ```text
//! z = sigmoid((ln u - ln(1 - u) + log_alpha) / beta)         y = clamp(z (zeta - gamma) + gamma, 0, 1)
//! dlog_alpha = G (zeta - gamma) z (1 - z) / beta where 0 < y < 1, else 0
//! ```
//! Source: Louizos, Welling, Kingma, "Learning sparse neural networks through L0 regularization", ICLR 2018.

use crate::math::{ln, sigmoid};
use crate::simd::multiversion;
use crate::slices::binary;

/// The shape of the distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardConcrete {
    /// Temperature, above 0; 2/3 in the paper.
    pub beta: f32,
    /// Lower end of the stretched interval; -0.1 in the paper.
    pub gamma: f32,
    /// Upper end of the stretched interval, above `gamma`; 1.1 in the paper.
    pub zeta: f32,
}

impl Default for HardConcrete {
    fn default() -> Self {
        Self { beta: 2.0 / 3.0, gamma: -0.1, zeta: 1.1 }
    }
}

/// `y` = gates for `uniform` values strictly between 0 and 1.
pub fn hard_concrete(log_alpha: &[f32], uniform: &[f32], shape: HardConcrete, y: &mut [f32]) {
    binary(log_alpha, uniform, y, |log_alpha, uniform, y| gate_block(log_alpha, uniform, shape, y));
}

/// Gradient with respect to `log_alpha`; the gates tell all that it needs.
pub fn hard_concrete_backward(y: &[f32], gradient: &[f32], shape: HardConcrete, input_gradient: &mut [f32]) {
    binary(y, gradient, input_gradient, |y, gradient, out| backward_block(y, gradient, shape, out));
}

multiversion! {
    fn gate_block(log_alpha: &[f32], uniform: &[f32], shape: HardConcrete, y: &mut [f32]) {
        for ((y, log_alpha), u) in y.iter_mut().zip(log_alpha).zip(uniform) {
            let z = sigmoid((ln(*u) - ln(1.0 - u) + log_alpha) / shape.beta);
            *y = (z * (shape.zeta - shape.gamma) + shape.gamma).clamp(0.0, 1.0);
        }
    }
}

multiversion! {
    fn backward_block(y: &[f32], gradient: &[f32], shape: HardConcrete, out: &mut [f32]) {
        let width = shape.zeta - shape.gamma;
        for ((out, y), gradient) in out.iter_mut().zip(y).zip(gradient) {
            // width z (1 - z) with z = (y - gamma) / width
            let slope = (y - shape.gamma) * (shape.zeta - y) / width / shape.beta;
            *out = if *y > 0.0 && *y < 1.0 { gradient * slope } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_logits_close_and_open_the_gate() {
        let (mut y, mut slope) = ([9.0; 3], [9.0; 3]);
        hard_concrete(&[-1e4, 0.0, 1e4], &[0.5; 3], HardConcrete::default(), &mut y);
        hard_concrete_backward(&y, &[1.0; 3], HardConcrete::default(), &mut slope);
        assert!(y[0] == 0.0 && (y[1] - 0.5).abs() < 1e-6 && y[2] == 1.0, "{y:?}");
        // 1.2 * 1/4 / (2/3)
        assert!(slope[0] == 0.0 && (slope[1] - 0.45).abs() < 1e-6 && slope[2] == 0.0, "{slope:?}");
    }
}
