//! Categorical variables: softmax, draws from it, and the gradient estimators for draws.
//!
//! Every function handles rows of `classes` values, one variable a row. With t the temperature, G the gradient that
//! arrives at y, D the one-hot form of `sample`, u uniform values strictly between 0 and 1, and per row
//! J_s(h) = s h - s (s . h), the product of h and the derivative of a softmax whose value is s:
//!
//! ```text
//! softmax         s = softmax(l / t)                                               dl = J_s(G) / t
//! Gumbel-softmax  s = softmax((l + g) / t),  g = -ln(-ln u),  y = s or its one-hot dl = J_s(G) / t
//! straight        y = D,  s = softmax(l / t)                                       dl = J_s(G) / t
//! gapped          y = D,  s = softmax((l + m1 - m2) / t),                          dl = J_s(G) / t
//!                 m1 = (max l - l_D) D,  m2 = max(0, l + gap - max l) (1 - D), both held constant
//! Gumbel-Rao      y = D,  s_k = softmax((l + g_k) / t), g_k held constant,         dl = mean over k of J_s_k(G) / t
//!                 l + g_k = -ln E_D + ln Z in the sampled class, -ln(E / exp(l) + E_D / Z) in the others,
//!                 E = -ln u_k,  Z = sum of exp(l): noise as it is when its largest value is in the sampled class
//! ReinMax         y = D,  p = softmax(l),  q = (softmax(l / t) + D) / 2,           dl = J_q(2 G) - J_p(G) / 2
//! ```
//! Sources: Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017. Fan et al., "Training
//! discrete deep generative models via gapped straight-through estimator", ICML 2022. Paulus, Maddison, Krause,
//! "Rao-Blackwellizing the straight-through Gumbel-softmax gradient estimator", ICLR 2021. Liu et al., "Bridging
//! discrete and backpropagation: straight-through and beyond", NeurIPS 2023.
//!
//! Only differences to a row's largest value are exponentiated, so large logits neither overflow nor give a NaN. Loops
//! with logarithms and exponentials run over several rows at once, which keeps them fast when classes are few.

use rayon::prelude::*;

use crate::math::{exp, ln};
use crate::reduce::{LANES, sum_lanes};
use crate::simd::multiversion;

/// Values that one task handles, in whole rows: few enough that a loop finds in the cache what the one before wrote.
const GROUP: usize = 4096;

/// Classes whose weights a draw adds up at once before it looks at single ones.
const STRIDE: usize = 4 * LANES;

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

/// `out` = the logarithm of softmax(`logits`).
pub fn log_softmax(logits: &[f32], classes: usize, out: &mut [f32]) {
    assert_eq!(logits.len(), out.len());
    let group = group(classes, logits);
    out.par_chunks_mut(group).zip(logits.par_chunks(group)).for_each_init(
        || vec![0.0; group],
        |p, (out, logits)| {
            out.copy_from_slice(logits);
            log_probabilities(classes, out, &mut p[..logits.len()]);
        },
    );
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

/// Gumbel-softmax: `soft` by the [formula](self), and in `hard` one-hot rows of the largest `logits` + g.
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

/// `y` = one-hot rows of the largest values; of equal ones the lowest index wins.
pub fn one_hot_of_max(values: &[f32], classes: usize, y: &mut [f32]) {
    assert_eq!(values.len(), y.len());
    let group = group(classes, values);
    y.par_chunks_mut(group).zip(values.par_chunks(group)).for_each(|(y, values)| {
        one_hot_of_max_rows(values, classes, y);
    });
}

/// `y` = one-hot rows of the class indices in `sample`, one a row.
pub fn one_hot(sample: &[f32], classes: usize, y: &mut [f32]) {
    assert_eq!(sample.len() * classes, y.len());
    let group = group(classes, y);
    y.par_chunks_mut(group).zip(sample.par_chunks(group / classes)).for_each(|(y, sample)| {
        y.fill(0.0);
        for (y, sample) in y.chunks_exact_mut(classes).zip(sample) {
            y[*sample as usize] = 1.0;
        }
    });
}

/// Draws the index of a class from softmax(`logits`) for each row: the inverse of the cumulative distribution at
/// `uniform`, one value a row. A class of probability 0 is never drawn.
pub fn sample(logits: &[f32], uniform: &[f32], classes: usize, sample: &mut [f32]) {
    assert!(logits.len() == sample.len() * classes && uniform.len() == sample.len());
    let group = group(classes, logits);
    let inputs = logits.par_chunks(group).zip(uniform.par_chunks(group / classes));
    sample.par_chunks_mut(group / classes).zip(inputs).for_each_init(
        || vec![0.0; group],
        |scratch, (sample, (logits, uniform))| {
            let scratch = &mut scratch[..logits.len()];
            scratch.copy_from_slice(logits);
            weights(classes, 1.0, scratch);
            draw(scratch, uniform, classes, sample);
        },
    );
}

/// As [`sample`], and softmax(`logits`) in `probabilities`.
pub fn sample_with_probabilities(
    logits: &[f32],
    uniform: &[f32],
    classes: usize,
    sample: &mut [f32],
    probabilities: &mut [f32],
) {
    assert!(logits.len() == sample.len() * classes && uniform.len() == sample.len());
    assert_eq!(logits.len(), probabilities.len());
    let group = group(classes, logits);
    let inputs = logits.par_chunks(group).zip(uniform.par_chunks(group / classes));
    let outputs = sample.par_chunks_mut(group / classes).zip(probabilities.par_chunks_mut(group));
    outputs.zip(inputs).for_each(|((sample, probabilities), (logits, uniform))| {
        probabilities.copy_from_slice(logits);
        weights(classes, 1.0, probabilities);
        draw(probabilities, uniform, classes, sample);
        normalize(classes, probabilities);
    });
}

/// Gradient of the straight-through estimator, whatever the sample was.
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

/// Gradient of the gapped straight-through estimator; `gap` must not be negative.
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
    let inputs = logits.par_chunks(group).zip(sample.par_chunks(group / classes)).zip(gradient.par_chunks(group));
    out.par_chunks_mut(group).zip(inputs).for_each(|(out, ((logits, sample), gradient))| {
        gapped_weights(logits, sample, classes, scale, gap, out);
        backward_of_weights(gradient, classes, scale, out);
    });
}

