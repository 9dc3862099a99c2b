//! Coarse gradient descent on the two-layer network: with expected gradients in closed form, or with means over samples.
//!
//! ```text
//! v = v - rate E d l/dv        w = w - rate E Z^T (d(Z w) v) (y(Z) - y*(Z))        both at the old v and w
//! ```
//! d is the derivative of the surrogate. `Descent` takes E in closed form, or as the mean over N fresh samples a step.
//! Source: Yin et al., ICLR 2019, algorithm 1.

use super::{TwoLayer, TwoLayerError};
use crate::ops::ReluSurrogate;
use crate::random::Random;

/// A network of the two-layer model on its way.
///
/// ```
/// use hardgrad::ops::ReluSurrogate;
/// use hardgrad::theory::Descent;
///
/// let mut descent = Descent::new(&[0.3, 0.9], &[0.5, 1.0], &[1.0, 0.5], &[1.0, 0.0], ReluSurrogate::Relu).unwrap();
/// let first = descent.loss();
/// (0..2000).for_each(|_| descent.step(0.1).unwrap());
/// assert!(descent.loss() < 1e-3 * first);
/// ```
#[derive(Clone, Debug)]
pub struct Descent {
    v: Vec<f64>,
    w: Vec<f64>,
    v_star: Vec<f64>,
    w_star: Vec<f64>,
    surrogate: ReluSurrogate,
}

impl Descent {
    /// The start: output weights `v` (m values) and filter `w` (n), the teacher's `v_star` (m) and `w_star` (n, of norm 1).
    ///
    /// # Errors
    /// As [`TwoLayer::new`].
    pub fn new(
        v: &[f64],
        w: &[f64],
        v_star: &[f64],
        w_star: &[f64],
        surrogate: ReluSurrogate,
    ) -> Result<Self, TwoLayerError> {
        TwoLayer::new(v, w, v_star, w_star)?;
        let own = |values: &[f64]| values.to_vec();
        Ok(Self { v: own(v), w: own(w), v_star: own(v_star), w_star: own(w_star), surrogate })
    }

    /// Output weights.
    pub fn v(&self) -> &[f64] {
        &self.v
    }

    /// Filter.
    pub fn w(&self) -> &[f64] {
        &self.w
    }

