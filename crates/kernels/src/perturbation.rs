//! Parameters moved along a direction that leans towards a guide, with noise that is made again instead of stored.
//!
//! ```text
//! moved    = base + lead guide + spread u                u of mean 0 and variance 1, a function of its address
//! combined = factor gradient + sum over i of coefficient_i u_i
//! along    = sum of x u
//! ```
//! Source of the noises: the distributions whose smoothing turns a hard function into the one that a straight-through
//! estimator differentiates; Yang and Aamodt, NeurIPS 2025, arXiv 2510.23926.

use std::f32::consts::PI;

use rayon::prelude::*;

use crate::CHUNK;
use crate::math::ln;
use crate::random::{Random, TILE};
use crate::simd::multiversion;

/// A distribution of mean 0 and variance 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Uniform on -sqrt(3) to sqrt(3).
    Uniform,
    /// Logistic: density a (1 - tanh(a u)^2)/2, a = pi/sqrt(12).
    Logistic,
    /// Triangular on -sqrt(6) to sqrt(6).
    Triangular,
}

impl Noise {
    /// The value below which a share `uniform` (strictly between 0 and 1) of the distribution lies.
    #[inline(always)]
    pub fn quantile(self, uniform: f32) -> f32 {
        match self {
            Self::Uniform => 3f32.sqrt() * (2.0 * uniform - 1.0),
            // atanh(2 uniform - 1) / (pi/sqrt(12))
            Self::Logistic => (ln(uniform) - ln(1.0 - uniform)) * (3f32.sqrt() / PI),
            Self::Triangular => {
                let below = uniform <= 0.5;
                let rest = (2.0 * if below { uniform } else { 1.0 - uniform }).sqrt();
                6f32.sqrt() * if below { rest - 1.0 } else { 1.0 - rest }
            }
        }
    }

    /// The density at `u`.
    pub fn density(self, u: f64) -> f64 {
        match self {
            Self::Uniform => {
                if u.abs() <= 3f64.sqrt() {
                    0.5 / 3f64.sqrt()
                } else {
                    0.0
                }
            }
            Self::Logistic => {
                let a = std::f64::consts::PI / 12f64.sqrt();
                a * (1.0 - (a * u).tanh().powi(2)) / 2.0
            }
            Self::Triangular => (1.0 - u.abs() / 6f64.sqrt()).max(0.0) / 6f64.sqrt(),
        }
    }
}

/// out = base + lead guide + spread u, with values 0 to `out.len()` of `random`.
///
/// # Panics
/// If the slices differ in length.
pub fn perturb(base: &[f32], guide: &[f32], [lead, spread]: [f32; 2], noise: Noise, random: &Random, out: &mut [f32]) {
    assert!(base.len() == out.len() && guide.len() == out.len());
    let chunk = |first: usize, base: &[f32], guide: &[f32], out: &mut [f32]| {
        let tiles = out.chunks_mut(TILE).zip(base.chunks(TILE)).zip(guide.chunks(TILE)).enumerate();
        let mut u = [0.0; TILE];
        for (tile, ((out, base), guide)) in tiles {
            // No noise is drawn that nobody sees.
            if spread != 0.0 {
                fill(noise, random, first + tile * TILE, &mut u);
            }
            moved(base, guide, &u, lead, spread, out);
        }
    };
    if out.len() <= CHUNK {
        return chunk(0, base, guide, out);
    }
    out.par_chunks_mut(CHUNK)
        .zip(base.par_chunks(CHUNK))
        .zip(guide.par_chunks(CHUNK))
        .enumerate()
        .for_each(|(index, ((out, base), guide))| chunk(index * CHUNK, base, guide, out));
}

/// out = 2 base - out: the point on the other side of the base, without drawing the noise again.
///
/// # Panics
/// If the slices differ in length.
pub fn mirror(base: &[f32], out: &mut [f32]) {
    assert!(base.len() == out.len());
    if out.len() <= CHUNK {
        return mirrored(base, out);
    }
    out.par_chunks_mut(CHUNK).zip(base.par_chunks(CHUNK)).for_each(|(out, base)| mirrored(base, out));
}

/// gradient = factor gradient + the sum of coefficient u over `terms`, each with noise of its own.
pub fn combine(gradient: &mut [f32], factor: f32, terms: &[(f32, Random)], noise: Noise) {
    let chunk = |first: usize, gradient: &mut [f32]| {
        let mut u = [0.0; TILE];
        for (tile, gradient) in gradient.chunks_mut(TILE).enumerate() {
            gradient.iter_mut().for_each(|gradient| *gradient *= factor);
            for (coefficient, random) in terms.iter().filter(|(coefficient, _)| *coefficient != 0.0) {
                fill(noise, random, first + tile * TILE, &mut u);
                add(gradient, &u, *coefficient);
            }
        }
    };
    if gradient.len() <= CHUNK {
        return chunk(0, gradient);
    }
    gradient.par_chunks_mut(CHUNK).enumerate().for_each(|(index, gradient)| chunk(index * CHUNK, gradient));
}

/// The sum of x u.
pub fn along(x: &[f32], noise: Noise, random: &Random) -> f64 {
    let chunk = |(index, x): (usize, &[f32])| {
        let (mut u, mut sum) = ([0.0; TILE], 0.0);
        for (tile, x) in x.chunks(TILE).enumerate() {
            fill(noise, random, index * CHUNK + tile * TILE, &mut u);
            sum += product(x, &u);
        }
        sum
    };
    if x.len() <= CHUNK {
        return x.chunks(CHUNK).enumerate().map(chunk).sum();
    }
    // Added in order: the same for any number of threads.
    x.par_chunks(CHUNK).enumerate().map(chunk).collect::<Vec<_>>().into_iter().sum()
}

