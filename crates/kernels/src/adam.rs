//! One step of Adam, in place, over one parameter.
//!
//! ```text
//! m = beta1 m + (1 - beta1) g                     v = beta2 v + (1 - beta2) g^2
//! w = w - rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay w)
//! ```
//! Weight decay is decoupled (AdamW). Source: Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019.

use rayon::prelude::*;

use crate::CHUNK;
use crate::simd::multiversion;

/// Settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate of this step.
    pub rate: f32,
    /// Decay of the mean of the gradient.
    pub beta1: f32,
    /// Decay of the mean of its square.
    pub beta2: f32,
    /// Keeps the division finite.
    pub epsilon: f32,
    /// Decoupled weight decay, as a share of the rate.
    pub weight_decay: f32,
    /// Number of this step, from 1.
    pub step: u32,
}

impl Adam {
    /// Moves `weight` and its two moments by one step along `gradient`.
    pub fn update(&self, weight: &mut [f32], gradient: &[f32], first_moment: &mut [f32], second_moment: &mut [f32]) {
        assert!(weight.len() == gradient.len() && first_moment.len() == weight.len());
        assert_eq!(second_moment.len(), weight.len());
        let corrections = Corrections {
            first: (1.0 - f64::from(self.beta1).powf(f64::from(self.step))) as f32,
            second: (1.0 - f64::from(self.beta2).powf(f64::from(self.step))) as f32,
        };
        weight
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first_moment.par_chunks_mut(CHUNK).zip(second_moment.par_chunks_mut(CHUNK)))
            .for_each(|((weight, gradient), (first, second))| {
                block(*self, corrections, weight, gradient, first, second)
            });
    }
}

/// What the moments are divided by because they began at 0.
#[derive(Clone, Copy)]
struct Corrections {
    first: f32,
    second: f32,
}

multiversion! {
    fn block(adam: Adam, corrections: Corrections, weight: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        for (((weight, g), m), v) in weight.iter_mut().zip(gradient).zip(first).zip(second) {
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * g * g;
            let move_by = (*m / corrections.first) / ((*v / corrections.second).sqrt() + adam.epsilon);
            *weight -= adam.rate * (move_by + adam.weight_decay * *weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let adam = Adam { rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
        let (mut w, mut m, mut v) = ([1.0, -1.0], [0.0; 2], [0.0; 2]);
        adam.update(&mut w, &[0.5, -2.0], &mut m, &mut v);
        // The first step has the size of the rate, whatever the gradient.
        assert!((w[0] - 0.9).abs() < 1e-6 && (w[1] + 0.9).abs() < 1e-6, "{w:?}");
        Adam { step: 2, weight_decay: 0.1, ..adam }.update(&mut w, &[0.0, 0.0], &mut m, &mut v);
        let mean = 0.9 * 0.05 / (1.0 - 0.81);
        let square: f64 = 0.999 * 0.00025 / (1.0 - 0.999f64.powi(2));
        let expected = 0.9 - 0.1 * (mean / square.sqrt() + 0.1 * 0.9);
        assert!((f64::from(w[0]) - expected).abs() < 1e-5, "{w:?} {expected}");
    }
}
