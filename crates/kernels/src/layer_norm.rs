//! Layer normalisation of [rows, width], each row by itself, with its gradients.
//!
//! ```text
//! inverse = 1 / sqrt(variance + epsilon)      mean and (biased) variance of the row
//! n       = (x - mean) inverse
//! y       = n gamma + beta                    a gamma and a beta a column
//! ```
//! The variance is the mean square of x - mean, so a large mean cancels nothing. Source: Ba, Kiros and Hinton, "Layer
//! normalization", arXiv 1607.06450, 2016.

use rayon::prelude::*;

use crate::CHUNK;
use crate::categorical::{sum, sum_of_products};
use crate::memory::Fresh;
use crate::reduce::sum_of_parts;
use crate::simd::multiversion;

/// The least number of rows that one task handles: its sums over the columns stay small beside its rows.
const LEAST_ROWS: usize = 16;

/// What the backward pass needs of each row.
pub struct Statistics {
    /// The mean.
    pub mean: Vec<f32>,
    /// 1 / sqrt(variance + epsilon).
    pub inverse: Vec<f32>,
}

/// Gradients of the three inputs.
pub struct Gradients {
    /// With respect to x.
    pub input: Vec<f32>,
    /// With respect to gamma.
    pub gamma: Vec<f32>,
    /// With respect to beta.
    pub beta: Vec<f32>,
}

/// y and the statistics of the rows, which are as wide as `gamma`.
pub fn forward(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> (Vec<f32>, Statistics) {
    assert_eq!(gamma.len(), beta.len());
    let (width, count) = (gamma.len(), rows(x, gamma));
    let task = rows_a_task(width);
    let (mut y, mut mean, mut inverse) = (Fresh::new(x.len()), Fresh::new(count), Fresh::new(count));
    let statistics = mean.pieces(task).zip(inverse.pieces(task));
    y.pieces(task * width).zip(statistics).zip(x.par_chunks(task * width)).for_each(|((y, (mean, inverse)), x)| {
        normalize(x, gamma, beta, epsilon, y.open(), mean.open(), inverse.open());
    });
    (y.finish(), Statistics { mean: mean.finish(), inverse: inverse.finish() })
}

/// y alone into `y`, on this thread; the bits are those of [`forward`].
///
/// # Panics
/// If a length does not fit.
pub fn forward_rows(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]) {
    assert_eq!(gamma.len(), beta.len());
    assert_eq!(y.len(), rows(x, gamma) * gamma.len());
    normalize_rows(x, gamma, beta, epsilon, y);
}

/// Gradients for the gradient G of y; `mean` and `inverse` are the [`Statistics`] of the rows.
///
/// ```text
/// dbeta = sum over the rows of G      dgamma = sum over the rows of G n
/// g     = G gamma                     dx     = inverse (g - mean of g - n mean of (g n)),  means over the row
/// ```
pub fn backward(x: &[f32], gradient: &[f32], gamma: &[f32], mean: &[f32], inverse: &[f32]) -> Gradients {
    let (width, count) = (gamma.len(), rows(x, gamma));
    assert!(gradient.len() == x.len() && mean.len() == count && inverse.len() == count);
    let task = rows_a_task(width);
    let statistics = mean.par_chunks(task).zip(inverse.par_chunks(task));
    let inputs = x.par_chunks(task * width).zip(gradient.par_chunks(task * width)).zip(statistics);
    let mut input = Fresh::new(x.len());
    let parts = input.pieces(task * width).zip(inputs).map(|(out, ((x, gradient), (mean, inverse)))| {
        let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);
        gradients(x, gradient, gamma, mean, inverse, out.open(), &mut dgamma, &mut dbeta);
        (dgamma, dbeta)
    });
    let (gamma_parts, beta_parts): (Vec<_>, Vec<_>) = parts.unzip();
    let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);
    sum_of_parts(&gamma_parts, &mut dgamma);
    sum_of_parts(&beta_parts, &mut dbeta);
    Gradients { input: input.finish(), gamma: dgamma, beta: dbeta }
}

