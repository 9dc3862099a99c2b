//! Gumbel-softmax: a softmax of logits with noise, which falls near a one-hot draw at a low temperature.
//!
//! ```text
//! g = -ln(-ln u)        s = softmax((l + g) / t)        y = s, or one-hot(argmax(l + g))        dl = J_s(G) / t
//! ```
//! Source: Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017.

use rayon::prelude::*;

use super::softmax::{normalize, weights};
use super::{group, inverse, largest, sum};
use crate::math::ln;
use crate::simd::multiversion;

/// `soft` = s, and if asked for `hard` = one-hot rows of the largest `logits` + g; for the gradient of both see
/// [`softmax_backward`](super::softmax_backward) at `soft`.
///
/// The hard choice looks at the values before the softmax, which may round different ones to equal ones; of equal ones
/// the lowest index wins.
pub fn gumbel_softmax(
    logits: &[f32],
    uniform: &[f32],
    classes: usize,
    temperature: f32,
    soft: &mut [f32],
    hard: Option<&mut [f32]>,
) {
    assert!(logits.len() == soft.len() && logits.len() == uniform.len());
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let groups = soft.par_chunks_mut(group).zip(logits.par_chunks(group).zip(uniform.par_chunks(group)));
    match hard {
        None => groups.for_each(|(soft, (logits, uniform))| {
            add_gumbel(logits, uniform, soft);
            weights(classes, scale, soft);
            normalize(classes, soft);
        }),
        Some(hard) => {
            assert_eq!(logits.len(), hard.len());
            groups.zip(hard.par_chunks_mut(group)).for_each(|((soft, (logits, uniform)), hard)| {
                add_gumbel(logits, uniform, soft);
                one_hot_of_max_rows(soft, classes, hard);
                weights(classes, scale, soft);
                normalize(classes, soft);
            });
        }
    }
}

multiversion! {
    fn add_gumbel(logits: &[f32], uniform: &[f32], out: &mut [f32]) {
        for ((out, logit), u) in out.iter_mut().zip(logits).zip(uniform) {
            *out = logit - ln(-ln(*u));
        }
    }
}

multiversion! {
    /// `y` = one-hot rows of the largest values; of equal ones the lowest index wins.
    fn one_hot_of_max_rows(values: &[f32], classes: usize, y: &mut [f32]) {
        for (y, values) in y.chunks_exact_mut(classes).zip(values.chunks_exact(classes)) {
            let largest = largest(values);
            for (y, value) in y.iter_mut().zip(values) {
                *y = if *value == largest { 1.0 } else { 0.0 };
            }
            // A tie is rare; looking for one is a loop without an early end, which vectorises.
            if sum(y) != 1.0 {
                let first = y.iter().position(|y| *y == 1.0).unwrap_or(0);
                y.fill(0.0);
                y[first] = 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::softmax_backward;
    use crate::categorical::tests::{assert_close, cases, exact_backward, exact_softmax, for_end_rows};

    #[test]
    fn noise_is_precise_at_both_ends_of_the_uniform_values() {
        let uniform = [1e-38f32, 1e-20, 0.1, 0.5, 0.9, 0.999_999, 1.0 - f32::EPSILON / 2.0];
        let mut noise = [0.0; 7];
        add_gumbel(&[0.0; 7], &uniform, &mut noise);
        let exact: Vec<f64> = uniform.iter().map(|u| -(-f64::from(*u).ln()).ln()).collect();
        assert_close(&noise, &exact);
    }

    #[test]
    fn the_hard_choice_is_the_first_largest_and_sees_what_softmax_rounds_away() {
        let mut y = [9.0; 8];
        one_hot_of_max_rows(&[1.0, 3.0, 3.0, 2.0, -5.0, -7.0, -5.0, -5.0], 4, &mut y);
        assert_eq!(y, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let (mut soft, mut hard) = ([0.0; 2], [0.0; 2]);
        gumbel_softmax(&[0.0, 0.5], &[0.5, 0.5], 2, 1e9, &mut soft, Some(&mut hard));
        assert_eq!((soft, hard), ([0.5, 0.5], [0.0, 1.0]));
    }

    #[test]
    fn values_and_gradients_equal_the_formulas() {
        for (case, temperature) in cases() {
            let (mut soft, mut hard) = (vec![9.0; case.logits.len()], vec![9.0; case.logits.len()]);
            gumbel_softmax(&case.logits, &case.uniform, case.classes, temperature, &mut soft, Some(&mut hard));
            let mut only_soft = soft.clone();
            gumbel_softmax(&case.logits, &case.uniform, case.classes, temperature, &mut only_soft, None);
            assert_eq!(soft, only_soft);
            let noisy = |range: std::ops::Range<usize>| {
                let uniform = case.uniform[range.clone()].iter();
                let sum = |(l, u): (&f32, &f32)| f64::from(*l) - (-f64::from(*u).ln()).ln();
                exact_softmax(case.logits[range].iter().zip(uniform).map(sum), temperature)
            };
            for_end_rows(&case, &soft, |_, range, soft| assert_close(soft, &noisy(range)));
            let mut y = vec![9.0; case.logits.len()];
            one_hot_of_max_rows(&soft, case.classes, &mut y);
            assert_eq!(hard, y);
            softmax_backward(&soft, &case.gradient, case.classes, temperature, &mut y);
            for_end_rows(&case, &y, |_, range, dl| {
                let inverse = 1.0 / f64::from(temperature);
                assert_close(dl, &exact_backward(&noisy(range.clone()), &case.gradient[range], inverse));
            });
        }
    }
}
