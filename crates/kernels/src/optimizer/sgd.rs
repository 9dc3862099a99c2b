//! Stochastic gradient descent with momentum.
//!
//! ```text
//! v = momentum v + g
//! w = w - rate v                       plain
//! w = w - rate (g + momentum v)        Nesterov
//! ```
//! The velocity v begins at 0; the rate stands outside it, as in `torch.optim.SGD`, whose dampening is 0 here. Weight decay is
//! coupled. Source: Sutskever et al., ICML 2013.

use rayon::prelude::*;

use crate::CHUNK;
use crate::simd::multiversion;

/// Settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate of this step.
    pub rate: f32,
    /// Share of the velocity that is kept; 0 for plain gradient descent.
    pub momentum: f32,
    /// Looks ahead along the velocity.
    pub nesterov: bool,
    /// Coupled weight decay: this share of the weight is added to the gradient.
    pub weight_decay: f32,
    /// What the gradient is multiplied with before anything else: 1, or the factor that clips it.
    pub gradient_factor: f32,
}

impl Sgd {
    /// Moves `weight` and its `velocity` by one step along `gradient`.
    pub fn update(&self, weight: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        assert!(weight.len() == gradient.len() && velocity.len() == weight.len());
        if weight.len() <= CHUNK {
            return block(*self, weight, gradient, velocity);
        }
        weight
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(velocity.par_chunks_mut(CHUNK))
            .for_each(|((weight, gradient), velocity)| block(*self, weight, gradient, velocity));
    }
}

multiversion! {
    fn block(sgd: Sgd, weight: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        for ((weight, gradient), velocity) in weight.iter_mut().zip(gradient).zip(velocity) {
            let g = sgd.gradient_factor * gradient + sgd.weight_decay * *weight;
            *velocity = sgd.momentum * *velocity + g;
            let move_by = if sgd.nesterov { g + sgd.momentum * *velocity } else { *velocity };
            *weight -= sgd.rate * move_by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LENGTHS, assert_close, normal};
    use super::*;
    use crate::threads::same_for_threads;

    const SGD: Sgd = Sgd { rate: 0.5, momentum: 0.5, nesterov: false, weight_decay: 0.0, gradient_factor: 1.0 };

    #[test]
    fn two_steps_by_hand() {
        let run = |sgd: Sgd| {
            let (mut w, mut velocity) = ([1.0], [0.0]);
            sgd.update(&mut w, &[1.0], &mut velocity);
            let first = w[0];
            sgd.update(&mut w, &[2.0], &mut velocity);
            [first, w[0], velocity[0]]
        };
        // Velocities 1 and 2.5; looking ahead makes them 1.5 and 3.25.
        assert_eq!(run(SGD), [0.5, -0.75, 2.5]);
        assert_eq!(run(Sgd { nesterov: true, ..SGD }), [0.25, -1.375, 2.5]);
        assert_eq!(run(Sgd { momentum: 0.0, ..SGD }), [0.5, -0.5, 2.0]);
        assert_eq!(run(Sgd { momentum: 0.0, weight_decay: 1.0, ..SGD }), [0.0, -1.0, 2.0]);
        assert_eq!(run(Sgd { gradient_factor: 0.5, ..SGD }), [0.75, 0.125, 1.25]);
    }

    #[test]
    fn five_steps_agree_with_doubles_for_any_length_and_number_of_threads() {
        for (len, nesterov) in LENGTHS.into_iter().zip([false, true].into_iter().cycle()) {
            let sgd = Sgd { rate: 1e-2, momentum: 0.9, nesterov, weight_decay: 0.1, gradient_factor: 0.25 };
            let start = normal(len, 0);
            let (w, velocity) = same_for_threads(|| {
                let (mut w, mut velocity) = (start.clone(), vec![0.0; len]);
                (1..=5).for_each(|step| sgd.update(&mut w, &normal(len, step), &mut velocity));
                (w, velocity)
            });
            let (mut expected, mut velocities) =
                (start.iter().copied().map(f64::from).collect::<Vec<_>>(), vec![0.0; len]);
            let [rate, momentum, decay] = [sgd.rate, sgd.momentum, sgd.weight_decay].map(f64::from);
            for step in 1..=5 {
                for ((w, v), gradient) in expected.iter_mut().zip(&mut velocities).zip(normal(len, step)) {
                    let g = 0.25 * f64::from(gradient) + decay * *w;
                    *v = momentum * *v + g;
                    *w -= rate * if nesterov { g + momentum * *v } else { *v };
                }
            }
            assert_close(&w, &expected);
            assert_close(&velocity, &velocities);
        }
    }
}