/// Number of rows.
fn rows(x: &[f32], gamma: &[f32]) -> usize {
    assert!(!gamma.is_empty() && x.len().is_multiple_of(gamma.len()), "{} values, {} a row", x.len(), gamma.len());
    x.len() / gamma.len()
}

/// Rows that one task handles.
fn rows_a_task(width: usize) -> usize {
    (CHUNK / width).max(LEAST_ROWS)
}

multiversion! {
    fn normalize(
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        epsilon: f32,
        y: &mut [f32],
        mean: &mut [f32],
        inverse: &mut [f32],
    ) {
        let width = gamma.len();
        let statistics = mean.iter_mut().zip(inverse);
        for ((x, y), (mean, inverse)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics) {
            (*mean, *inverse) = normalize_row(x, gamma, beta, epsilon, y);
        }
    }
}

multiversion! {
    fn normalize_rows(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]) {
        let width = gamma.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            normalize_row(x, gamma, beta, epsilon, y);
        }
    }
}

/// y of one row; gives its mean and 1 / sqrt(variance + epsilon).
#[inline(always)]
fn normalize_row(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]) -> (f32, f32) {
    let width = gamma.len() as f32;
    let mean = sum(x) / width;
    for (y, x) in y.iter_mut().zip(x) {
        *y = x - mean;
    }
    let inverse = 1.0 / (sum_of_products(y, y, 0.0) / width + epsilon).sqrt();
    for ((y, gamma), beta) in y.iter_mut().zip(gamma).zip(beta) {
        *y = *y * inverse * gamma + beta;
    }
    (mean, inverse)
}

multiversion! {
    fn gradients(
        x: &[f32],
        gradient: &[f32],
        gamma: &[f32],
        mean: &[f32],
        inverse: &[f32],
        out: &mut [f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let width = gamma.len();
        let inputs = x.chunks_exact(width).zip(gradient.chunks_exact(width)).zip(mean.iter().zip(inverse));
        for (out, ((x, gradient), (mean, inverse))) in out.chunks_exact_mut(width).zip(inputs) {
            add_columns(x, gradient, *mean, *inverse, dgamma, dbeta);
            for ((out, gradient), gamma) in out.iter_mut().zip(gradient).zip(gamma) {
                *out = gradient * gamma;
            }
            let shift = sum(out) / width as f32;
            let slope = sum_of_products(out, x, *mean) * *inverse * *inverse / width as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = (*out - shift - (x - mean) * slope) * inverse;
            }
        }
    }
}