/// Gradient of the ReinMax estimator.
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
    let inputs = logits.par_chunks(group).zip(sample.par_chunks(group / classes)).zip(gradient.par_chunks(group));
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

/// Logits with noise of which the largest is that of the sampled class: `adjusted` = l + g_k of the [formula](self)
/// with logarithms of probabilities for l, so that Z = 1.
pub fn conditional_gumbel(
    log_probabilities: &[f32],
    sample: &[f32],
    uniform: &[f32],
    classes: usize,
    adjusted: &mut [f32],
) {
    assert!(log_probabilities.len() == adjusted.len() && uniform.len() == adjusted.len());
    assert_eq!(sample.len() * classes, adjusted.len());
    let group = group(classes, adjusted);
    let inputs = log_probabilities.par_chunks(group).zip(sample.par_chunks(group / classes));
    adjusted.par_chunks_mut(group).zip(inputs.zip(uniform.par_chunks(group))).for_each_init(
        || vec![0.0; 2 * group],
        |scratch, (adjusted, ((logs, sample), uniform))| {
            let (log_p, p) = scratch[..2 * logs.len()].split_at_mut(logs.len());
            log_p.copy_from_slice(logs);
            exp_of(log_p, p);
            take_out(sample, classes, log_p, p);
            add_conditional_gumbel(log_p, p, sample, uniform, classes, adjusted);
        },
    );
}

/// Gradient of the Gumbel-Rao estimator. `uniform` holds a value for each of `logits`, then the next sample's, and so
/// on: its length tells over how many samples to average.
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
    assert!(!uniform.is_empty() && uniform.len().is_multiple_of(logits.len()));
    let (group, scale) = (group(classes, logits), inverse(temperature));
    let samples = uniform.len() / logits.len();
    let inputs = logits.par_chunks(group).zip(sample.par_chunks(group / classes)).zip(gradient.par_chunks(group));
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

/// Values of the rows that one task handles.
fn group(classes: usize, values: &[f32]) -> usize {
    assert!(classes > 0 && values.len().is_multiple_of(classes));
    (GROUP / classes).max(1) * classes
}

/// What to multiply with instead of dividing by `temperature`; finite, so that 0 times it is 0.
fn inverse(temperature: f32) -> f32 {
    (1.0 / temperature).min(f32::MAX)
}

