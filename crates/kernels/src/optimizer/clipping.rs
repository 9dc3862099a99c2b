//! Clipping of gradients by their global norm.
//!
//! ```text
//! norm = sqrt(sum of g^2 over all gradients)          factor = min(1, max_norm / (norm + 1e-6))
//! ```
//! The factor goes into the field `gradient_factor` of the optimizers, so that clipping needs no pass of its own.
//! Source: Pascanu, Mikolov and Bengio, ICML 2013; the 1e-6 is that of `torch.nn.utils.clip_grad_norm_`.

use rayon::prelude::*;

use crate::CHUNK;
use crate::reduce::LANES;
use crate::simd::multiversion;

/// The norm of all values of all `gradients` together. It cannot overflow: it is infinite or not a number only if a value is.
pub fn global_norm(gradients: &[&[f32]]) -> f64 {
    let pieces = || gradients.iter().flat_map(|gradient| gradient.chunks(CHUNK));
    if gradients.iter().map(|gradient| gradient.len()).sum::<usize>() <= CHUNK {
        return pieces().map(sum_of_squares).sum::<f64>().sqrt();
    }
    let sums: Vec<f64> = pieces().collect::<Vec<_>>().into_par_iter().map(sum_of_squares).collect();
    sums.into_iter().sum::<f64>().sqrt()
}

/// What gradients of this `norm` are multiplied with so that their norm does not exceed `max_norm`; 1 if it does not anyway.
///
/// NaN if the norm is infinite or not a number, and a step with this factor would make every weight a NaN: check it first.
/// (PyTorch gives 0 for an infinite norm, which turns only the infinite gradients into NaN.)
pub fn clip_factor(norm: f64, max_norm: f32) -> f32 {
    if !norm.is_finite() {
        return f32::NAN;
    }
    (f64::from(max_norm) / (norm + 1e-6)).min(1.0) as f32
}

multiversion! {
    fn sum_of_squares(x: &[f32]) -> f64 {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let mut lanes = [0.0f64; LANES];
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += f64::from(*x) * f64::from(*x);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LENGTHS, normal};
    use super::*;
    use crate::threads::same_for_threads;

    #[test]
    fn norms_by_hand() {
        assert_eq!(global_norm(&[]), 0.0);
        assert_eq!(global_norm(&[&[], &[3.0], &[0.0, -4.0]]), 5.0);
        // Squares that f32 does not hold.
        assert!((global_norm(&[&[3e38], &[3e38]]) / 3e38 - 2f64.sqrt()).abs() < 1e-6);
        assert_eq!(global_norm(&[&[1e-40; 4]]), 2.0 * f64::from(1e-40f32));
    }

    #[test]
    fn the_norm_agrees_with_doubles_for_any_length_and_number_of_threads() {
        let gradients: Vec<Vec<f32>> = LENGTHS.iter().map(|len| normal(*len, 0)).collect();
        for count in 0..=gradients.len() {
            let slices: Vec<&[f32]> = gradients[..count].iter().map(Vec::as_slice).collect();
            let expected = slices.concat().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let norm = same_for_threads(|| global_norm(&slices));
            assert!((norm - expected).abs() <= 1e-12 * expected, "{norm} {expected}");
        }
    }

    #[test]
    fn factors_by_hand() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(4.0, 1.0), (1.0 / 4.000001) as f32);
        assert_eq!(clip_factor(4.0, 0.0), 0.0);
        assert!([f64::NAN, f64::INFINITY].into_iter().all(|norm| clip_factor(norm, 1.0).is_nan()));
    }

    #[test]
    fn a_bad_value_shows_in_the_factor() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut gradient = normal(CHUNK + 3, 0);
            gradient[CHUNK + 1] = bad;
            assert!(clip_factor(global_norm(&[&[1.0], &gradient]), 1.0).is_nan());
        }
    }
}
