//! Max pooling: the largest value of each window and which one it was, so that the gradient needs no input.
//!
//! A later value replaces the maximum only if it is greater. So ties go to the first in reading order, a NaN is never taken
//! up, and a window that begins with a NaN keeps it.

use rayon::prelude::*;

use super::largest::Value;
use super::{Planes, halves, pairs_mut};
use crate::geometry::Pool2dShape;
use crate::memory::Fresh;
use crate::simd::multiversion;

/// Most values of a window whose winner fits into a byte.
const MOST_TAPS: usize = 256;

/// Max pooling: `(y, winners)`, where a winner is the number of its value inside the window, in reading order.
///
/// # Panics
/// If the window holds more than 256 values: their numbers would not fit into a byte.
pub fn max_pool2d_winners(input: &[f32], shape: &Pool2dShape) -> (Vec<f32>, Vec<u8>) {
    forward(input, shape)
}

/// The same for bytes, such as the codes of values on an increasing grid.
///
/// # Panics
/// If the window holds more than 256 values: their numbers would not fit into a byte.
pub fn max_pool2d_codes(codes: &[u8], shape: &Pool2dShape) -> (Vec<u8>, Vec<u8>) {
    forward(codes, shape)
}

/// Max pooling into `output`, without the winners; the window may have any size.
pub fn max_pool2d(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    let planes = Planes::of_input(shape, input.len());
    assert_eq!(output.len(), planes.count * planes.output);
    let inputs = input.par_chunks(planes.task * planes.input);
    output.par_chunks_mut(planes.task * planes.output).zip(inputs).for_each_init(
        || vec![0; planes.task * planes.output],
        |unused, (output, input)| f32::pool(input, shape, output, unused),
    );
}

/// Gradient of the three functions above with respect to their input, from the `winners` of the forward pass.
///
/// # Panics
/// If the window holds more than 256 values.
pub fn max_pool2d_backward(gradient: &[f32], winners: &[u8], shape: &Pool2dShape) -> Vec<f32> {
    assert_winners_fit(shape);
    assert_eq!(gradient.len(), winners.len());
    let planes = Planes::of_output(shape, gradient.len());
    let taps = tap_offsets(shape);
    let mut input_gradient = Fresh::new(planes.count * planes.input);
    input_gradient
        .pieces(planes.task * planes.input)
        .zip(gradient.par_chunks(planes.task * planes.output))
        .zip(winners.par_chunks(planes.task * planes.output))
        .for_each(|((input_gradient, gradient), winners)| {
            let outputs = gradient.chunks(planes.output).zip(winners.chunks(planes.output));
            for (input_gradient, (gradient, winners)) in input_gradient.rows(planes.input).zip(outputs) {
                if halves(shape) {
                    spread_pairs(gradient, winners, shape, input_gradient.open());
                } else {
                    spread(gradient, winners, shape, &taps, input_gradient.open());
                }
            }
        });
    input_gradient.finish()
}

fn assert_winners_fit(shape: &Pool2dShape) {
    let [height, width] = shape.kernel;
    assert!(
        height * width <= MOST_TAPS,
        "max pooling with gradients takes windows of up to {MOST_TAPS} values, not {height}x{width}; use a smaller window"
    );
}

fn forward<T: Value>(input: &[T], shape: &Pool2dShape) -> (Vec<T>, Vec<u8>) {
    assert_winners_fit(shape);
    let planes = Planes::of_input(shape, input.len());
    let (mut best, mut winners) = (Fresh::new(planes.count * planes.output), Fresh::new(planes.count * planes.output));
    best.pieces(planes.task * planes.output)
        .zip(winners.pieces(planes.task * planes.output))
        .zip(input.par_chunks(planes.task * planes.input))
        .for_each(|((best, winners), input)| T::pool(input, shape, best.open(), winners.open()));
    (best.finish(), winners.finish())
}

/// How far each value of a window lies behind the first.
fn tap_offsets(shape: &Pool2dShape) -> Vec<usize> {
    let rows = 0..shape.kernel[0];
    rows.flat_map(|down| (0..shape.kernel[1]).map(move |right| down * shape.width + right)).collect()
}

/// Adds the gradient of one plane to the winners, whose places may coincide.
fn spread(gradient: &[f32], winners: &[u8], shape: &Pool2dShape, taps: &[usize], input_gradient: &mut [f32]) {
    let width = shape.out_width();
    for (row, (gradient, winners)) in gradient.chunks(width).zip(winners.chunks(width)).enumerate() {
        let line = &mut input_gradient[row * shape.stride[0] * shape.width..];
        for (column, (gradient, winner)) in gradient.iter().zip(winners).enumerate() {
            line[column * shape.stride[1] + taps[usize::from(*winner)]] += gradient;
        }
    }
}

multiversion! {
    fn spread_pairs(gradient: &[f32], winners: &[u8], shape: &Pool2dShape, input_gradient: &mut [f32]) {
        let width = shape.out_width();
        let outputs = gradient.chunks(width).zip(winners.chunks(width));
        for (lines, (gradient, winners)) in input_gradient.chunks_mut(2 * shape.width).zip(outputs) {
            let [top, bottom] = pairs_mut(lines, shape.width, width);
            spread_line(gradient, winners, 0, top);
            spread_line(gradient, winners, 2, bottom);
        }
    }
}

