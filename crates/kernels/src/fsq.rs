//! Finite scalar quantisation: each of a few dimensions is squeezed to a handful of levels and rounded.
//!
//! With L levels in a dimension, L' = L div 2, and x of `[n, dimensions]`:
//!
//! ```text
//! h     = (L - 1) (1 + 1/1000) / 2,   o = 1/2 where L is even, else 0,   s = artanh(o / h)
//! n     = round(h tanh(x + s) - o)
//! y     = n / L'
//! index = sum over the dimensions of (n + L') times the product of the levels of the dimensions before
//! dx    = G (1 - tanh(x + s)^2) h / L'
//! ```
//! Source: Mentzer et al., "Finite scalar quantization: VQ-VAE made simple", ICLR 2024.

use rayon::prelude::*;

use crate::CHUNK;
use crate::math::{square_of_sech, tanh};
use crate::reduce::LANES;
use crate::simd::multiversion;

/// Values that an inner loop handles at least: a tail that does not fill a register then costs little.
const STRETCH: usize = 1024;

/// The constants of the dimensions, repeated over a stretch of whole vectors that also fills whole registers.
struct Constants {
    shift: Vec<f32>,
    width: Vec<f32>,
    offset: Vec<f32>,
    half: Vec<f32>,
}

impl Constants {
    fn new(levels: &[u32]) -> Self {
        let dimensions = levels.len();
        assert!(dimensions > 0 && levels.iter().all(|levels| *levels > 1));
        let repeats = LANES * STRETCH.div_ceil(LANES * dimensions);
        let spread = |value: fn(u32) -> f64| -> Vec<f32> {
            levels.iter().map(|levels| value(*levels) as f32).cycle().take(repeats * dimensions).collect()
        };
        Self {
            shift: spread(|levels| (offset(levels) / width(levels)).atanh()),
            width: spread(width),
            offset: spread(offset),
            half: spread(|levels| f64::from(levels / 2)),
        }
    }

    fn stretch(&self) -> usize {
        self.half.len()
    }

    /// Values that one task handles.
    fn task(&self) -> usize {
        CHUNK.div_ceil(self.stretch()) * self.stretch()
    }
}

fn width(levels: u32) -> f64 {
    (f64::from(levels) - 1.0) * 1.001 / 2.0
}

fn offset(levels: u32) -> f64 {
    if levels.is_multiple_of(2) { 0.5 } else { 0.0 }
}

/// `y` = `x` quantised, where `levels` holds a number of levels for each dimension, and if asked for the index of each
/// vector among all that exist.
pub fn fsq(x: &[f32], levels: &[u32], y: &mut [f32], indices: Option<&mut [i64]>) {
    assert!(x.len() == y.len() && x.len().is_multiple_of(levels.len()));
    let constants = Constants::new(levels);
    let (stretch, task) = (constants.stretch(), constants.task());
    let forward = |x: &[f32], y: &mut [f32]| {
        for (y, x) in y.chunks_mut(stretch).zip(x.chunks(stretch)) {
            round_block(x, &constants.shift, &constants.width, &constants.offset, y);
        }
    };
    let divide = |y: &mut [f32]| y.chunks_mut(stretch).for_each(|y| divide_block(&constants.half, y));
    let tasks = y.par_chunks_mut(task).zip(x.par_chunks(task));
    match indices {
        None => tasks.for_each(|(y, x)| {
            forward(x, y);
            divide(y);
        }),
        Some(indices) => {
            assert_eq!(indices.len() * levels.len(), x.len());
            tasks.zip(indices.par_chunks_mut(task / levels.len())).for_each(|((y, x), indices)| {
                forward(x, y);
                index_block(y, levels, indices);
                divide(y);
            });
        }
    }
}

/// Gradient of [`fsq`] with rounding taken for the identity.
pub fn fsq_backward(x: &[f32], gradient: &[f32], levels: &[u32], input_gradient: &mut [f32]) {
    assert!(x.len() == input_gradient.len() && gradient.len() == x.len() && x.len().is_multiple_of(levels.len()));
    let constants = Constants::new(levels);
    let (stretch, task) = (constants.stretch(), constants.task());
    let slope: Vec<f32> = constants.width.iter().zip(&constants.half).map(|(width, half)| width / half).collect();
    let inputs = x.par_chunks(task).zip(gradient.par_chunks(task));
    input_gradient.par_chunks_mut(task).zip(inputs).for_each(|(out, (x, gradient))| {
        let inputs = x.chunks(stretch).zip(gradient.chunks(stretch));
        for (out, (x, gradient)) in out.chunks_mut(stretch).zip(inputs) {
            backward_block(x, gradient, &constants.shift, &slope, out);
        }
    });
}