/// Noise values `first..first + TILE`. 16 bits a value are plenty for noise, and half the work.
fn fill(noise: Noise, random: &Random, first: usize, values: &mut [f32; TILE]) {
    random.fill_short_uniform(first as u64, values);
    match noise {
        Noise::Uniform => uniform(values),
        Noise::Logistic => logistic(values),
        Noise::Triangular => triangular(values),
    }
}

multiversion! {
    fn uniform(values: &mut [f32; TILE]) {
        values.iter_mut().for_each(|value| *value = Noise::Uniform.quantile(*value));
    }
}

multiversion! {
    fn logistic(values: &mut [f32; TILE]) {
        values.iter_mut().for_each(|value| *value = Noise::Logistic.quantile(*value));
    }
}

multiversion! {
    fn triangular(values: &mut [f32; TILE]) {
        values.iter_mut().for_each(|value| *value = Noise::Triangular.quantile(*value));
    }
}

multiversion! {
    fn moved(base: &[f32], guide: &[f32], u: &[f32; TILE], lead: f32, spread: f32, out: &mut [f32]) {
        for (((out, base), guide), u) in out.iter_mut().zip(base).zip(guide).zip(u) {
            *out = base + (lead * guide + spread * u);
        }
    }
}

multiversion! {
    fn mirrored(base: &[f32], out: &mut [f32]) {
        for (out, base) in out.iter_mut().zip(base) {
            *out = 2.0 * base - *out;
        }
    }
}

multiversion! {
    fn add(out: &mut [f32], u: &[f32; TILE], coefficient: f32) {
        for (out, u) in out.iter_mut().zip(u) {
            *out += coefficient * u;
        }
    }
}

multiversion! {
    fn product(x: &[f32], u: &[f32; TILE]) -> f64 {
        let mut lanes = [0.0f64; 16];
        for (x, u) in x.chunks(16).zip(u.chunks(16)) {
            for ((lane, x), u) in lanes.iter_mut().zip(x).zip(u) {
                *lane += f64::from(*x) * f64::from(*u);
            }
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::same_for_threads;

    const NOISES: [Noise; 3] = [Noise::Uniform, Noise::Logistic, Noise::Triangular];

    fn noise(noise: Noise, len: usize) -> Vec<f32> {
        let mut out = vec![0.0; len];
        perturb(&vec![0.0; len], &vec![0.0; len], [0.0, 1.0], noise, &Random::new(5, 2, 9), &mut out);
        out
    }

    #[test]
    fn noises_have_mean_0_variance_1_and_their_density() {
        let count = 200_000;
        for kind in NOISES {
            let values = noise(kind, count);
            let mean = values.iter().map(|&u| f64::from(u)).sum::<f64>() / count as f64;
            let variance = values.iter().map(|&u| f64::from(u).powi(2)).sum::<f64>() / count as f64;
            assert!(mean.abs() < 4.0 / (count as f64).sqrt(), "{kind:?}: mean {mean}");
            // The fourth moment is at most 4.2 (logistic).
            assert!((variance - 1.0).abs() < 4.0 * (3.2 / count as f64).sqrt(), "{kind:?}: variance {variance}");
            for edge in [-1.5, -0.4, 0.3, 1.2] {
                let below = values.iter().filter(|&&u| f64::from(u) < edge).count() as f64 / count as f64;
                let steps = 200_000;
                let width = (edge + 40.0) / f64::from(steps);
                let expected: f64 =
                    (0..steps).map(|i| kind.density(-40.0 + (f64::from(i) + 0.5) * width) * width).sum();
                let error = 4.0 * (0.25 / count as f64).sqrt();
                assert!((below - expected).abs() < error, "{kind:?} below {edge}: {below}, expected {expected}");
            }
        }
    }

    #[test]
    fn every_loop_sees_the_same_noise_at_any_length_and_number_of_threads() {
        let random = Random::new(5, 2, 9);
        for len in [1, 15, TILE, TILE + 3, CHUNK, CHUNK + 7, 3 * CHUNK + 300] {
            let u = noise(Noise::Triangular, len);
            let base: Vec<f32> = (0..len).map(|i| (i % 13) as f32 - 6.0).collect();
            let guide: Vec<f32> = (0..len).map(|i| (i % 7) as f32 - 3.0).collect();
            let (out, combined, product) = same_for_threads(|| {
                let mut out = vec![0.0; len];
                perturb(&base, &guide, [0.5, -2.0], Noise::Triangular, &random, &mut out);
                let mut combined = base.clone();
                combine(&mut combined, 3.0, &[(0.25, random), (-1.0, random)], Noise::Triangular);
                (out, combined, along(&base, Noise::Triangular, &random))
            });
            let mut other = out.clone();
            mirror(&base, &mut other);
            for i in 0..len {
                assert!((other[i] - (base[i] - (0.5 * guide[i] + -2.0 * u[i]))).abs() < 1e-5);
                assert_eq!(out[i], base[i] + (0.5 * guide[i] + -2.0 * u[i]));
                assert!((combined[i] - (3.0 * base[i] - 0.75 * u[i])).abs() < 1e-5);
            }
            let expected: f64 = base.iter().zip(&u).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum();
            assert!((product - expected).abs() < 1e-9 * len as f64, "{product}, expected {expected}");
        }
    }
}