/// The line of 2x2 windows whose left values have the number `left`: each value is written once.
#[inline(always)]
fn spread_line(gradient: &[f32], winners: &[u8], left: u8, line: &mut [[f32; 2]]) {
    for ((gradient, winner), pair) in gradient.iter().zip(winners).zip(line) {
        // A mask, because a branch would be foreseen only three times in four.
        let share = |tap: u8| f32::from_bits(gradient.to_bits() & u32::from(*winner == tap).wrapping_neg());
        *pair = [share(left), share(left + 1)];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{each_window, shapes};
    use super::*;
    use crate::random::Random;
    use crate::threads::same_for_threads;

    const SHAPE: Pool2dShape = Pool2dShape { height: 3, width: 5, kernel: [2, 2], stride: [2, 2] };
    const INPUT: [f32; 15] = [1., 5., 5., 0., 9., 5., 5., -1., 0., 9., 7., 7., 7., 7., 7.];

    #[test]
    fn maximum_and_its_gradient_take_the_first_of_equals_and_leave_out_the_edge() {
        assert_eq!(max_pool2d_winners(&INPUT, &SHAPE), (vec![5.0, 5.0], vec![1, 0]));
        assert_eq!(max_pool2d_codes(&INPUT.map(|x| x as u8), &SHAPE), (vec![5, 5], vec![1, 0]));
        let mut expected = [0.0; 15];
        (expected[1], expected[2]) = (10.0, 20.0);
        assert_eq!(max_pool2d_backward(&[10.0, 20.0], &[1, 0], &SHAPE), expected);
    }

    #[test]
    fn a_nan_is_kept_only_at_the_beginning_of_a_window() {
        for (stride, width) in [([2, 2], 40), ([1, 2], 40), ([2, 2], 2)] {
            let shape = Pool2dShape { height: 2, width, kernel: [2, 2], stride };
            for place in 0..4 {
                let mut input = vec![1.0; 2 * width];
                input[place / 2 * width + place % 2] = f32::NAN;
                let (y, winners) = max_pool2d_winners(&input, &shape);
                assert_eq!((y[0].is_nan(), winners[0]), (place == 0, 0));
            }
        }
    }

    #[test]
    fn a_value_in_two_windows_gets_both_gradients() {
        let shape = Pool2dShape { height: 1, width: 3, kernel: [1, 2], stride: [1, 1] };
        let (y, winners) = max_pool2d_winners(&[0.0, 3.0, 1.0], &shape);
        assert_eq!((y, &*winners), (vec![3.0, 3.0], &[1, 0][..]));
        assert_eq!(max_pool2d_backward(&[4.0, 2.0], &winners, &shape), [0.0, 6.0, 0.0]);
    }

    #[test]
    fn windows_of_256_values_have_winners_and_larger_ones_only_maxima() {
        let mut input = vec![0.0; 17 * 16];
        input[255] = 1.0;
        let shape = Pool2dShape { height: 17, width: 16, kernel: [16, 16], stride: [1, 1] };
        assert_eq!(max_pool2d_winners(&input, &shape), (vec![1.0, 1.0], vec![255, 239]));
        let whole = Pool2dShape { kernel: [17, 16], ..shape };
        let mut y = [0.0];
        max_pool2d(&input, &whole, &mut y);
        assert_eq!(y, [1.0]);
        assert!(std::panic::catch_unwind(|| max_pool2d_winners(&input, &whole)).is_err());
    }

    proptest! {
        /// Values are few, so that many windows hold ties.
        #[test]
        fn every_shape_agrees_with_single_windows(shape in shapes(), count in 0usize..5, seed in 0u64..1000) {
            let codes: Vec<u8> = {
                let random = Random::new(seed, 0, 0);
                (0..count * shape.height * shape.width).map(|i| random.below(i as u64, 7) as u8).collect()
            };
            let input: Vec<f32> = codes.iter().map(|code| f32::from(*code) - 3.0).collect();
            let (y, winners) = max_pool2d_winners(&input, &shape);
            let (pooled_codes, code_winners) = max_pool2d_codes(&codes, &shape);
            let gradient: Vec<f32> = (0..y.len()).map(|i| i as f32 + 1.0).collect();
            let mut expected = vec![0.0; input.len()];
            let mut windows = 0;
            each_window(&shape, count, |out, taps| {
                let best = (0..taps.len()).rev().max_by(|a, b| input[taps[*a]].total_cmp(&input[taps[*b]])).unwrap();
                assert_eq!((y[out], usize::from(winners[out])), (input[taps[best]], best));
                assert_eq!(pooled_codes[out], codes[taps[best]]);
                expected[taps[best]] += gradient[out];
                windows += 1;
            });
            prop_assert_eq!(windows, y.len());
            prop_assert_eq!(&winners, &code_winners);
            prop_assert_eq!(max_pool2d_backward(&gradient, &winners, &shape), expected);
            let mut alone = vec![9.0; y.len()];
            max_pool2d(&input, &shape, &mut alone);
            prop_assert_eq!(alone, y);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        for (kernel, stride) in [([2, 2], [2, 2]), ([3, 3], [2, 1])] {
            let shape = Pool2dShape { height: 27, width: 30, kernel, stride };
            let mut input = vec![0.0; 50 * 27 * 30];
            Random::new(1, 0, 0).fill_normal(&mut input);
            same_for_threads(|| {
                let (y, winners) = max_pool2d_winners(&input, &shape);
                (max_pool2d_backward(&y, &winners, &shape), y, winners)
            });
        }
    }
}
