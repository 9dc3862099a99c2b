//! Average pooling: the sum of a window in reading order, divided by its area.

use rayon::prelude::*;

use super::{Planes, each_seen, halves, pairs, pairs_mut};
use crate::geometry::Pool2dShape;
use crate::memory::Fresh;
use crate::simd::multiversion;

/// Average pooling into a new buffer.
pub fn avg_pool2d_new(input: &[f32], shape: &Pool2dShape) -> Vec<f32> {
    let planes = Planes::of_input(shape, input.len());
    let mut output = Fresh::new(planes.count * planes.output);
    output
        .pieces(planes.task * planes.output)
        .zip(input.par_chunks(planes.task * planes.input))
        .for_each(|(output, input)| pool_planes(input, shape, output.open()));
    output.finish()
}

/// Average pooling into `output`.
pub fn avg_pool2d(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    let planes = Planes::of_input(shape, input.len());
    assert_eq!(output.len(), planes.count * planes.output);
    output
        .par_chunks_mut(planes.task * planes.output)
        .zip(input.par_chunks(planes.task * planes.input))
        .for_each(|(output, input)| pool_planes(input, shape, output));
}

/// Gradient of average pooling with respect to its input.
pub fn avg_pool2d_backward(gradient: &[f32], shape: &Pool2dShape) -> Vec<f32> {
    let planes = Planes::of_output(shape, gradient.len());
    let mut input_gradient = Fresh::new(planes.count * planes.input);
    input_gradient.pieces(planes.task * planes.input).zip(gradient.par_chunks(planes.task * planes.output)).for_each(
        |(input_gradient, gradient)| {
            for (input_gradient, gradient) in input_gradient.rows(planes.input).zip(gradient.chunks(planes.output)) {
                spread(gradient, shape, input_gradient.open());
            }
        },
    );
    input_gradient.finish()
}

/// True where one window is the whole plane (global average).
fn whole(shape: &Pool2dShape) -> bool {
    shape.kernel == [shape.height, shape.width]
}

fn area(shape: &Pool2dShape) -> f32 {
    (shape.kernel[0] * shape.kernel[1]) as f32
}

multiversion! {
    fn pool_planes(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
        let planes = Planes::of_input(shape, input.len());
        if whole(shape) {
            return average_planes(input, planes.input, output);
        }
        for (input, output) in input.chunks(planes.input).zip(output.chunks_mut(planes.output)) {
            average_plane(input, shape, output);
        }
    }
}

#[inline(always)]
fn average_plane(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    let width = shape.out_width();
    for (row, output) in output.chunks_mut(width).enumerate() {
        let lines = &input[row * shape.stride[0] * shape.width..];
        if halves(shape) {
            let [top, bottom] = pairs(lines, shape.width, width);
            average_pairs(top, bottom, output);
        } else {
            average_row(lines, shape, output);
        }
    }
}

multiversion! {
    /// The mean of each plane of `plane` values, on this thread.
    pub(crate) fn mean_planes(input: &[f32], plane: usize, output: &mut [f32]) {
        average_planes(input, plane, output);
    }
}

/// Planes that are summed at once, so that no addition waits for the one before it.
const TOGETHER: usize = 8;

/// The mean of each plane of `plane` values.
#[inline(always)]
fn average_planes(input: &[f32], plane: usize, output: &mut [f32]) {
    for (output, input) in output.chunks_mut(TOGETHER).zip(input.chunks(TOGETHER * plane)) {
        let mut sums = [0.0; TOGETHER];
        if output.len() == TOGETHER {
            let mut planes = input.chunks_exact(plane);
            let planes: [&[f32]; TOGETHER] = std::array::from_fn(|_| planes.next().expect("a plane for each sum"));
            for place in 0..plane {
                for (sum, plane) in sums.iter_mut().zip(planes) {
                    *sum += plane[place];
                }
            }
        } else {
            for (sum, input) in sums.iter_mut().zip(input.chunks_exact(plane)) {
                input.iter().for_each(|value| *sum += value);
            }
        }
        for (output, sum) in output.iter_mut().zip(sums) {
            *output = sum / plane as f32;
        }
    }
}

/// One row of 2x2 windows.
#[inline(always)]
fn average_pairs(top: &[[f32; 2]], bottom: &[[f32; 2]], output: &mut [f32]) {
    for ((top, bottom), output) in top.iter().zip(bottom).zip(output) {
        // Beginning at 0 matters for windows of nothing but -0.
        *output = (0.0 + top[0] + top[1] + bottom[0] + bottom[1]) / 4.0;
    }
}

