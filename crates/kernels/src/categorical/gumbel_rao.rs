//! The Gumbel-Rao estimator: the Gumbel-softmax gradient, averaged over noise that leads to the same draw.
//!
//! ```text
//! y = D        s_k = softmax((l + g_k) / t), g_k held constant        dl = mean over k of J_s_k(G) / t
//! E = -ln u_k        Z = sum of exp(l)
//! l + g_k = -ln E_D + ln Z in the sampled class, -ln(E / exp(l) + E_D / Z) in the others
//! ```
//! g_k is Gumbel noise given that the largest l + g_k is in the sampled class. Source: Paulus, Maddison, Krause,
//! "Rao-Blackwellizing the straight-through Gumbel-softmax gradient estimator", ICLR 2021.

use rayon::prelude::*;

use super::softmax::weights;
use super::{group, inverse, largest, sum, sum_of_products};
use crate::math::{exp, ln};
use crate::simd::multiversion;

/// Gradient of the Gumbel-Rao estimator: `out` = dl. `uniform` holds a value for each of `logits`, then the next
/// sample's, and so on: its length tells over how many samples to average.
pub fn gumbel_rao_backward(
    logits: &[f32],
    sample: &[f32],
    uniform: &[f32],
    gradient: &[f32],
    classes: usize,
    temperature: f32,
    out: &mut [f32],
) {
    assert!(logits.len() == out.len() && gradient.len() == out.len() && sample.len() * classes == out.len());
    if logits.is_empty() {
        return;
    }
    assert!(!uniform.is_empty() && uniform.len().is_multiple_of(logits.len()));
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let samples = uniform.len() / logits.len();
    let inputs =
        logits.par_chunks(group).zip(sample.par_chunks(group / classes.max(1))).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).enumerate().for_each_init(
        || vec![0.0; 3 * group],
        |scratch, (index, (out, ((logits, sample), gradient)))| {
            let (log_p, rest) = scratch[..3 * logits.len()].split_at_mut(logits.len());
            let (p, soft) = rest.split_at_mut(logits.len());
            log_p.copy_from_slice(logits);
            log_probabilities(classes, log_p, p);
            take_out(sample, classes, log_p, p);
            out.fill(0.0);
            for uniform in uniform.chunks_exact(uniform.len() / samples) {
                let uniform = &uniform[index * group..][..logits.len()];
                if scale == 1.0 {
                    conditional_gumbel_weights(p, sample, uniform, classes, soft);
                } else {
                    add_conditional_gumbel(log_p, p, sample, uniform, classes, soft);
                    weights(classes, scale, soft);
                }
                add_backward_of_weights(soft, gradient, classes, scale / samples as f32, out);
            }
        },
    );
}

multiversion! {
    /// `rows` of logits become logarithms of probabilities, `p` the probabilities.
    fn log_probabilities(classes: usize, rows: &mut [f32], p: &mut [f32]) {
        for row in rows.chunks_exact_mut(classes) {
            let largest = largest(row);
            for x in row {
                *x -= largest;
            }
        }
        for (p, x) in p.iter_mut().zip(rows.iter()) {
            *p = exp(*x);
        }
        for (row, p) in rows.chunks_exact_mut(classes).zip(p.chunks_exact_mut(classes)) {
            let sum = sum(p);
            let (log_sum, factor) = (ln(sum), 1.0 / sum);
            for (x, p) in row.iter_mut().zip(p) {
                *x -= log_sum;
                *p *= factor;
            }
        }
    }
}

/// Makes `p` and `log_p` 0 in the sampled classes. There l + g_k has a formula of its own, -ln E_D, which is what that
/// of the other classes gives for these values.
fn take_out(sample: &[f32], classes: usize, log_p: &mut [f32], p: &mut [f32]) {
    for (row, sample) in sample.iter().enumerate() {
        let place = row * classes + *sample as usize;
        log_p[place] = 0.0;
        p[place] = 0.0;
    }
}

multiversion! {
    /// `out` = -ln(E / p + E_D), which is ln p - ln(E + E_D p), with E = -ln u.
    fn add_conditional_gumbel(
        log_p: &[f32],
        p: &[f32],
        sample: &[f32],
        uniform: &[f32],
        classes: usize,
        out: &mut [f32],
    ) {
        for (out, u) in out.iter_mut().zip(uniform) {
            *out = -ln(*u);
        }
        let rows = p.chunks_exact(classes).zip(sample);
        for (out, (p, sample)) in out.chunks_exact_mut(classes).zip(rows) {
            let least = out[*sample as usize];
            for (out, p) in out.iter_mut().zip(p) {
                *out += least * p;
            }
        }
        for (out, log_p) in out.iter_mut().zip(log_p) {
            *out = log_p - ln(*out);
        }
    }
}

multiversion! {
    /// Weights of softmax(l + g_k): exp of [`add_conditional_gumbel`] times E_D, which takes no second logarithm.
    fn conditional_gumbel_weights(p: &[f32], sample: &[f32], uniform: &[f32], classes: usize, out: &mut [f32]) {
        for (out, u) in out.iter_mut().zip(uniform) {
            *out = -ln(*u);
        }
        let rows = p.chunks_exact(classes).zip(sample);
        for (out, (p, sample)) in out.chunks_exact_mut(classes).zip(rows) {
            let drawn = *sample as usize;
            let least = out[drawn];
            for (out, p) in out.iter_mut().zip(p) {
                *out = least * p / (least * p + *out);
            }
            out[drawn] = 1.0;
        }
    }
}

