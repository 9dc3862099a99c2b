//! Two-dimensional convolution of float images and its gradients: patches as a matrix (im2col), then a matrix product.
//!
//! ```text
//! y[o, p]  = sum_k w[o, k] patches(x)[k, p]           forward
//! dx       = scatter(sum_o w[o, k] g[o, p])           gradient of the input
//! dw[o, k] = sum over images and p of g[o, p] patches(x)[k, p]
//! ```
//! k runs over (channel, kernel row, kernel column), p over the output pixels. Images `[batch, channels, height, width]`.

use rayon::prelude::*;

use crate::geometry::Conv2dShape;
use crate::matmul::{Matrix, matmul_here};

/// Images whose weight gradients are added up by one task; fixed, so that the order of the sum is.
const IMAGES_A_PART: usize = 8;

/// Convolution of a batch: `output` `[batch, channels_out, out_height, out_width]`.
pub fn conv2d(input: &[f32], weight: &[f32], shape: &Conv2dShape, output: &mut [f32]) {
    let sizes = Sizes::of(shape);
    output.par_chunks_mut(shape.output_len()).zip(input.par_chunks(shape.input_len())).for_each_init(
        Vec::new,
        |patches, (output, input)| {
            for group in 0..shape.groups {
                let patches = sizes.patches(input, shape, group, patches);
                let weight = Matrix::rows(&weight[group * sizes.weight..], sizes.depth);
                let output = &mut output[group * sizes.output..(group + 1) * sizes.output];
                matmul_here(
                    weight,
                    Matrix::rows(patches, sizes.pixels),
                    [sizes.channels, sizes.pixels, sizes.depth],
                    output,
                    false,
                );
            }
        },
    );
}

/// Gradient of [`conv2d`] with respect to its input.
pub fn conv2d_input_gradient(gradient: &[f32], weight: &[f32], shape: &Conv2dShape, input_gradient: &mut [f32]) {
    let sizes = Sizes::of(shape);
    input_gradient.par_chunks_mut(shape.input_len()).zip(gradient.par_chunks(shape.output_len())).for_each_init(
        || vec![0.0; sizes.depth * sizes.pixels],
        |patches, (input_gradient, gradient)| {
            input_gradient.fill(0.0);
            for group in 0..shape.groups {
                let weight = Matrix::rows(&weight[group * sizes.weight..], sizes.depth).transposed();
                let gradient = Matrix::rows(&gradient[group * sizes.output..], sizes.pixels);
                matmul_here(weight, gradient, [sizes.depth, sizes.pixels, sizes.channels], patches, false);
                scatter_patches(patches, shape, &mut input_gradient[group * sizes.input..(group + 1) * sizes.input]);
            }
        },
    );
}

/// Gradient of [`conv2d`] with respect to its weight.
pub fn conv2d_weight_gradient(input: &[f32], gradient: &[f32], shape: &Conv2dShape, weight_gradient: &mut [f32]) {
    let sizes = Sizes::of(shape);
    let parts: Vec<Vec<f32>> = input
        .par_chunks(IMAGES_A_PART * shape.input_len())
        .zip(gradient.par_chunks(IMAGES_A_PART * shape.output_len()))
        .map_init(Vec::new, |patches, (input, gradient)| {
            let mut part = vec![0.0; shape.weight_len()];
            for (input, gradient) in input.chunks(shape.input_len()).zip(gradient.chunks(shape.output_len())) {
                for group in 0..shape.groups {
                    let patches = sizes.patches(input, shape, group, patches);
                    let gradient = Matrix::rows(&gradient[group * sizes.output..], sizes.pixels);
                    matmul_here(
                        gradient,
                        Matrix::rows(patches, sizes.pixels).transposed(),
                        [sizes.channels, sizes.depth, sizes.pixels],
                        &mut part[group * sizes.weight..(group + 1) * sizes.weight],
                        true,
                    );
                }
            }
            part
        })
        .collect();
    crate::reduce::sum_of_parts(&parts, weight_gradient);
}

/// Sizes of one group: values of its input, weight and output, and of its patch matrix `[depth, pixels]`.
struct Sizes {
    input: usize,
    weight: usize,
    output: usize,
    channels: usize,
    pixels: usize,
    depth: usize,
}

impl Sizes {
    fn of(shape: &Conv2dShape) -> Self {
        let channels = shape.channels_out / shape.groups;
        let (pixels, depth) = (shape.out_pixels(), shape.patch_len());
        Self {
            input: shape.input_len() / shape.groups,
            weight: channels * depth,
            output: channels * pixels,
            channels,
            pixels,
            depth,
        }
    }

    /// The patch matrix of one group; the input itself where it already is that matrix (1x1 kernel, stride 1).
    fn patches<'a>(&self, input: &'a [f32], shape: &Conv2dShape, group: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        let input = &input[group * self.input..(group + 1) * self.input];
        if shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.padding == [0, 0] {
            return input;
        }
        buffer.resize(self.depth * self.pixels, 0.0);
        gather_patches(input, shape, buffer);
        buffer
    }
}

/// Writes the patch matrix `[depth, pixels]` of one group of channels.
fn gather_patches(input: &[f32], shape: &Conv2dShape, patches: &mut [f32]) {
    let out_width = shape.out_width();
    let mut rows = patches.chunks_exact_mut(out_width);
    each_tap(shape, |plane, kernel_row, kernel_column| {
        let plane = &input[plane * shape.height * shape.width..];
        let columns = valid(kernel_column, 1, shape);
        for out_row in 0..shape.out_height() {
            let Some(target) = rows.next() else { return };
            let Some(row) = source(out_row, kernel_row, 0, shape) else {
                target.fill(0.0);
                continue;
            };
            let line = &plane[row * shape.width..][..shape.width];
            target[..columns.start].fill(0.0);
            target[columns.end..].fill(0.0);
            if let Some(first) = columns.clone().next().and_then(|column| source(column, kernel_column, 1, shape)) {
                let target = &mut target[columns.clone()];
                if shape.stride[1] == 1 {
                    target.copy_from_slice(&line[first..first + target.len()]);
                } else {
                    for (target, value) in target.iter_mut().zip(line[first..].iter().step_by(shape.stride[1])) {
                        *target = *value;
                    }
                }
            }
        }
    });
}

