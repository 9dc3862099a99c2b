//! The straight-through estimator: a draw whose gradient is that of the probabilities.
//!
//! ```text
//! y = D        s = softmax(l / t)        dl = J_s(G) / t
//! ```
//! Source: Bengio, Léonard, Courville, "Estimating or propagating gradients through stochastic neurons for conditional
//! computation", 2013.

use rayon::prelude::*;

use super::softmax::{backward_of_weights, weights};
use super::{group, inverse};

/// Gradient of the straight-through estimator: `out` = dl, whatever the sample was.
pub fn straight_through_backward(logits: &[f32], gradient: &[f32], classes: usize, temperature: f32, out: &mut [f32]) {
    assert!(logits.len() == out.len() && gradient.len() == out.len());
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let inputs = logits.par_chunks(group).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).for_each(|(out, (logits, gradient))| {
        out.copy_from_slice(logits);
        weights(classes, scale, out);
        backward_of_weights(gradient, classes, scale, out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::tests::{assert_close, cases, exact_backward, exact_softmax, for_end_rows, widened};

    #[test]
    fn gradients_equal_the_formula() {
        for (case, temperature) in cases() {
            let mut out = vec![9.0; case.logits.len()];
            straight_through_backward(&case.logits, &case.gradient, case.classes, temperature, &mut out);
            for_end_rows(&case, &out, |_, range, dl| {
                let s = exact_softmax(widened(&case.logits[range.clone()]), temperature);
                assert_close(dl, &exact_backward(&s, &case.gradient[range], 1.0 / f64::from(temperature)));
            });
        }
    }
}
