//! Max and average pooling over planes, with the gradients.
//!
//! ```text
//! max       y[i, j] = the largest x[i si + a, j sj + b], 0 <= a < ki, 0 <= b < kj
//!           winner[i, j] = a kj + b of the value taken; ties go to the first in reading order
//!           dx[i si + a, j sj + b] = sum of G[i, j] over the windows whose winner this value is
//! average   y[i, j] = (sum of x[i si + a, j sj + b] in reading order) / (ki kj)
//!           dx = sum of G[i, j] / (ki kj) over the windows that see the value
//! ```
//! x `[planes, height, width]`, y and winner `[planes, out_height, out_width]`, window `[ki, kj]`, stride `[si, sj]`. There is
//! no padding; windows may overlap or leave gaps. Every shape must have passed [`Pool2dShape::check`]. The window of 2x2 with
//! stride 2 and the average of whole planes have loops of their own, which compute the same.
//!
//! Source: LeCun et al., Proc. IEEE 1998 (average); Ranzato et al., CVPR 2007 (max).

mod average;
mod largest;
mod max;

pub(crate) use average::mean_planes;
pub use average::{avg_pool2d, avg_pool2d_backward, avg_pool2d_new};
pub use max::{max_pool2d, max_pool2d_backward, max_pool2d_codes, max_pool2d_winners};

use crate::CHUNK;
use crate::geometry::Pool2dShape;

/// How planes are spread over tasks.
#[derive(Clone, Copy)]
struct Planes {
    /// Number of planes.
    count: usize,
    /// Values of a plane of the input.
    input: usize,
    /// Values of a plane of the output.
    output: usize,
    /// Planes that one task handles.
    task: usize,
}

impl Planes {
    /// Those of an input of `len` values.
    fn of_input(shape: &Pool2dShape, len: usize) -> Self {
        let planes = Self::new(shape, len / (shape.height * shape.width));
        assert_eq!(len, planes.count * planes.input, "the input must be whole planes");
        planes
    }

    /// Those of an output of `len` values.
    fn of_output(shape: &Pool2dShape, len: usize) -> Self {
        let planes = Self::new(shape, len / (shape.out_height() * shape.out_width()));
        assert_eq!(len, planes.count * planes.output, "the output must be whole planes");
        planes
    }

    fn new(shape: &Pool2dShape, count: usize) -> Self {
        let (input, output) = (shape.height * shape.width, shape.out_height() * shape.out_width());
        Self { count, input, output, task: (CHUNK / input).max(1) }
    }
}

/// True for the window of 2x2 with stride 2, by far the most frequent: it sees each value once.
fn halves(shape: &Pool2dShape) -> bool {
    shape.kernel == [2, 2] && shape.stride == [2, 2]
}

/// The two lines that a row of 2x2 windows sees, as one pair of values a window.
#[inline(always)]
fn pairs<T>(lines: &[T], width: usize, windows: usize) -> [&[[T; 2]]; 2] {
    let (top, bottom) = lines[..2 * width].split_at(width);
    [&top.as_chunks().0[..windows], &bottom.as_chunks().0[..windows]]
}

/// The same for writing.
#[inline(always)]
fn pairs_mut<T>(lines: &mut [T], width: usize, windows: usize) -> [&mut [[T; 2]]; 2] {
    let (top, bottom) = lines[..2 * width].split_at_mut(width);
    [&mut top.as_chunks_mut().0[..windows], &mut bottom.as_chunks_mut().0[..windows]]
}

/// Calls `visit` with each output of a row and the value that its window sees through one tap; `line` begins with that of
/// the first window. The strides 1 and 2 are written out, for the compiler to vectorise.
#[inline(always)]
fn each_seen<T: Copy, O>(line: &[T], stride: usize, row: &mut [O], mut visit: impl FnMut(&mut O, T)) {
    // Plain loops: what `for_each` is given is not always inlined, and outside it would miss the wide registers.
    match stride {
        1 => {
            for (output, value) in row.iter_mut().zip(line) {
                visit(output, *value);
            }
        }
        2 => {
            let (pairs, rest) = line.as_chunks::<2>();
            let last = row.len() - 1;
            for (output, pair) in row.iter_mut().zip(pairs) {
                visit(output, pair[0]);
            }
            if last == pairs.len() {
                // The last window may see the last value of an odd line.
                visit(&mut row[last], rest[0]);
            }
        }
        _ => {
            for (output, values) in row.iter_mut().zip(line.chunks(stride)) {
                visit(output, values[0]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Odd sizes, windows that overlap, leave gaps or are the whole plane; 2x2 with stride 2 in one of three cases.
    pub(super) fn shapes() -> impl Strategy<Value = Pool2dShape> {
        (1usize..40, 1usize..40, [1usize..6, 1usize..6], [1usize..5, 1usize..5], 0..6).prop_map(
            |(height, width, kernel, stride, kind)| match kind {
                0 | 1 => Pool2dShape { height: height + 1, width: width + 1, kernel: [2, 2], stride: [2, 2] },
                2 => Pool2dShape { height, width, kernel: [height.min(9), width.min(9)], stride },
                _ => Pool2dShape { height: height + 4, width: width + 4, kernel, stride },
            },
        )
    }

    /// Calls `visit` with the index of each output and the indices that its window sees, in reading order.
    pub(super) fn each_window(shape: &Pool2dShape, planes: usize, mut visit: impl FnMut(usize, &[usize])) {
        let mut out = 0;
        for plane in 0..planes {
            for (row, column) in (0..shape.out_height()).flat_map(|row| (0..shape.out_width()).map(move |c| (row, c))) {
                let tap = |down: usize, right: usize| {
                    let line = plane * shape.height + row * shape.stride[0] + down;
                    line * shape.width + column * shape.stride[1] + right
                };
                let rows = 0..shape.kernel[0];
                let taps: Vec<usize> = rows.flat_map(|d| (0..shape.kernel[1]).map(move |r| tap(d, r))).collect();
                visit(out, &taps);
                out += 1;
            }
        }
    }

    #[test]
    #[should_panic(expected = "whole planes")]
    fn half_a_plane_is_refused() {
        max_pool2d_winners(&[0.0; 6], &Pool2dShape { height: 2, width: 2, kernel: [2, 2], stride: [2, 2] });
    }
}