/// Adds the patch matrix `[depth, pixels]` back to the pixels it was gathered from.
fn scatter_patches(patches: &[f32], shape: &Conv2dShape, input: &mut [f32]) {
    let out_width = shape.out_width();
    let mut rows = patches.chunks_exact(out_width);
    each_tap(shape, |plane, kernel_row, kernel_column| {
        let plane = &mut input[plane * shape.height * shape.width..];
        let columns = valid(kernel_column, 1, shape);
        for out_row in 0..shape.out_height() {
            let Some(values) = rows.next() else { return };
            let Some(row) = source(out_row, kernel_row, 0, shape) else { continue };
            let line = &mut plane[row * shape.width..][..shape.width];
            if let Some(first) = columns.clone().next().and_then(|column| source(column, kernel_column, 1, shape)) {
                let values = &values[columns.clone()];
                if shape.stride[1] == 1 {
                    line[first..first + values.len()].iter_mut().zip(values).for_each(|(pixel, value)| *pixel += value);
                } else {
                    let pixels = line[first..].iter_mut().step_by(shape.stride[1]);
                    pixels.zip(values).for_each(|(pixel, value)| *pixel += value);
                }
            }
        }
    });
}

/// Calls `visit` with channel, kernel row and kernel column of each row of the patch matrix of one group.
fn each_tap(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    for channel in 0..shape.channels_in / shape.groups {
        for kernel_row in 0..shape.kernel[0] {
            for kernel_column in 0..shape.kernel[1] {
                visit(channel, kernel_row, kernel_column);
            }
        }
    }
}

/// The input position that output position `out` sees through kernel tap `tap`, or `None` in the padding.
fn source(out: usize, tap: usize, axis: usize, shape: &Conv2dShape) -> Option<usize> {
    let size = [shape.height, shape.width][axis];
    let position = (out * shape.stride[axis] + tap * shape.dilation[axis]).checked_sub(shape.padding[axis])?;
    (position < size).then_some(position)
}

/// The output positions whose input through kernel tap `tap` is not in the padding.
fn valid(tap: usize, axis: usize, shape: &Conv2dShape) -> std::ops::Range<usize> {
    let (size, out) = ([shape.height, shape.width][axis], [shape.out_height(), shape.out_width()][axis]);
    let (offset, stride, padding) = (tap * shape.dilation[axis], shape.stride[axis], shape.padding[axis]);
    let end = (size + padding).saturating_sub(offset).div_ceil(stride).min(out);
    padding.saturating_sub(offset).div_ceil(stride).min(end)..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    fn shapes() -> impl Strategy<Value = Conv2dShape> {
        (
            1usize..3,
            1usize..4,
            1usize..4,
            [1usize..9, 1..9],
            [1usize..4, 1..4],
            [1usize..3, 1..3],
            [0usize..3, 0..3],
            [1usize..3, 1..3],
        )
            .prop_map(|(groups, channels_in, channels_out, [height, width], kernel, stride, padding, dilation)| {
                Conv2dShape {
                    channels_in: groups * channels_in,
                    channels_out: groups * channels_out,
                    height,
                    width,
                    kernel,
                    stride,
                    padding,
                    dilation,
                    groups,
                }
            })
            .prop_filter("the kernel fits", |shape| shape.check().is_ok())
    }

    fn whole(stream: u32, len: usize) -> Vec<f32> {
        (0..len).map(|i| Random::new(2, 0, stream).below(i as u64, 9) as f32 - 4.0).collect()
    }

    /// Calls `visit` with the indices of input, weight and output of every product of the sum.
    fn each_product(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
        let (in_group, out_group) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
        for out in 0..shape.output_len() {
            let (channel, pixel) = (out / shape.out_pixels(), out % shape.out_pixels());
            let (row, column) = (pixel / shape.out_width(), pixel % shape.out_width());
            for k in 0..shape.patch_len() {
                let (plane, tap) = (k / (shape.kernel[0] * shape.kernel[1]), k % (shape.kernel[0] * shape.kernel[1]));
                let y = source(row, tap / shape.kernel[1], 0, shape);
                let x = source(column, tap % shape.kernel[1], 1, shape);
                if let (Some(y), Some(x)) = (y, x) {
                    let plane = channel / out_group * in_group + plane;
                    visit((plane * shape.height + y) * shape.width + x, channel * shape.patch_len() + k, out);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn forward_and_gradients_agree_with_the_plain_sums(shape in shapes(), batch in 1usize..11) {
            let (x, w) = (whole(0, batch * shape.input_len()), whole(1, shape.weight_len()));
            let g = whole(2, batch * shape.output_len());
            let mut expected = (vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
            for image in 0..batch {
                each_product(&shape, |i, k, o| {
                    let (i, o) = (image * shape.input_len() + i, image * shape.output_len() + o);
                    expected.0[o] += x[i] * w[k];
                    expected.1[i] += g[o] * w[k];
                    expected.2[k] += g[o] * x[i];
                });
            }
            let mut found = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
            conv2d(&x, &w, &shape, &mut found.0);
            conv2d_input_gradient(&g, &w, &shape, &mut found.1);
            conv2d_weight_gradient(&x, &g, &shape, &mut found.2);
            prop_assert_eq!(found, expected);
        }
    }
}
