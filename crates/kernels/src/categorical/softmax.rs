//! Softmax with a temperature.
//!
//! ```text
//! y = s = softmax(l / t)        dl = J_s(G) / t
//! ```
//! Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

use rayon::prelude::*;

use super::{group, inverse, largest, sum, sum_of_products};
use crate::math::exp;
use crate::simd::multiversion;

/// `soft` = softmax(`logits` / `temperature`).
pub fn softmax(logits: &[f32], classes: usize, temperature: f32, soft: &mut [f32]) {
    assert_eq!(logits.len(), soft.len());
    let (group, scale) = (group(classes, logits), inverse(temperature));
    soft.par_chunks_mut(group).zip(logits.par_chunks(group)).for_each(|(soft, logits)| {
        soft.copy_from_slice(logits);
        weights(classes, scale, soft);
        normalize(classes, soft);
    });
}

/// Gradient of a softmax whose value was `soft`: `out` = J_soft(`gradient`) / `temperature`.
pub fn softmax_backward(soft: &[f32], gradient: &[f32], classes: usize, temperature: f32, out: &mut [f32]) {
    assert!(soft.len() == out.len() && gradient.len() == out.len());
    let (group, scale) = (group(classes, soft), inverse(temperature));
    let inputs = soft.par_chunks(group).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).for_each(|(out, (soft, gradient))| {
        backward_of_soft(soft, gradient, classes, scale, out);
    });
}

multiversion! {
    /// `rows` becomes exp(scale (row - largest of the row)): the softmax but for the division by the row's sum.
    pub(crate) fn weights(classes: usize, scale: f32, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(classes) {
            let largest = largest(row);
            for x in row {
                *x = (*x - largest) * scale;
            }
        }
        for x in rows {
            *x = exp(*x);
        }
    }
}

multiversion! {
    /// Divides each row by its sum.
    pub(crate) fn normalize(classes: usize, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(classes) {
            let factor = 1.0 / sum(row);
            for x in row {
                *x *= factor;
            }
        }
    }
}

multiversion! {
    fn backward_of_soft(soft: &[f32], gradient: &[f32], classes: usize, scale: f32, out: &mut [f32]) {
        let rows = soft.chunks_exact(classes).zip(gradient.chunks_exact(classes));
        for (out, (soft, gradient)) in out.chunks_exact_mut(classes).zip(rows) {
            let mean = sum_of_products(soft, gradient, 0.0);
            for ((out, soft), gradient) in out.iter_mut().zip(soft).zip(gradient) {
                *out = soft * (gradient - mean) * scale;
            }
        }
    }
}

multiversion! {
    /// `rows` of weights become J_s(gradient) scale, where s is the weights divided by their sum.
    pub(super) fn backward_of_weights(gradient: &[f32], classes: usize, scale: f32, rows: &mut [f32]) {
        for (row, gradient) in rows.chunks_exact_mut(classes).zip(gradient.chunks_exact(classes)) {
            let factor = 1.0 / sum(row);
            let mean = sum_of_products(row, gradient, 0.0) * factor;
            for (x, gradient) in row.iter_mut().zip(gradient) {
                *x = *x * factor * (gradient - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::tests::{assert_close, cases, exact_backward, exact_softmax, for_end_rows, widened};

    #[test]
    fn a_hand_table() {
        let mut soft = [9.0; 6];
        softmax(&[0.0, 2f32.ln(), 5f32.ln(), 1e4, 1e4, -1e4], 3, 1.0, &mut soft);
        assert_close(&soft, &[0.125, 0.25, 0.625, 0.5, 0.5, 0.0]);
        softmax(&[0.0, 2f32.ln()], 2, 0.5, &mut soft[..2]);
        assert_close(&soft[..2], &[0.2, 0.8]);
        let mut dl = [9.0; 3];
        softmax_backward(&[0.125, 0.25, 0.625], &[8.0, 0.0, 0.0], 3, 0.5, &mut dl);
        assert_eq!(dl, [1.75, -0.5, -1.25]);
    }

    #[test]
    fn values_and_gradients_equal_the_formulas() {
        for (case, temperature) in cases() {
            let (mut soft, mut dl) = (vec![9.0; case.logits.len()], vec![9.0; case.logits.len()]);
            softmax(&case.logits, case.classes, temperature, &mut soft);
            softmax_backward(&soft, &case.gradient, case.classes, temperature, &mut dl);
            let exact = |range: std::ops::Range<usize>| exact_softmax(widened(&case.logits[range]), temperature);
            for_end_rows(&case, &soft, |_, range, soft| assert_close(soft, &exact(range)));
            for_end_rows(&case, &dl, |_, range, dl| {
                let inverse = 1.0 / f64::from(temperature);
                assert_close(dl, &exact_backward(&exact(range.clone()), &case.gradient[range], inverse));
            });
        }
    }
}
