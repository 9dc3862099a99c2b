//! Adam and AdamW.
//!
//! ```text
//! m = beta1 m + (1 - beta1) g                     v = beta2 v + (1 - beta2) g^2
//! w = w - rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + d w)
//! ```
//! Source: Kingma and Ba, ICLR 2015; decoupled weight decay: Loshchilov and Hutter, ICLR 2019.

use rayon::prelude::*;

use super::WeightDecay;
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
    /// Decoupled (AdamW) or coupled (Adam with an L2 penalty).
    pub weight_decay: WeightDecay,
    /// Number of this step, from 1.
    pub step: u32,
    /// What the gradient is multiplied with before anything else: 1, or the factor that clips it.
    pub gradient_factor: f32,
}

impl Adam {
    /// Moves `weight` and its two moments by one step along `gradient`.
    pub fn update(&self, weight: &mut [f32], gradient: &[f32], first_moment: &mut [f32], second_moment: &mut [f32]) {
        assert!(weight.len() == gradient.len() && first_moment.len() == weight.len());
        assert_eq!(second_moment.len(), weight.len());
        let factors = Factors::new(self);
        if weight.len() <= CHUNK {
            return block(factors, weight, gradient, first_moment, second_moment);
        }
        weight
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first_moment.par_chunks_mut(CHUNK).zip(second_moment.par_chunks_mut(CHUNK)))
            .for_each(|((weight, gradient), (first, second))| block(factors, weight, gradient, first, second));
    }
}

/// What does not change from weight to weight.
#[derive(Clone, Copy)]
struct Factors {
    adam: Adam,
    coupled: f32,
    decoupled: f32,
    /// 1 / (1 - beta1^t): the moments began at 0 and are too small at first.
    first: f32,
    /// 1 / (1 - beta2^t)
    second: f32,
}

impl Factors {
    fn new(adam: &Adam) -> Self {
        let (coupled, decoupled) = adam.weight_decay.shares();
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(f64::from(adam.step)))) as f32;
        Self { adam: *adam, coupled, decoupled, first: correction(adam.beta1), second: correction(adam.beta2) }
    }
}

multiversion! {
    fn block(factors: Factors, weight: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Factors { adam, coupled, decoupled, .. } = factors;
        for (((weight, gradient), m), v) in weight.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = adam.gradient_factor * gradient + coupled * *weight;
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * g * g;
            let move_by = *m * factors.first / ((*v * factors.second).sqrt() + adam.epsilon);
            *weight -= adam.rate * (move_by + decoupled * *weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LENGTHS, assert_close, normal};
    use super::*;
    use crate::threads::same_for_threads;

    const ADAM: Adam = Adam {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: WeightDecay::NONE,
        step: 1,
        gradient_factor: 1.0,
    };

    #[test]
    fn two_steps_by_hand() {
        let (mut w, mut m, mut v) = ([1.0, -1.0], [0.0; 2], [0.0; 2]);
        ADAM.update(&mut w, &[0.5, -2.0], &mut m, &mut v);
        // The first step has the size of the rate, whatever the gradient.
        assert!((w[0] - 0.9).abs() < 1e-6 && (w[1] + 0.9).abs() < 1e-6, "{w:?}");
        let decay = Adam { step: 2, weight_decay: WeightDecay::Decoupled(0.1), ..ADAM };
        decay.update(&mut w, &[0.0, 0.0], &mut m, &mut v);
        let mean = 0.9 * 0.05 / (1.0 - 0.81);
        let square: f64 = 0.999 * 0.00025 / (1.0 - 0.999f64.powi(2));
        let expected = 0.9 - 0.1 * (mean / square.sqrt() + 0.1 * 0.9);
        assert!((f64::from(w[0]) - expected).abs() < 1e-5, "{w:?} {expected}");
    }

    #[test]
    fn coupled_decay_alone_moves_by_the_rate_and_decoupled_decay_by_a_share() {
        use WeightDecay::{Coupled, Decoupled};
        for (weight_decay, start, expected) in
            [(Coupled(0.5), 2.0, 1.9), (Coupled(0.5), 4.0, 3.9), (Decoupled(0.5), 2.0, 1.9), (Decoupled(0.5), 4.0, 3.8)]
        {
            let mut w: [f32; 1] = [start];
            Adam { weight_decay, ..ADAM }.update(&mut w, &[0.0], &mut [0.0], &mut [0.0]);
            assert!((w[0] - expected).abs() < 1e-6, "{weight_decay:?}: {w:?}");
        }
    }

    /// The formula of the module in f64.
    fn reference(adam: &Adam, w: &mut [f64], gradient: &[f32], m: &mut [f64], v: &mut [f64]) {
        let [rate, beta1, beta2, epsilon, factor] =
            [adam.rate, adam.beta1, adam.beta2, adam.epsilon, adam.gradient_factor].map(f64::from);
        let (coupled, decoupled) = match adam.weight_decay {
            WeightDecay::Coupled(share) => (f64::from(share), 0.0),
            WeightDecay::Decoupled(share) => (0.0, f64::from(share)),
        };
        for i in 0..w.len() {
            let g = factor * f64::from(gradient[i]) + coupled * w[i];
            m[i] = beta1 * m[i] + (1.0 - beta1) * g;
            v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
            let (mean, square) =
                (m[i] / (1.0 - beta1.powi(adam.step as i32)), v[i] / (1.0 - beta2.powi(adam.step as i32)));
            w[i] -= rate * (mean / (square.sqrt() + epsilon) + decoupled * w[i]);
        }
    }

    #[test]
    fn five_steps_agree_with_doubles_for_any_length_and_number_of_threads() {
        for (len, weight_decay) in
            LENGTHS.into_iter().zip([WeightDecay::Decoupled(0.1), WeightDecay::Coupled(0.1)].into_iter().cycle())
        {
            let adam = Adam { rate: 1e-2, epsilon: 1e-3, weight_decay, gradient_factor: 0.5, ..ADAM };
            let start = normal(len, 0);
            let (w, m, v) = same_for_threads(|| {
                let (mut w, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
                (1..=5).for_each(|step| Adam { step, ..adam }.update(&mut w, &normal(len, step), &mut m, &mut v));
                (w, m, v)
            });
            let mut expected: Vec<f64> = start.iter().copied().map(f64::from).collect();
            let mut moments = [vec![0.0; len], vec![0.0; len]];
            let [mean, square] = &mut moments;
            (1..=5).for_each(|step| reference(&Adam { step, ..adam }, &mut expected, &normal(len, step), mean, square));
            assert_close(&w, &expected);
            assert_close(&m, mean);
            assert_close(&v, square);
        }
    }
}
