//! Categorical variables: softmax, draws from it, and the gradient estimators for draws.
//!
//! Every function handles rows of `classes` values, one variable a row. The formulas of the methods share these names:
//!
//! ```text
//! l  logits                                                  s, p, q  probabilities
//! t  temperature                                             D  one-hot form of `sample`, the index of the drawn class
//! u  uniform values strictly between 0 and 1                 y  value of the method: s, or D
//! G  gradient that arrives at y                              dl  gradient of l
//! J_s(h) = s h - s (s . h), per row: the product of h and the derivative of a softmax whose value is s
//! ```
//! Only differences to a row's largest value are exponentiated, so large logits neither overflow nor give a NaN. Loops
//! with logarithms and exponentials run over several rows at once, which keeps them fast when classes are few.

mod gapped;
mod gumbel_rao;
mod gumbel_softmax;
mod reinmax;
mod sample;
mod softmax;
mod straight_through;

pub use gapped::gapped_backward;
pub use gumbel_rao::gumbel_rao_backward;
pub use gumbel_softmax::gumbel_softmax;
pub use reinmax::reinmax_backward;
pub use sample::{one_hot, sample};
pub(crate) use softmax::{normalize, weights};
pub use softmax::{softmax, softmax_backward};
pub use straight_through::straight_through_backward;

use crate::reduce::{LANES, sum_lanes};

/// Values that one task handles, in whole rows: few enough that a loop finds in the cache what the one before wrote.
const GROUP: usize = 4096;

/// Values of the rows that one task handles; rows without classes hold no values.
fn group(classes: usize, values: &[f32]) -> usize {
    assert!(if classes > 0 { values.len().is_multiple_of(classes) } else { values.is_empty() });
    (GROUP / classes.max(1)).max(1) * classes.max(1)
}

/// What to multiply with instead of dividing by `temperature`; finite, so that 0 times it is 0.
fn inverse(temperature: f32) -> f32 {
    (1.0 / temperature).min(f32::MAX)
}

/// The largest value of a row.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
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
pub(crate) fn sum(row: &[f32]) -> f32 {
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
pub(crate) fn sum_of_products(x: &[f32], y: &[f32], base: f32) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Rows, classes: fewer classes than a register holds, several rows a task, and one row longer than a task.
    pub(super) const SHAPES: [(usize, usize); 4] = [(1, 1), (1500, 7), (9, 1000), (2, 5003)];

    pub(super) struct Case {
        pub classes: usize,
        pub logits: Vec<f32>,
        pub uniform: Vec<f32>,
        pub gradient: Vec<f32>,
        pub sample: Vec<f32>,
    }

    pub(super) fn case((rows, classes): (usize, usize)) -> Case {
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

    /// A case of each shape, at each of several temperatures.
    pub(super) fn cases() -> impl Iterator<Item = (Case, f32)> {
        SHAPES.into_iter().flat_map(|shape| [0.4, 1.0, 2.5].map(|temperature| (case(shape), temperature)))
    }

    pub(super) fn exact_softmax(logits: impl Iterator<Item = f64> + Clone, temperature: f32) -> Vec<f64> {
        let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.map(|x| ((x - largest) / f64::from(temperature)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// J_s(G) factor.
    pub(super) fn exact_backward(s: &[f64], gradient: &[f32], factor: f64) -> Vec<f64> {
        let mean: f64 = s.iter().zip(gradient).map(|(s, g)| s * f64::from(*g)).sum();
        s.iter().zip(gradient).map(|(s, g)| factor * s * (f64::from(*g) - mean)).collect()
    }

    pub(super) fn widened(row: &[f32]) -> impl Iterator<Item = f64> + Clone {
        row.iter().map(|x| f64::from(*x))
    }

    #[track_caller]
    pub(super) fn assert_close(found: &[f32], exact: &[f64]) {
        assert_eq!(found.len(), exact.len());
        for (index, (found, exact)) in found.iter().zip(exact).enumerate() {
            let error = (f64::from(*found) - exact).abs();
            assert!(error <= 3e-7 + 2e-5 * exact.abs(), "value {index}: {found}, exact {exact}");
        }
    }

    /// Calls `check` with the first and the last row: class drawn, place of the row in the case, and the row of `out`.
    pub(super) fn for_end_rows(case: &Case, out: &[f32], mut check: impl FnMut(usize, std::ops::Range<usize>, &[f32])) {
        for row in [0, case.sample.len() - 1] {
            let range = row * case.classes..(row + 1) * case.classes;
            check(case.sample[row] as usize, range.clone(), &out[range]);
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
            softmax(&logits, 4, temperature, &mut rest[2]);
            straight_through_backward(&logits, &gradient, 4, temperature, &mut rest[3]);
            gapped_backward(&logits, &sample, &gradient, 4, temperature, 1.0, &mut rest[4]);
            reinmax_backward(&logits, &sample, &gradient, 4, temperature, &mut rest[5]);
            gumbel_rao_backward(&logits, &sample, &uniform, &gradient, 4, temperature, &mut rest[6]);
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