/// Adds the shares of one row to the gradients of gamma and beta.
#[inline(always)]
fn add_columns(x: &[f32], gradient: &[f32], mean: f32, inverse: f32, dgamma: &mut [f32], dbeta: &mut [f32]) {
    for (((x, gradient), dgamma), dbeta) in x.iter().zip(gradient).zip(dgamma).zip(dbeta) {
        *dgamma += gradient * ((x - mean) * inverse);
        *dbeta += gradient;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    const EPSILON: f32 = 1e-5;

    fn normals(len: usize, stream: u32) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(5, 0, stream).fill_normal(&mut x);
        x
    }

    fn widened(x: &[f32]) -> Vec<f64> {
        x.iter().copied().map(f64::from).collect()
    }

    /// Forward in double precision.
    fn exact(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let count = gamma.len() as f64;
        let row = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + f64::from(EPSILON)).sqrt();
            x.iter().zip(gamma).zip(beta).map(|((x, g), b)| (x - mean) / deviation * g + b).collect::<Vec<_>>()
        };
        x.chunks(gamma.len()).flat_map(row).collect()
    }

    /// The derivative of sum(y G) in double precision when value `index` of input `which` moves.
    fn difference(inputs: &[Vec<f64>; 3], gradient: &[f32], which: usize, index: usize) -> f64 {
        let loss = |step: f64| -> f64 {
            let mut moved = inputs.clone();
            moved[which][index] += step;
            let y = exact(&moved[0], &moved[1], &moved[2]);
            y.iter().zip(gradient).map(|(y, g)| y * f64::from(*g)).sum()
        };
        (loss(1e-5) - loss(-1e-5)) / 2e-5
    }

    #[test]
    fn a_hand_table() {
        let (y, statistics) = forward(&[1.0, 3.0, 5.0, 5.0], &[1.0, 2.0], &[0.0, 1.0], 0.0);
        assert_eq!(y[..2], [-1.0, 3.0]);
        assert_eq!((statistics.mean, statistics.inverse), (vec![2.0, 5.0], vec![1.0, f32::INFINITY]));
        let (y, _) = forward(&[5.0, 5.0], &[1.0, 2.0], &[0.0, 1.0], EPSILON);
        assert_eq!(y, [0.0, 1.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn values_and_gradients_equal_the_formulas(rows in 1usize..40, width in 2usize..70, offset in -30f32..30.0) {
            let x: Vec<f32> = normals(rows * width, 0).iter().map(|x| 2.0 * x + offset).collect();
            let (gamma, beta, gradient) = (normals(width, 1), normals(width, 2), normals(x.len(), 3));
            let (y, statistics) = forward(&x, &gamma, &beta, EPSILON);
            let found = backward(&x, &gradient, &gamma, &statistics.mean, &statistics.inverse);
            let inputs = [widened(&x), widened(&gamma), widened(&beta)];
            // A row of two equal values amplifies the rounding of x by its inverse deviation.
            for (index, (y, exact)) in y.iter().zip(exact(&inputs[0], &inputs[1], &inputs[2])).enumerate() {
                let bound = 2e-5 * (1.0 + statistics.inverse[index / width]);
                prop_assert!((f64::from(*y) - exact).abs() < f64::from(bound), "{y} {exact}");
            }
            for (which, found) in [&found.input, &found.gamma, &found.beta].into_iter().enumerate() {
                for index in (0..found.len()).step_by(found.len().div_ceil(9)) {
                    let expected = difference(&inputs, &gradient, which, index);
                    let size = if which == 0 { statistics.inverse[index / width] } else { 1.0 };
                    let bound = 1e-4 * f64::from((1.0 + size) * (1.0 + size));
                    prop_assert!((f64::from(found[index]) - expected).abs() < bound, "{} {expected}", found[index]);
                }
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_spoil_the_variance() {
        let x: Vec<f32> = (0..192).map(|i| 1e6 + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let (y, _) = forward(&x, &[1.0; 192], &[0.0; 192], EPSILON);
        assert!(y.iter().all(|y| (y.abs() - 1.0).abs() < 0.07), "{y:?}");
        let (y, _) = forward(&[1e15, -1e15, 1e15, -1e15], &[1.0; 4], &[0.0; 4], EPSILON);
        assert_eq!(y, [1.0, -1.0, 1.0, -1.0]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let width = 67;
        let (x, gradient) = (normals(701 * width, 0), normals(701 * width, 1));
        let (gamma, beta) = (normals(width, 2), normals(width, 3));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (y, Statistics { mean, inverse }) = forward(&x, &gamma, &beta, EPSILON);
                let Gradients { input, gamma, beta } = backward(&x, &gradient, &gamma, &mean, &inverse);
                [y, mean, inverse, input, gamma, beta]
            })
        };
        assert!(run(1) == run(2) && run(1) == run(3));
    }

    #[test]
    fn one_thread_gives_the_same_bits() {
        for width in [1, 15, 67, 400] {
            let (x, gamma, beta) = (normals(91 * width, 0), normals(width, 2), normals(width, 3));
            let mut y = vec![9.0; x.len()];
            forward_rows(&x, &gamma, &beta, EPSILON, &mut y);
            let (expected, _) = forward(&x, &gamma, &beta, EPSILON);
            assert!(y.iter().map(|y| y.to_bits()).eq(expected.into_iter().map(f32::to_bits)), "width {width}");
        }
    }

    #[test]
    fn no_rows_give_no_values() {
        let (y, Statistics { mean, inverse }) = forward(&[], &[1.0; 3], &[0.0; 3], EPSILON);
        let found = backward(&[], &[], &[1.0; 3], &mean, &inverse);
        assert!(y.is_empty() && found.input.is_empty());
        assert_eq!((found.gamma, found.beta), (vec![0.0; 3], vec![0.0; 3]));
    }
}
