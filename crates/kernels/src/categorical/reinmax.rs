//! The ReinMax estimator: a straight-through gradient that is accurate to the second order.
//!
//! ```text
//! y = D        p = softmax(l)        s = softmax(l / t)        q = (s + D) / 2        dl = J_q(2 G) - J_p(G) / 2
//! ```
//! Source: Liu et al., "Bridging discrete and backpropagation: straight-through and beyond", NeurIPS 2023.
//!
//! J_s(G) does not change when a constant is added to G, so ReinMax takes H = G - G_D, which is 0 in the sampled class.
//! With the means a = q . H = (s . H) / 2 and b = p . H, its gradient is
//!
//! ```text
//! (s + D) (H - a) - p (H - b) / 2
//! ```
//! At temperature 1, s is p and b is 2 a: what remains is p H / 2 in the other classes and -b / 2 in the sampled one.

use rayon::prelude::*;

use super::softmax::weights;
use super::{group, inverse, sum, sum_of_products};
use crate::simd::multiversion;

/// Gradient of the ReinMax estimator: `out` = dl.
pub fn reinmax_backward(
    logits: &[f32],
    sample: &[f32],
    gradient: &[f32],
    classes: usize,
    temperature: f32,
    out: &mut [f32],
) {
    assert!(logits.len() == out.len() && gradient.len() == out.len() && sample.len() * classes == out.len());
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let inputs =
        logits.par_chunks(group).zip(sample.par_chunks(group / classes.max(1))).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).for_each_init(Vec::new, |p, (out, ((logits, sample), gradient))| {
        out.copy_from_slice(logits);
        weights(classes, scale, out);
        if scale == 1.0 {
            reinmax(sample, gradient, classes, out);
        } else {
            p.clear();
            p.extend_from_slice(logits);
            weights(classes, 1.0, p);
            tempered_reinmax(sample, gradient, p, classes, out);
        }
    });
}

multiversion! {
    /// `rows` of weights at temperature 1 become the gradient of ReinMax.
    fn reinmax(sample: &[f32], gradient: &[f32], classes: usize, rows: &mut [f32]) {
        let inputs = gradient.chunks_exact(classes).zip(sample);
        for (row, (gradient, sample)) in rows.chunks_exact_mut(classes).zip(inputs) {
            let drawn = *sample as usize;
            let (factor, base) = (0.5 / sum(row), gradient[drawn]);
            for (x, gradient) in row.iter_mut().zip(gradient) {
                *x = *x * factor * (gradient - base);
            }
            row[drawn] = -sum(row);
        }
    }
}

multiversion! {
    /// `rows` of weights at the temperature become the gradient of ReinMax; `p` holds the weights at temperature 1.
    fn tempered_reinmax(sample: &[f32], gradient: &[f32], p: &[f32], classes: usize, rows: &mut [f32]) {
        let inputs = gradient.chunks_exact(classes).zip(p.chunks_exact(classes)).zip(sample);
        for (row, ((gradient, p), sample)) in rows.chunks_exact_mut(classes).zip(inputs) {
            let drawn = *sample as usize;
            let base = gradient[drawn];
            let (s_factor, p_factor) = (1.0 / sum(row), 0.5 / sum(p));
            let a = 0.5 * s_factor * sum_of_products(row, gradient, base);
            let b = 2.0 * p_factor * sum_of_products(p, gradient, base);
            for ((x, p), gradient) in row.iter_mut().zip(p).zip(gradient) {
                let h = gradient - base;
                *x = *x * s_factor * (h - a) - p * p_factor * (h - b);
            }
            row[drawn] -= a;
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
            let mut out = vec![9.0; case.logits.len()];
            reinmax_backward(&case.logits, &case.sample, &case.gradient, case.classes, temperature, &mut out);
            for_end_rows(&case, &out, |drawn, range, dl| {
                let gradient = &case.gradient[range.clone()];
                let p = exact_softmax(widened(&case.logits[range.clone()]), 1.0);
                let mut q = exact_softmax(widened(&case.logits[range]), temperature);
                q[drawn] += 1.0;
                q.iter_mut().for_each(|q| *q /= 2.0);
                let (q, p) = (exact_backward(&q, gradient, 2.0), exact_backward(&p, gradient, 0.5));
                assert_close(dl, &q.iter().zip(p).map(|(q, p)| q - p).collect::<Vec<_>>());
            });
        }
    }
}