multiversion! {
    fn round_block(x: &[f32], shift: &[f32], width: &[f32], offset: &[f32], n: &mut [f32]) {
        for ((((n, x), shift), width), offset) in n.iter_mut().zip(x).zip(shift).zip(width).zip(offset) {
            *n = (tanh(x + shift) * width - offset).round_ties_even();
        }
    }
}

multiversion! {
    fn divide_block(half: &[f32], y: &mut [f32]) {
        for (y, half) in y.iter_mut().zip(half) {
            *y /= half;
        }
    }
}

multiversion! {
    fn index_block(n: &[f32], levels: &[u32], indices: &mut [i64]) {
        for (index, n) in indices.iter_mut().zip(n.chunks_exact(levels.len())) {
            let (mut sum, mut basis) = (0, 1);
            for (n, levels) in n.iter().zip(levels) {
                sum += (*n as i64 + i64::from(levels / 2)) * basis;
                basis *= i64::from(*levels);
            }
            *index = sum;
        }
    }
}

multiversion! {
    fn backward_block(x: &[f32], gradient: &[f32], shift: &[f32], slope: &[f32], out: &mut [f32]) {
        for ((((out, x), gradient), shift), slope) in out.iter_mut().zip(x).zip(gradient).zip(shift).zip(slope) {
            *out = gradient * square_of_sech(x + shift) * slope;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_ends_and_the_middle_of_each_number_of_levels() {
        let levels = [2, 3, 4, 5, 8];
        let x = [[-50.0f32; 5], [0.0; 5], [50.0; 5]].concat();
        let (mut y, mut indices) = ([9.0; 15], [9; 3]);
        fsq(&x, &levels, &mut y, Some(&mut indices));
        assert_eq!(y[..5], [-1.0; 5]);
        assert_eq!(y[5..10], [0.0; 5]);
        assert_eq!(y[10..], [0.0, 1.0, 0.5, 1.0, 0.75]);
        assert_eq!(indices, [0, 1 + 2 + 2 * 6 + 2 * 24 + 4 * 120, 2 * 3 * 4 * 5 * 8 - 1]);
    }

    #[test]
    fn values_and_gradients_of_long_inputs_equal_the_formulas() {
        let levels = [8, 5, 6];
        let mut x = vec![0.0; 3 * 7001];
        Random::new(2, 0, 0).fill_normal(&mut x);
        let gradient: Vec<f32> = x.iter().map(|x| 1.0 - x).collect();
        let (mut y, mut dx, mut indices) = (vec![9.0; x.len()], vec![9.0; x.len()], vec![9; 7001]);
        fsq(&x, &levels, &mut y, Some(&mut indices));
        fsq_backward(&x, &gradient, &levels, &mut dx);
        let mut only_y = vec![9.0; x.len()];
        fsq(&x, &levels, &mut only_y, None);
        assert_eq!(y, only_y);
        for (vector, index) in indices.iter().enumerate() {
            let (mut expected, mut basis) = (0.0, 1.0);
            for (dimension, levels) in levels.iter().enumerate() {
                let place = 3 * vector + dimension;
                let (h, o, half) = (width(*levels), offset(*levels), f64::from(levels / 2));
                let t = (f64::from(x[place]) + (o / h).atanh()).tanh();
                let n = f64::from(y[place]) * half;
                assert!((n - n.round()).abs() < 1e-6 && (n - (h * t - o)).abs() < 0.500_001);
                expected += (n.round() + half) * basis;
                basis *= f64::from(*levels);
                let slope = f64::from(gradient[place]) * (1.0 - t * t) * h / half;
                assert!((f64::from(dx[place]) - slope).abs() < 1e-6 * (1.0 + slope.abs()));
            }
            assert_eq!(*index as f64, expected);
        }
    }

    #[test]
    fn far_gradients_do_not_cancel() {
        let mut dx = [9.0; 2];
        fsq_backward(&[12.0, -12.0], &[1.0, 1.0], &[5], &mut dx);
        let expected = 12f64.cosh().powi(-2) * width(5) / 2.0;
        assert!(dx.iter().all(|dx| (f64::from(*dx) / expected - 1.0).abs() < 1e-6), "{dx:?}, exact {expected}");
    }
}