/// One row of windows of any size.
#[inline(always)]
fn average_row(lines: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    output.fill(0.0);
    for line in lines.chunks(shape.width).take(shape.kernel[0]) {
        for right in 0..shape.kernel[1] {
            each_seen(&line[right..], shape.stride[1], output, |sum, value| *sum += value);
        }
    }
    let area = area(shape);
    for sum in output {
        *sum /= area;
    }
}

multiversion! {
    fn spread(gradient: &[f32], shape: &Pool2dShape, input_gradient: &mut [f32]) {
        let area = area(shape);
        if whole(shape) {
            return input_gradient.fill(gradient[0] / area);
        }
        let width = shape.out_width();
        for (row, gradient) in gradient.chunks(width).enumerate() {
            let lines = &mut input_gradient[row * shape.stride[0] * shape.width..];
            if halves(shape) {
                let [top, bottom] = pairs_mut(lines, shape.width, width);
                spread_line(gradient, top);
                spread_line(gradient, bottom);
            } else {
                spread_row(gradient, area, shape, lines);
            }
        }
    }
}

/// One line of 2x2 windows: each value is written once.
#[inline(always)]
fn spread_line(gradient: &[f32], line: &mut [[f32; 2]]) {
    for (pair, gradient) in line.iter_mut().zip(gradient) {
        *pair = [gradient / 4.0; 2];
    }
}

/// One row of windows of any size. Taps run from right to left, so that each value adds up its windows in reading order.
#[inline(always)]
fn spread_row(gradient: &[f32], area: f32, shape: &Pool2dShape, lines: &mut [f32]) {
    for line in lines.chunks_mut(shape.width).take(shape.kernel[0]) {
        for right in (0..shape.kernel[1]).rev() {
            add_seen(gradient, area, shape.stride[1], &mut line[right..]);
        }
    }
}

/// Adds its share to each value that a row of windows sees through one tap; `line` begins with that of the first window.
#[inline(always)]
fn add_seen(gradient: &[f32], area: f32, stride: usize, line: &mut [f32]) {
    match stride {
        1 => {
            for (out, gradient) in line.iter_mut().zip(gradient) {
                *out += gradient / area;
            }
        }
        _ => {
            for (out, gradient) in line.chunks_mut(stride).zip(gradient) {
                out[0] += gradient / area;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{each_window, shapes};
    use super::*;
    use crate::random::Random;
    use crate::threads::same_for_threads;

    #[test]
    fn average_and_its_gradient() {
        let shape = Pool2dShape { height: 3, width: 5, kernel: [2, 2], stride: [2, 2] };
        let input = [1., 5., 5., 0., 9., 5., 5., -1., 0., 9., 7., 7., 7., 7., 7.];
        assert_eq!(avg_pool2d_new(&input, &shape), [4.0, 1.0]);
        let gradient = avg_pool2d_backward(&[4.0, 8.0], &shape);
        assert_eq!(gradient[..10], [1., 1., 2., 2., 0., 1., 1., 2., 2., 0.]);
        assert_eq!(gradient[10..], [0.0; 5]);
    }

    proptest! {
        /// The very bits of the sum in reading order, whatever path computes it.
        #[test]
        fn every_shape_agrees_with_single_windows(shape in shapes(), count in 0usize..20, seed in 0u64..1000) {
            let mut input = vec![0.0; count * shape.height * shape.width];
            Random::new(seed, 0, 0).fill_normal(&mut input);
            let y = avg_pool2d_new(&input, &shape);
            let mut gradient = vec![0.0; y.len()];
            Random::new(seed, 1, 0).fill_normal(&mut gradient);
            let mut expected = vec![0.0; input.len()];
            let mut windows = 0;
            each_window(&shape, count, |out, taps| {
                let sum = taps.iter().fold(0.0, |sum: f32, tap| sum + input[*tap]);
                assert_eq!(y[out].to_bits(), (sum / taps.len() as f32).to_bits());
                taps.iter().for_each(|tap| expected[*tap] += gradient[out] / taps.len() as f32);
                windows += 1;
            });
            prop_assert_eq!(windows, y.len());
            prop_assert_eq!(avg_pool2d_backward(&gradient, &shape), expected);
            let mut given = vec![9.0; y.len()];
            avg_pool2d(&input, &shape, &mut given);
            prop_assert_eq!(given, y);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        for (kernel, stride) in [([2, 2], [2, 2]), ([3, 3], [2, 1]), ([27, 30], [1, 1])] {
            let shape = Pool2dShape { height: 27, width: 30, kernel, stride };
            let mut input = vec![0.0; 50 * 27 * 30];
            Random::new(1, 0, 0).fill_normal(&mut input);
            same_for_threads(|| {
                let y = avg_pool2d_new(&input, &shape);
                (avg_pool2d_backward(&y, &shape), y)
            });
        }
    }
}
