//! Draws of a class, as its index and as a one-hot row.
//!
//! ```text
//! index = the first class c for which the sum of softmax(l) from class 0 to c is above u        D = one-hot(index)
//! ```
//! Source: Devroye, "Non-uniform random variate generation", 1986, III.2: inversion of the cumulative distribution.

use rayon::prelude::*;

use super::softmax::weights;
use super::{group, largest, sum};
use crate::reduce::LANES;
use crate::simd::multiversion;

/// Classes whose weights a draw adds up at once before it looks at single ones.
const STRIDE: usize = 4 * LANES;

/// Draws the index of a class from softmax(`logits`) for each row: the inverse of the cumulative distribution at
/// `uniform`, one value a row. A class of probability 0 is never drawn.
pub fn sample(logits: &[f32], uniform: &[f32], classes: usize, sample: &mut [f32]) {
    assert!(logits.len() == sample.len() * classes && uniform.len() == sample.len());
    let group = group(classes, logits);
    let inputs = logits.par_chunks(group).zip(uniform.par_chunks(group / classes.max(1)));
    sample.par_chunks_mut(group / classes.max(1)).zip(inputs).for_each_init(
        || vec![0.0; group],
        |scratch, (sample, (logits, uniform))| {
            let scratch = &mut scratch[..logits.len()];
            scratch.copy_from_slice(logits);
            weights(classes, 1.0, scratch);
            draw(scratch, uniform, classes, sample);
        },
    );
}

/// `y` = one-hot rows of the class indices in `sample`, one a row.
pub fn one_hot(sample: &[f32], classes: usize, y: &mut [f32]) {
    assert_eq!(sample.len() * classes, y.len());
    let group = group(classes, y);
    y.par_chunks_mut(group).zip(sample.par_chunks(group / classes.max(1))).for_each(|(y, sample)| {
        y.fill(0.0);
        for (y, sample) in y.chunks_exact_mut(classes).zip(sample) {
            y[*sample as usize] = 1.0;
        }
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categorical::softmax;
    use crate::categorical::tests::{SHAPES, case, widened};

    #[test]
    fn a_draw_inverts_the_cumulative_distribution() {
        let logits = [-1e4, 0.0, 2f32.ln(), -1e4, 5f32.ln(), -1e4].repeat(6);
        let uniform = [1e-38, 0.124, 0.126, 0.374, 0.376, 1.0 - f32::EPSILON / 2.0];
        let mut drawn = [9.0; 6];
        sample(&logits, &uniform, 6, &mut drawn);
        assert_eq!(drawn, [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
        for shape in SHAPES {
            let case = case(shape);
            let rows = case.sample.len();
            let (mut drawn, mut p) = (vec![9.0; rows], vec![9.0; case.logits.len()]);
            sample(&case.logits, &case.uniform[..rows], case.classes, &mut drawn);
            softmax(&case.logits, case.classes, 1.0, &mut p);
            for (row, class) in drawn.iter().enumerate() {
                let below: f64 = widened(&p[row * case.classes..][..*class as usize]).sum();
                let own = f64::from(p[row * case.classes + *class as usize]);
                let u = f64::from(case.uniform[row]);
                assert!(own > 0.0 && below - 1e-6 < u && u < below + own + 1e-6, "{u}: {class}, {below} + {own}");
            }
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
    fn one_hot_rows_have_their_1_at_the_index() {
        for shape in SHAPES {
            let case = case(shape);
            let mut y = vec![9.0; case.logits.len()];
            one_hot(&case.sample, case.classes, &mut y);
            assert!(y.chunks(case.classes).zip(&case.sample).all(|(y, class)| y[*class as usize] == 1.0));
            assert_eq!(y.iter().filter(|y| **y == 0.0).count(), y.len() - case.sample.len());
        }
    }
}