/// The largest value of a row.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut largest = f32::NEG_INFINITY;
    if !blocks.is_empty() {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] = if block[lane] > lanes[lane] { block[lane] } else { lanes[lane] };
            }
        }
        for lane in lanes {
            largest = if lane > largest { lane } else { largest };
        }
    }
    for x in rest {
        largest = if *x > largest { *x } else { largest };
    }
    largest
}

/// The sum of a row.
#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sum = 0.0;
    if !blocks.is_empty() {
        let mut lanes = [0.0; LANES];
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] += block[lane];
            }
        }
        sum = sum_lanes(lanes);
    }
    for x in rest {
        sum += *x;
    }
    sum
}

/// The sum of x (y - base).
#[inline(always)]
fn sum_of_products(x: &[f32], y: &[f32], base: f32) -> f32 {
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    let mut sum = 0.0;
    if !x_blocks.is_empty() {
        let mut lanes = [0.0; LANES];
        for (x, y) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * (y[lane] - base);
            }
        }
        sum = sum_lanes(lanes);
    }
    for (x, y) in x_rest.iter().zip(y_rest) {
        sum += *x * (*y - base);
    }
    sum
}

multiversion! {
    /// `rows` becomes exp(scale (row - largest of the row)): the softmax but for the division by the row's sum.
    fn weights(classes: usize, scale: f32, rows: &mut [f32]) {
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
    fn normalize(classes: usize, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(classes) {
            let factor = 1.0 / sum(row);
            for x in row {
                *x *= factor;
            }
        }
    }
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

multiversion! {
    fn exp_of(x: &[f32], out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = exp(*x);
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

multiversion! {
    /// For each row of weights the first class at which their running sum passes `uniform` times their total.
    fn draw(weights: &[f32], uniform: &[f32], classes: usize, sample: &mut [f32]) {
        for ((sample, row), u) in sample.iter_mut().zip(weights.chunks_exact(classes)).zip(uniform) {
            let mut total = 0.0;
            for part in row.chunks(STRIDE) {
                total += sum(part);
            }
            let target = total * u;
            let (mut before, mut first, mut part) = (0.0, 0, row);
            for (index, block) in row.chunks(STRIDE).enumerate() {
                let after = before + sum(block);
                if after > target {
                    (first, part) = (index * STRIDE, block);
                    break;
                }
                before = after;
            }
            // The first class whose running sum is above the target, without a branch that nothing could predict. Only
            // a class with a weight lifts the sum above it.
            let mut within = 0;
            for weight in part {
                before += weight;
                within += usize::from(before <= target);
            }
            // One by one the weights of a part may round to a smaller sum than together, and miss the target.
            if within == part.len() {
                let largest = largest(part);
                within = part.iter().position(|weight| *weight == largest).unwrap_or(0);
            }
            *sample = (first + within) as f32;
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
    fn backward_of_weights(gradient: &[f32], classes: usize, scale: f32, rows: &mut [f32]) {
        for (row, gradient) in rows.chunks_exact_mut(classes).zip(gradient.chunks_exact(classes)) {
            let factor = 1.0 / sum(row);
            let mean = sum_of_products(row, gradient, 0.0) * factor;
            for (x, gradient) in row.iter_mut().zip(gradient) {
                *x = *x * factor * (gradient - mean) * scale;
            }
        }
    }
}

multiversion! {
    /// As [`backward_of_weights`], added to `out`.
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

// J_s(G) does not change when a constant is added to G, so ReinMax takes H = G - G_D, which is 0 in the sampled class.
// With q = (s + D) / 2 and the means a = q . H = (s . H) / 2 and b = p . H, its gradient is
//     (s + D) (H - a) - p (H - b) / 2.
// At temperature 1, s is p and b is 2 a: what remains is p H / 2 in the other classes and -b / 2 in the sampled one.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Rows, classes: fewer classes than a register holds, several rows a task, and one row longer than a task.
    const SHAPES: [(usize, usize); 4] = [(1, 1), (1500, 7), (9, 1000), (2, 5003)];
    const TEMPERATURES: [f32; 3] = [0.4, 1.0, 2.5];

    struct Case {
        classes: usize,
        logits: Vec<f32>,
        uniform: Vec<f32>,
        gradient: Vec<f32>,
        sample: Vec<f32>,
    }

    fn case((rows, classes): (usize, usize)) -> Case {
        let draw = |stream| {
            let mut values = vec![0.0; rows * classes];
            Random::new(6, classes as u32, stream).fill_uniform(&mut values);
            values
        };
        let logits: Vec<f32> = draw(0).iter().map(|u| 8.0 * u - 4.0).collect();
        let mut chosen = vec![0.0; rows];
        sample(&logits, &draw(1)[..rows], classes, &mut chosen);
        Case { classes, logits, uniform: draw(2), gradient: draw(3).iter().map(|u| u - 0.5).collect(), sample: chosen }
    }

    fn exact_softmax(logits: impl Iterator<Item = f64> + Clone, temperature: f32) -> Vec<f64> {
        let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.map(|x| ((x - largest) / f64::from(temperature)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// J_s(G) factor.
    fn exact_backward(s: &[f64], gradient: &[f32], factor: f64) -> Vec<f64> {
        let mean: f64 = s.iter().zip(gradient).map(|(s, g)| s * f64::from(*g)).sum();
        s.iter().zip(gradient).map(|(s, g)| factor * s * (f64::from(*g) - mean)).collect()
    }

    fn widened(row: &[f32]) -> impl Iterator<Item = f64> + Clone {
        row.iter().map(|x| f64::from(*x))
    }

    #[track_caller]
    fn assert_close(found: &[f32], exact: &[f64]) {
        for (index, (found, exact)) in found.iter().zip(exact).enumerate() {
            let error = (f64::from(*found) - exact).abs();
            assert!(error <= 3e-7 + 2e-5 * exact.abs(), "value {index}: {found}, exact {exact}");
        }
    }

    /// Calls `check` with the first and the last row: case values of the row, and the row of `out`.
    fn for_end_rows(case: &Case, out: &[f32], mut check: impl FnMut(usize, std::ops::Range<usize>, &[f32])) {
        for row in [0, case.sample.len() - 1] {
            let range = row * case.classes..(row + 1) * case.classes;
            check(case.sample[row] as usize, range.clone(), &out[range]);
        }
    }

    #[test]
    fn softmax_of_a_hand_table() {
        let logits = [0.0, 2f32.ln(), 5f32.ln(), 1e4, 1e4, -1e4];
        let (mut soft, mut logs) = ([9.0; 6], [9.0; 6]);
        softmax(&logits, 3, 1.0, &mut soft);
        log_softmax(&logits, 3, &mut logs);
        assert_close(&soft, &[0.125, 0.25, 0.625, 0.5, 0.5, 0.0]);
        let half = -std::f64::consts::LN_2;
        assert_close(&logs, &[0.125f64.ln(), 0.25f64.ln(), 0.625f64.ln(), half, half, half - 2e4]);
        softmax(&[0.0, 2f32.ln()], 2, 0.5, &mut soft[..2]);
        assert_close(&soft[..2], &[0.2, 0.8]);
        let mut dl = [9.0; 3];
        softmax_backward(&[0.125, 0.25, 0.625], &[8.0, 0.0, 0.0], 3, 0.5, &mut dl);
        assert_eq!(dl, [1.75, -0.5, -1.25]);
    }

    #[test]
    fn gumbel_noise_is_precise_at_both_ends_of_the_uniform_values() {
        let uniform = [1e-38f32, 1e-20, 0.1, 0.5, 0.9, 0.999_999, 1.0 - f32::EPSILON / 2.0];
        let mut noise = [0.0; 7];
        add_gumbel(&[0.0; 7], &uniform, &mut noise);
        let exact: Vec<f64> = uniform.iter().map(|u| -(-f64::from(*u).ln()).ln()).collect();
        assert_close(&noise, &exact);
    }

    #[test]
    fn the_hard_choice_is_the_first_largest_and_sees_what_softmax_rounds_away() {
        let mut y = [9.0; 8];
        one_hot_of_max(&[1.0, 3.0, 3.0, 2.0, -5.0, -7.0, -5.0, -5.0], 4, &mut y);
        assert_eq!(y, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let (mut soft, mut hard) = ([0.0; 2], [0.0; 2]);
        gumbel_softmax(&[0.0, 0.5], &[0.5, 0.5], 2, 1e9, &mut soft, Some(&mut hard));
        assert_eq!((soft, hard), ([0.5, 0.5], [0.0, 1.0]));
    }

    #[test]
    fn softmaxes_and_their_gradients_equal_the_formulas() {
        for (shape, temperature) in SHAPES.into_iter().flat_map(|shape| TEMPERATURES.map(|t| (shape, t))) {
            let case = case(shape);
            let inverse = 1.0 / f64::from(temperature);
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
            one_hot_of_max(&soft, case.classes, &mut y);
            assert_eq!(hard, y);
            softmax_backward(&soft, &case.gradient, case.classes, temperature, &mut y);
            for_end_rows(&case, &y, |_, range, dl| {
                assert_close(dl, &exact_backward(&noisy(range.clone()), &case.gradient[range], inverse));
            });
            straight_through_backward(&case.logits, &case.gradient, case.classes, temperature, &mut y);
            for_end_rows(&case, &y, |_, range, dl| {
                let s = exact_softmax(widened(&case.logits[range.clone()]), temperature);
                assert_close(dl, &exact_backward(&s, &case.gradient[range], inverse));
            });
        }
    }

    #[test]
    fn a_draw_inverts_the_cumulative_distribution() {
        let logits = [-1e4, 0.0, 2f32.ln(), -1e4, 5f32.ln(), -1e4].repeat(6);
        let uniform = [1e-38, 0.124, 0.126, 0.374, 0.376, 1.0 - f32::EPSILON / 2.0];
        let (mut drawn, mut p) = ([9.0; 6], [9.0; 36]);
        sample_with_probabilities(&logits, &uniform, 6, &mut drawn, &mut p);
        assert_eq!(drawn, [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
        assert_close(&p[30..], &[0.0, 0.125, 0.25, 0.0, 0.625, 0.0]);
        for shape in SHAPES {
            let case = case(shape);
            let rows = case.sample.len();
            let (mut drawn, mut again, mut p) = (vec![9.0; rows], vec![9.0; rows], vec![9.0; case.logits.len()]);
            sample(&case.logits, &case.uniform[..rows], case.classes, &mut drawn);
            sample_with_probabilities(&case.logits, &case.uniform[..rows], case.classes, &mut again, &mut p);
            assert_eq!(drawn, again);
            for (row, class) in drawn.iter().enumerate() {
                let below: f64 = widened(&p[row * case.classes..][..*class as usize]).sum();
                let own = f64::from(p[row * case.classes + *class as usize]);
                let u = f64::from(case.uniform[row]);
                assert!(own > 0.0 && below - 1e-6 < u && u < below + own + 1e-6, "{u}: {class}, {below} + {own}");
            }
            let mut y = vec![9.0; case.logits.len()];
            one_hot(&drawn, case.classes, &mut y);
            assert!(y.chunks(case.classes).zip(&drawn).all(|(y, class)| y[*class as usize] == 1.0));
            assert_eq!(y.iter().sum::<f32>(), rows as f32);
        }
    }

    #[test]
    fn a_class_without_weight_is_never_drawn() {
        let logits: Vec<f32> = (0..1000).map(|class| if class % 200 == 150 { 3.0 } else { -1e4 }).collect();
        for u in (1..1000).map(|k| k as f32 / 1000.0).chain([1e-38, 1.0 - f32::EPSILON / 2.0]) {
            let mut drawn = [9.0];
            sample(&logits, &[u], 1000, &mut drawn);
            assert_eq!(drawn[0] % 200.0, 150.0, "{u}");
        }
    }

    #[test]
    fn reinmax_equals_its_formula() {
        for (shape, temperature) in SHAPES.into_iter().flat_map(|shape| TEMPERATURES.map(|t| (shape, t))) {
            let case = case(shape);
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

    #[test]
    fn the_gapped_estimator_equals_its_formula() {
        for (shape, temperature) in SHAPES.into_iter().flat_map(|shape| TEMPERATURES.map(|t| (shape, t))) {
            let (case, gap) = (case(shape), 1.5);
            let mut out = vec![9.0; case.logits.len()];
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

    /// l + g_k by its formula.
    fn exact_adjusted(logits: &[f32], uniform: &[f32], drawn: usize) -> Vec<f64> {
        let exponentials: Vec<f64> = uniform.iter().map(|u| -f64::from(*u).ln()).collect();
        let z: f64 = widened(logits).map(f64::exp).sum();
        let noisy = |(class, (l, e)): (usize, (f64, &f64))| match class == drawn {
            true => -e.ln() + z.ln(),
            false => -(e / l.exp() + exponentials[drawn] / z).ln(),
        };
        widened(logits).zip(&exponentials).enumerate().map(noisy).collect()
    }

    #[test]
    fn gumbel_rao_equals_its_formula() {
        let samples = 3;
        for (shape, temperature) in SHAPES.into_iter().flat_map(|shape| TEMPERATURES.map(|t| (shape, t))) {
            let case = case(shape);
            let mut uniform = vec![0.0; samples * case.logits.len()];
            Random::new(7, 0, 0).fill_uniform(&mut uniform);
            let part = |k: usize, range: &std::ops::Range<usize>| &uniform[k * case.logits.len()..][range.clone()];
            let (mut logs, mut out) = (vec![9.0; case.logits.len()], vec![9.0; case.logits.len()]);
            log_softmax(&case.logits, case.classes, &mut logs);
            conditional_gumbel(&logs, &case.sample, &uniform[..logs.len()], case.classes, &mut out);
            for_end_rows(&case, &out, |drawn, range, adjusted| {
                let exact = exact_adjusted(&logs[range.clone()], part(0, &range), drawn);
                adjusted.iter().zip(&exact).for_each(|(x, exact)| assert!((f64::from(*x) - exact).abs() < 5e-6));
                assert_eq!(largest(adjusted), adjusted[drawn]);
            });
            let Case { classes, logits, gradient, sample, .. } = &case;
            gumbel_rao_backward(logits, sample, &uniform, gradient, *classes, temperature, &mut out);
            for_end_rows(&case, &out, |drawn, range, dl| {
                let mut mean = vec![0.0; *classes];
                for k in 0..samples {
                    let adjusted = exact_adjusted(&logits[range.clone()], part(k, &range), drawn);
                    let s = exact_softmax(adjusted.into_iter(), temperature);
                    let factor = 1.0 / (f64::from(temperature) * samples as f64);
                    let part = exact_backward(&s, &gradient[range.clone()], factor);
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
        let (mut drawn, mut logs) = (vec![0.0; rows], vec![0.0; 3 * rows]);
        let (mut adjusted, mut conditional, mut plain) = (logs.clone(), logs.clone(), logs.clone());
        sample(&all, &uniform(0, rows), 3, &mut drawn);
        log_softmax(&all, 3, &mut logs);
        conditional_gumbel(&logs, &drawn, &uniform(1, 3 * rows), 3, &mut adjusted);
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

    #[test]
    fn extreme_inputs_give_finite_results() {
        let logits = [1e4, -1e4, 0.0, 1e4, -1e4, -1e4, 1e4, 9999.0, -1e4, -1e4, -1e4, -1e4];
        let ends = [1e-38, 1.0 - f32::EPSILON / 2.0, 0.5];
        let uniform: Vec<f32> = (0..24).map(|place| ends[(place * 7 / 3) % 3]).collect();
        let gradient: Vec<f32> = (0..12).map(|place| (place as f32 - 5.0) * 100.0).collect();
        for (temperature, drawn) in [1e-3, 0.5, 1.0, 10.0, 1e6].into_iter().flat_map(|t| [(t, 0.0), (t, 1.0), (t, 3.0)])
        {
            let (sample, mut outs) = ([drawn; 3], vec![vec![f32::NAN; 12]; 8]);
            let (soft, rest) = outs.split_at_mut(1);
            gumbel_softmax(&logits, &uniform[..12], 4, temperature, &mut soft[0], Some(&mut rest[0]));
            softmax_backward(&soft[0], &gradient, 4, temperature, &mut rest[1]);
            log_softmax(&logits, 4, &mut rest[2]);
            gapped_backward(&logits, &sample, &gradient, 4, temperature, 1.0, &mut rest[3]);
            reinmax_backward(&logits, &sample, &gradient, 4, temperature, &mut rest[4]);
            gumbel_rao_backward(&logits, &sample, &uniform, &gradient, 4, temperature, &mut rest[5]);
            let logs = rest[2].clone();
            conditional_gumbel(&logs, &sample, &uniform[..12], 4, &mut rest[6]);
            for (index, out) in outs.iter().enumerate() {
                assert!(out.iter().all(|x| x.is_finite()), "output {index}: {out:?}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let case = case((1500, 7));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let mut outs = vec![vec![0.0; case.logits.len()]; 3];
                gumbel_softmax(&case.logits, &case.uniform, 7, 0.5, &mut outs[0], None);
                reinmax_backward(&case.logits, &case.sample, &case.gradient, 7, 1.5, &mut outs[1]);
                gumbel_rao_backward(&case.logits, &case.sample, &case.uniform, &case.gradient, 7, 0.5, &mut outs[2]);
                outs
            })
        };
        assert_eq!(run(1), run(5));
    }
}
