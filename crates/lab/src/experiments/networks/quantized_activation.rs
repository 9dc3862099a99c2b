use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use hardgrad::ops::{ReluSurrogate, quantized_relu};

use crate::experiments::subject::Subject;

/// The activation behind each batch norm: ReLU on a fixed grid of so many bits, or plain ReLU for none.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::experiments) struct QuantizedActivation {
    pub bits: Option<u32>,
    pub surrogate: ReluSurrogate,
}

/// The grid step with the least squared error for standard normal values behind a ReLU that rounds up (the Lloyd
/// iteration of Yin et al.); found by numerical minimisation for 2, 3 and 4 bits.
fn step(bits: u32) -> f32 {
    match bits {
        2 => 0.486,
        3 => 0.290,
        _ => 0.166,
    }
}

impl QuantizedActivation {
    pub(super) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self.bits {
            Some(bits) => quantized_relu(x, step(bits), bits, self.surrogate),
            None => relu(x),
        }
    }
}

/// A network with float weights whose activation can be exchanged.
pub(in crate::experiments) trait ExchangeActivation: Subject {
    /// The same weights with another activation.
    fn with_activation(self, activation: QuantizedActivation) -> Self;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_least_squared_error() {
        // Midpoint rule over the half-normal distribution.
        let error = |step: f64, bits: u32| -> f64 {
            let levels = f64::from((1u32 << bits) - 1);
            let points = (0..80_000).map(|i| (f64::from(i) + 0.5) * 1e-4);
            points.map(|x| (x - (x / step).ceil().min(levels) * step).powi(2) * (-x * x / 2.0).exp()).sum()
        };
        for bits in [2, 3, 4] {
            let best = f64::from(step(bits));
            assert!([best - 2e-3, best + 2e-3].iter().all(|other| error(best, bits) < error(*other, bits)), "{bits}");
        }
    }
}
