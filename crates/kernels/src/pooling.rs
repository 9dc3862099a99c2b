//! Max and average pooling over planes, with the gradients.

use rayon::prelude::*;

use crate::geometry::Pool2dShape;

/// Max pooling: `output` `[planes, out_height, out_width]` of `input` `[planes, height, width]`.
///
/// A later value replaces the maximum only if it is greater, so ties go to the first in reading order.
pub fn max_pool2d(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    for_each_plane(input, shape, output, |input, output| {
        for (row, output) in output.chunks_mut(shape.out_width()).enumerate() {
            each_tap_row(input, shape, row, |tap, values| {
                if tap == 0 {
                    output.iter_mut().zip(values).for_each(|(best, value)| *best = *value);
                } else {
                    output
                        .iter_mut()
                        .zip(values)
                        .for_each(|(best, value)| *best = if value > best { *value } else { *best });
                }
            });
        }
    });
}

/// Gradient of [`max_pool2d`]: each output's gradient goes to the value that was the maximum.
pub fn max_pool2d_backward(input: &[f32], gradient: &[f32], shape: &Pool2dShape, input_gradient: &mut [f32]) {
    let (plane, out_plane) = plane_sizes(shape);
    let width = shape.out_width();
    input_gradient
        .par_chunks_mut(plane)
        .zip(input.par_chunks(plane))
        .zip(gradient.par_chunks(out_plane))
        .with_min_len(8)
        .for_each_init(
            || (vec![0.0; width], vec![0u32; width]),
            |(best, winner), ((input_gradient, input), gradient)| {
                input_gradient.fill(0.0);
                for (row, gradient) in gradient.chunks(width).enumerate() {
                    each_tap_row(input, shape, row, |tap, values| {
                        for ((best, winner), value) in best.iter_mut().zip(winner.iter_mut()).zip(values) {
                            let wins = tap == 0 || value > best;
                            *best = if wins { *value } else { *best };
                            *winner = if wins { tap } else { *winner };
                        }
                    });
                    for (column, (gradient, winner)) in gradient.iter().zip(winner.iter()).enumerate() {
                        let (down, right) = (*winner as usize / shape.kernel[1], *winner as usize % shape.kernel[1]);
                        let place = (row * shape.stride[0] + down) * shape.width + column * shape.stride[1] + right;
                        input_gradient[place] += gradient;
                    }
                }
            },
        );
}

/// Calls `visit` with the number of each tap, in reading order, and the values that the windows of an output row see
/// through it.
#[inline(always)]
fn each_tap_row<'a>(
    input: &'a [f32],
    shape: &Pool2dShape,
    row: usize,
    mut visit: impl FnMut(u32, std::iter::StepBy<std::slice::Iter<'a, f32>>),
) {
    for down in 0..shape.kernel[0] {
        let line = &input[(row * shape.stride[0] + down) * shape.width..][..shape.width];
        for right in 0..shape.kernel[1] {
            visit((down * shape.kernel[1] + right) as u32, line[right..].iter().step_by(shape.stride[1]));
        }
    }
}

/// Average pooling: the sum of a window in reading order, divided by its area.
pub fn avg_pool2d(input: &[f32], shape: &Pool2dShape, output: &mut [f32]) {
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    for_each_plane(input, shape, output, |input, output| {
        each_window(shape, |out, first| {
            let mut sum = 0.0;
            each_tap(shape, first, |tap| sum += input[tap]);
            output[out] = sum / area;
        });
    });
}

/// Gradient of [`avg_pool2d`].
pub fn avg_pool2d_backward(gradient: &[f32], shape: &Pool2dShape, input_gradient: &mut [f32]) {
    let (plane, out_plane) = plane_sizes(shape);
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    input_gradient.par_chunks_mut(plane).zip(gradient.par_chunks(out_plane)).for_each(|(input_gradient, gradient)| {
        input_gradient.fill(0.0);
        each_window(shape, |out, first| {
            let share = gradient[out] / area;
            each_tap(shape, first, |tap| input_gradient[tap] += share);
        });
    });
}

fn plane_sizes(shape: &Pool2dShape) -> (usize, usize) {
    (shape.height * shape.width, shape.out_height() * shape.out_width())
}

fn for_each_plane(input: &[f32], shape: &Pool2dShape, output: &mut [f32], pool: impl Fn(&[f32], &mut [f32]) + Sync) {
    let (plane, out_plane) = plane_sizes(shape);
    output
        .par_chunks_mut(out_plane)
        .zip(input.par_chunks(plane))
        .with_min_len(8)
        .for_each(|(output, input)| pool(input, output));
}

/// Calls `visit` with the index of each output and of the first input of its window.
#[inline(always)]
fn each_window(shape: &Pool2dShape, mut visit: impl FnMut(usize, usize)) {
    let out_width = shape.out_width();
    for row in 0..shape.out_height() {
        for column in 0..out_width {
            visit(row * out_width + column, row * shape.stride[0] * shape.width + column * shape.stride[1]);
        }
    }
}

/// Calls `visit` with the index of each input of the window that begins at `first`, in reading order.
#[inline(always)]
fn each_tap(shape: &Pool2dShape, first: usize, mut visit: impl FnMut(usize)) {
    for row in 0..shape.kernel[0] {
        for column in 0..shape.kernel[1] {
            visit(first + row * shape.width + column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Pool2dShape = Pool2dShape { height: 3, width: 5, kernel: [2, 2], stride: [2, 2] };
    const INPUT: [f32; 15] = [1., 5., 5., 0., 9., 5., 5., -1., 0., 9., 7., 7., 7., 7., 7.];

    #[test]
    fn maximum_and_its_gradient_take_the_first_of_equals_and_leave_out_the_edge() {
        let mut output = [0.0; 2];
        max_pool2d(&INPUT, &SHAPE, &mut output);
        assert_eq!(output, [5.0, 5.0]);
        let mut gradient = [1.0; 15];
        max_pool2d_backward(&INPUT, &[10.0, 20.0], &SHAPE, &mut gradient);
        let mut expected = [0.0; 15];
        (expected[1], expected[2]) = (10.0, 20.0);
        assert_eq!(gradient, expected);
    }

    #[test]
    fn average_and_its_gradient() {
        let mut output = [0.0; 2];
        avg_pool2d(&INPUT, &SHAPE, &mut output);
        assert_eq!(output, [4.0, 1.0]);
        let mut gradient = [1.0; 15];
        avg_pool2d_backward(&[4.0, 8.0], &SHAPE, &mut gradient);
        assert_eq!(gradient[..10], [1., 1., 2., 2., 0., 1., 1., 2., 2., 0.]);
        assert_eq!(gradient[10..], [0.0; 5]);
    }
}