multiversion! {
    /// As [`backward_of_weights`](super::softmax::backward_of_weights), added to `out`.
    fn add_backward_of_weights(weights: &[f32], gradient: &[f32], classes: usize, scale: f32, out: &mut [f32]) {
        let rows = weights.chunks_exact(classes).zip(gradient.chunks_exact(classes));
        for (out, (weights, gradient)) in out.chunks_exact_mut(classes).zip(rows) {
            let factor = 1.0 / sum(weights);
            let mean = sum_of_products(weights, gradient, 0.0) * factor;
            for ((out, weight), gradient) in out.iter_mut().zip(weights).zip(gradient) {
                *out += weight * factor * (gradient - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::tests::{assert_close, cases, exact_backward, exact_softmax, for_end_rows, widened};
    use crate::categorical::{gumbel_softmax, sample, softmax};
    use crate::random::Random;

    /// l + g_k with logarithms of probabilities for l, so that Z = 1.
    fn conditional_gumbel(logits: &[f32], sample: &[f32], uniform: &[f32], classes: usize) -> Vec<f32> {
        let (mut log_p, mut p, mut adjusted) = (logits.to_vec(), logits.to_vec(), logits.to_vec());
        log_probabilities(classes, &mut log_p, &mut p);
        take_out(sample, classes, &mut log_p, &mut p);
        add_conditional_gumbel(&log_p, &p, sample, uniform, classes, &mut adjusted);
        adjusted
    }

    /// l + g_k by its formula, with the logarithms of probabilities that belong to `logits` for l.
    fn exact_adjusted(logits: &[f32], uniform: &[f32], drawn: usize) -> Vec<f64> {
        let exponentials: Vec<f64> = uniform.iter().map(|u| -f64::from(*u).ln()).collect();
        let noisy = |(class, (p, e)): (usize, (f64, &f64))| match class == drawn {
            true => -e.ln(),
            false => -(e / p + exponentials[drawn]).ln(),
        };
        exact_softmax(widened(logits), 1.0).into_iter().zip(&exponentials).enumerate().map(noisy).collect()
    }

    #[test]
    fn log_probabilities_keep_what_probabilities_round_to_0() {
        let (mut logs, mut p) = ([0.0, 2f32.ln(), 5f32.ln(), 1e4, 1e4, -1e4], [9.0; 6]);
        log_probabilities(3, &mut logs, &mut p);
        let half = -std::f64::consts::LN_2;
        assert_close(&logs, &[0.125f64.ln(), 0.25f64.ln(), 0.625f64.ln(), half, half, half - 2e4]);
        assert_close(&p, &[0.125, 0.25, 0.625, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_largest_noisy_logit_is_that_of_the_sampled_class() {
        for (case, _) in cases() {
            let adjusted = conditional_gumbel(&case.logits, &case.sample, &case.uniform, case.classes);
            for_end_rows(&case, &adjusted, |drawn, range, adjusted| {
                let exact = exact_adjusted(&case.logits[range.clone()], &case.uniform[range], drawn);
                adjusted.iter().zip(&exact).for_each(|(x, exact)| assert!((f64::from(*x) - exact).abs() < 5e-6));
                assert_eq!(largest(adjusted), adjusted[drawn]);
            });
        }
    }

    #[test]
    fn gradients_equal_the_formula() {
        let samples = 3;
        for (case, temperature) in cases() {
            let (mut uniform, mut out) = (vec![0.0; samples * case.logits.len()], vec![9.0; case.logits.len()]);
            Random::new(7, 0, 0).fill_uniform(&mut uniform);
            gumbel_rao_backward(
                &case.logits,
                &case.sample,
                &uniform,
                &case.gradient,
                case.classes,
                temperature,
                &mut out,
            );
            for_end_rows(&case, &out, |drawn, range, dl| {
                let mut mean = vec![0.0; case.classes];
                for uniform in uniform.chunks_exact(case.logits.len()) {
                    let adjusted = exact_adjusted(&case.logits[range.clone()], &uniform[range.clone()], drawn);
                    let s = exact_softmax(adjusted.into_iter(), temperature);
                    let factor = 1.0 / (f64::from(temperature) * samples as f64);
                    let part = exact_backward(&s, &case.gradient[range.clone()], factor);
                    mean.iter_mut().zip(part).for_each(|(mean, part)| *mean += part);
                }
                assert_close(dl, &mean);
            });
        }
    }

    #[test]
    fn conditional_noise_after_a_draw_is_as_unconditional_noise() {
        let (rows, logits) = (200_000, [1.0f32, -0.5, 0.0]);
        let uniform = |stream, len| {
            let mut values = vec![0.0; len];
            Random::new(11, 0, stream).fill_uniform(&mut values);
            values
        };
        let all = logits.repeat(rows);
        let (mut drawn, mut conditional, mut plain) = (vec![0.0; rows], vec![0.0; 3 * rows], vec![0.0; 3 * rows]);
        sample(&all, &uniform(0, rows), 3, &mut drawn);
        let adjusted = conditional_gumbel(&all, &drawn, &uniform(1, 3 * rows), 3);
        softmax(&adjusted, 3, 0.7, &mut conditional);
        gumbel_softmax(&all, &uniform(2, 3 * rows), 3, 0.7, &mut plain, None);
        for class in 0..3 {
            for power in [1, 2] {
                let mean = |soft: &[f32]| {
                    soft.iter().skip(class).step_by(3).map(|s| f64::from(*s).powi(power)).sum::<f64>() / rows as f64
                };
                // Four standard errors of the difference of two means of values with a deviation below 0.4.
                assert!((mean(&conditional) - mean(&plain)).abs() < 4.0 * 0.4 * (2.0 / rows as f64).sqrt());
            }
        }
    }
}
