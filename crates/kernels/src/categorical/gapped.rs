//! The gapped straight-through estimator: logits are moved until the drawn class leads by a gap.
//!
//! ```text
//! y = D        s = softmax((l + m1 - m2) / t)        dl = J_s(G) / t
//! m1 = (max l - l_D) D        m2 = max(0, l + gap - max l) (1 - D)        both held constant
//! ```
//! Source: Fan et al., "Training discrete deep generative models via gapped straight-through estimator", ICML 2022.

use rayon::prelude::*;

use super::softmax::backward_of_weights;
use super::{group, inverse, largest};
use crate::math::exp;
use crate::simd::multiversion;

/// Gradient of the gapped straight-through estimator: `out` = dl; `gap` must not be negative.
pub fn gapped_backward(
    logits: &[f32],
    sample: &[f32],
    gradient: &[f32],
    classes: usize,
    temperature: f32,
    gap: f32,
    out: &mut [f32],
) {
    assert!(logits.len() == out.len() && gradient.len() == out.len() && sample.len() * classes == out.len());
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let inputs =
        logits.par_chunks(group).zip(sample.par_chunks(group / classes.max(1))).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).for_each(|(out, ((logits, sample), gradient))| {
        gapped_weights(logits, sample, classes, scale, gap, out);
        backward_of_weights(gradient, classes, scale, out);
    });
}

multiversion! {
    /// Weights of softmax((l + m1 - m2) / t): m1 lifts the sampled class to the largest logit, m2 pushes the others at
    /// least `gap` below it.
    fn gapped_weights(logits: &[f32], sample: &[f32], classes: usize, scale: f32, gap: f32, out: &mut [f32]) {
        let rows = logits.chunks_exact(classes).zip(sample);
        for (out, (logits, sample)) in out.chunks_exact_mut(classes).zip(rows) {
            let largest = largest(logits);
            for (out, logit) in out.iter_mut().zip(logits) {
                let below = *logit - largest;
                *out = (if below < -gap { below } else { -gap }) * scale;
            }
            out[*sample as usize] = 0.0;
        }
        for x in out {
            *x = exp(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::tests::{assert_close, cases, exact_backward, exact_softmax, for_end_rows, widened};

    #[test]
    fn gradients_equal_the_formula() {
        for (case, temperature) in cases() {
            let (gap, mut out) = (1.5, vec![9.0; case.logits.len()]);
            gapped_backward(&case.logits, &case.sample, &case.gradient, case.classes, temperature, gap, &mut out);
            for_end_rows(&case, &out, |drawn, range, dl| {
                let logits: Vec<f64> = widened(&case.logits[range.clone()]).collect();
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let moved = logits.iter().enumerate().map(|(class, l)| match class == drawn {
                    true => l + (largest - logits[drawn]),
                    false => l - (l + f64::from(gap) - largest).max(0.0),
                });
                let s = exact_softmax(moved, temperature);
                assert_close(dl, &exact_backward(&s, &case.gradient[range], 1.0 / f64::from(temperature)));
            });
        }
    }
}
