//! Pooling of whole numbers.

use crate::geometry::Pool2dShape;

/// The largest whole number of each window of planes `[planes, height, width]`; what does not fill a window at the right and
/// bottom edges is left out.
///
/// # Panics
/// If a length does not fit the shape.
pub fn max_pool2d(input: &[i16], shape: &Pool2dShape, output: &mut [i16]) {
    let (plane, columns) = (shape.height * shape.width, shape.out_width());
    let out_plane = shape.out_height() * columns;
    assert!(input.len().is_multiple_of(plane) && output.len() == input.len() / plane * out_plane);
    for (input, output) in input.chunks_exact(plane).zip(output.chunks_exact_mut(out_plane)) {
        for (row, output) in output.chunks_exact_mut(columns).enumerate() {
            let first = &input[row * shape.stride[0] * shape.width..];
            // Row by row of the window, so that the inner loop runs along the output.
            for line in first.chunks(shape.width).take(shape.kernel[0]).enumerate() {
                let (place, line) = line;
                for (column, out) in output.iter_mut().enumerate() {
                    let window = &line[column * shape.stride[1]..][..shape.kernel[1]];
                    let largest = window.iter().copied().fold(i16::MIN, i16::max);
                    *out = if place == 0 { largest } else { largest.max(*out) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_may_overlap_and_leave_edges_out() {
        let input: Vec<i16> = vec![1, 2, 3, 4, -5, 6, 7, 8, 9, 0, -1, -2, -3, 5, 4];
        let shape = Pool2dShape { height: 3, width: 5, kernel: [2, 2], stride: [1, 2] };
        let mut output = vec![0; 4];
        max_pool2d(&input, &shape, &mut output);
        assert_eq!(output, [7, 9, 7, 9]);
    }
}