    /// The network with its loss and gradients.
    ///
    /// # Errors
    /// If a step has led to a filter of 0 or to values that are not finite.
    pub fn network(&self) -> Result<TwoLayer<'_>, TwoLayerError> {
        TwoLayer::new(&self.v, &self.w, &self.v_star, &self.w_star)
    }

    /// Population loss; not a number where there is no network any more.
    pub fn loss(&self) -> f64 {
        self.network().map_or(f64::NAN, |network| network.loss())
    }

    /// One step with expected gradients.
    ///
    /// # Errors
    /// As [`network`](Self::network), before the step.
    pub fn step(&mut self, rate: f64) -> Result<(), TwoLayerError> {
        let network = self.network()?;
        let (along_v, along_w) = (network.gradient_v(), network.coarse(self.surrogate));
        self.move_by(rate, &along_v, &along_w);
        Ok(())
    }

    /// One step with means over `samples` matrices Z of independent standard normal values, those of `random`.
    ///
    /// # Errors
    /// As [`network`](Self::network), before the step.
    pub fn sampled_step(&mut self, rate: f64, samples: usize, random: &Random) -> Result<(), TwoLayerError> {
        let (along_v, along_w) = self.sampled(samples, random)?;
        self.move_by(rate, &along_v, &along_w);
        Ok(())
    }

    /// The means over `samples` matrices Z of d l/dv and of the coarse gradient for w.
    ///
    /// # Errors
    /// As [`network`](Self::network).
    pub fn sampled(&self, samples: usize, random: &Random) -> Result<(Vec<f64>, Vec<f64>), TwoLayerError> {
        self.network()?;
        let (m, n) = (self.v.len(), self.w.len());
        let mut z = vec![0.0f32; samples * m * n];
        random.fill_normal(&mut z);
        let (mut along_v, mut along_w) = (vec![0.0; m], vec![0.0; n]);
        for z in z.chunks_exact(m * n) {
            let dot = |row: &[f32], w: &[f64]| row.iter().zip(w).map(|(z, w)| f64::from(*z) * w).sum::<f64>();
            let hidden: Vec<f64> = z.chunks_exact(n).map(|row| dot(row, &self.w)).collect();
            let output =
                |of: &[f64], v: &[f64]| of.iter().zip(v).filter(|(x, _)| **x > 0.0).map(|(_, v)| v).sum::<f64>();
            let teacher: Vec<f64> = z.chunks_exact(n).map(|row| dot(row, &self.w_star)).collect();
            let error = (output(&hidden, &self.v) - output(&teacher, &self.v_star)) / samples as f64;
            for ((row, x), (v, along_v)) in z.chunks_exact(n).zip(&hidden).zip(self.v.iter().zip(&mut along_v)) {
                *along_v += f64::from(*x > 0.0) * error;
                let passes = match self.surrogate {
                    ReluSurrogate::Identity => true,
                    ReluSurrogate::Relu => *x > 0.0,
                    ReluSurrogate::ClippedRelu => *x > 0.0 && *x < 1.0,
                };
                if passes {
                    along_w.iter_mut().zip(row).for_each(|(along, z)| *along += v * error * f64::from(*z));
                }
            }
        }
        Ok((along_v, along_w))
    }

    fn move_by(&mut self, rate: f64, along_v: &[f64], along_w: &[f64]) {
        self.v.iter_mut().zip(along_v).for_each(|(v, along)| *v -= rate * along);
        self.w.iter_mut().zip(along_w).for_each(|(w, along)| *w -= rate * along);
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::theory::spurious_minimum;

    const V_STAR: [f64; 5] = [1.0, -0.4, 0.7, 0.2, -0.9];
    const W_STAR: [f64; 4] = [0.5, -0.5, 0.5, 0.5];

    /// Values from a normal distribution for start `index`.
    fn normal(len: usize, index: u32, stream: u32) -> Vec<f64> {
        let mut values = vec![0.0; len];
        Random::new(11, index, stream).fill_normal(&mut values);
        values.into_iter().map(f64::from).collect()
    }

    fn start(index: u32, surrogate: ReluSurrogate) -> Descent {
        Descent::new(&normal(5, index, 0), &normal(4, index, 1), &V_STAR, &W_STAR, surrogate).unwrap()
    }

    #[test]
    fn relu_and_clipped_relu_descend_at_every_step() {
        for surrogate in [ReluSurrogate::Relu, ReluSurrogate::ClippedRelu] {
            for index in 0..20 {
                let mut descent = start(index, surrogate);
                let first = descent.loss();
                let mut before = first;
                for step in 0..3_000 {
                    // The theorem needs a filter that keeps away from 0, for there the loss has no smooth gradient.
                    let far = descent.w().iter().map(|w| w * w).sum::<f64>() > 0.01;
                    descent.step(0.02).unwrap();
                    let loss = descent.loss();
                    assert!(
                        !far || loss <= before + 1e-14,
                        "{surrogate:?}, start {index}, step {step}: {before} to {loss}"
                    );
                    before = loss;
                }
                assert!(before < 0.5 * first, "{surrogate:?}, start {index}: {first} to {before}");
            }
        }
    }

    #[test]
    fn gradients_of_samples_have_the_closed_forms_as_their_means() {
        let (batches, samples) = (200, 500);
        for (index, &surrogate) in ReluSurrogate::ALL.iter().enumerate() {
            let descent = start(index as u32, surrogate);
            let found: Vec<Vec<f64>> = (0..batches)
                .map(|batch| {
                    let (v, w) = descent.sampled(samples, &Random::new(5, batch, 2)).unwrap();
                    [v, w].concat()
                })
                .collect();
            let network = descent.network().unwrap();
            let expected = [network.gradient_v(), network.coarse(surrogate)].concat();
            for (place, expected) in expected.iter().enumerate() {
                let mean = found.iter().map(|row| row[place]).sum::<f64>() / f64::from(batches);
                let squares: f64 = found.iter().map(|row| (row[place] - mean).powi(2)).sum();
                let error = (squares / f64::from(batches - 1) / f64::from(batches)).sqrt();
                assert!((mean - expected).abs() < 4.0 * error, "{surrogate:?} {place}: {mean} +- {error}, {expected}");
            }
        }
    }

    #[test]
    fn the_identity_leaves_the_spurious_minimum_and_the_others_stay() {
        let minimum = spurious_minimum(&V_STAR).unwrap();
        // Almost opposite to w*.
        let turn = 1e-6;
        let w: Vec<f64> = W_STAR.iter().enumerate().map(|(i, w)| -w + if i == 0 { turn } else { 0.0 }).collect();
        for &surrogate in ReluSurrogate::ALL {
            let mut descent = Descent::new(&minimum.v, &w, &V_STAR, &W_STAR, surrogate).unwrap();
            let at = descent.loss();
            let (mut highest, mut angle) = (at, PI);
            for _ in 0..2_000 {
                descent.step(0.05).unwrap();
                highest = highest.max(descent.loss());
                angle = angle.min(descent.network().unwrap().angle());
            }
            if surrogate == ReluSurrogate::Identity {
                assert!(highest > at + 1e-3, "the loss rises on the way: {at} to {highest}");
                assert!(angle < PI / 2.0, "it comes to the other side: {angle}");
            } else {
                assert!(highest <= at + 1e-12 && angle > PI - 0.01, "{surrogate:?}: {at} to {highest}, angle {angle}");
            }
        }
    }

    #[test]
    fn sampled_descent_lowers_the_loss() {
        let mut descent = start(1, ReluSurrogate::Relu);
        let first = descent.loss();
        for step in 0..500 {
            descent.sampled_step(0.05, 200, &Random::new(1, step, 0)).unwrap();
        }
        assert!(descent.loss() < 0.5 * first, "{first} to {}", descent.loss());
    }
}
