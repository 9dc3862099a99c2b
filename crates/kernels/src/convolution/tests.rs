use proptest::prelude::*;

use super::*;
use crate::random::Random;

/// Small shapes of every kind: strides, padding, dilation, groups.
pub(crate) fn shapes() -> impl Strategy<Value = Conv2dShape> {
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

/// The input position that output position `out` sees through kernel tap `tap`, or `None` in the padding.
fn source(out: usize, tap: usize, axis: usize, shape: &Conv2dShape) -> Option<usize> {
    let size = [shape.height, shape.width][axis];
    let position = (out * shape.stride[axis] + tap * shape.dilation[axis]).checked_sub(shape.padding[axis])?;
    (position < size).then_some(position)
}

fn whole(stream: u32, len: usize) -> Vec<f32> {
    (0..len).map(|i| Random::new(2, 0, stream).below(i as u64, 9) as f32 - 4.0).collect()
}

/// Calls `visit` with the indices of input, weight and output of every product, for each output in the order of its sum.
pub(crate) fn each_product(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
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

/// Images so large that their planes are computed in several bands of rows.
pub(crate) fn large_shapes() -> impl Strategy<Value = Conv2dShape> {
    (2usize..4, prop_oneof![2usize..5, 17usize..19], [75usize..84, 75..84], [4usize..6, 4..6], [1usize..3, 1..3])
        .prop_map(|(quarter, channels_out, [height, width], kernel, stride)| {
            // Planes shrink with the stride, and grow with the channels.
            let channels_in = 4 * quarter * stride[1];
            let padding = [kernel[0] / 2, kernel[1] - 1];
            Conv2dShape {
                channels_in,
                channels_out,
                height,
                width,
                kernel,
                stride,
                padding,
                dilation: [1, 1],
                groups: 1,
            }
        })
}

/// Forward and backward pass of float and coded images against sums of one product after another; all numbers are whole.
fn check(shape: &Conv2dShape, batch: usize) -> Result<(), TestCaseError> {
    let (x, w) = (whole(0, batch * shape.input_len()), whole(1, shape.weight_len()));
    let g = whole(2, batch * shape.output_len());
    let mut expected = (vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    for image in 0..batch {
        each_product(shape, |i, k, o| {
            let (i, o) = (image * shape.input_len() + i, image * shape.output_len() + o);
            expected.0[o] += x[i] * w[k];
            expected.1[i] += g[o] * w[k];
            expected.2[k] += g[o] * x[i];
        });
    }
    let wanted = Wanted { input: true, weight: true, bias: true };
    let bias: Vec<f32> = (0..shape.channels_out).map(|c| c as f32).collect();
    let by_channel: Vec<f32> = (0..shape.channels_out).map(|c| 1.0 + (c % 3) as f32).collect();
    let pixels = shape.out_pixels();
    for (i, y) in expected.0.iter_mut().enumerate() {
        let channel = i / pixels % shape.channels_out;
        *y = *y * by_channel[channel] + bias[channel];
    }
    let sum_of = |c| g.chunks(pixels).skip(c).step_by(shape.channels_out).flatten().sum();
    let channel_sums: Vec<f32> = (0..shape.channels_out).map(sum_of).collect();
    let y = conv2d(Images::Float(&x), &w, shape, &by_channel, &bias);
    prop_assert!(y == expected.0, "forward");
    let found = conv2d_backward(Images::Float(&x), &w, &g, shape, wanted);
    prop_assert!(found.input.as_ref() == Some(&expected.1), "gradient of the images");
    prop_assert!(found.weight.as_ref() == Some(&expected.2), "gradient of the weight");
    prop_assert_eq!(found.bias.as_ref(), Some(&channel_sums));
    // The same whole numbers as codes.
    let codes: Vec<u8> = x.iter().map(|x| (x + 4.0) as u8).collect();
    let coded = Images::Coded(Coded { codes: &codes, lowest: -4.0, scale: 0.5 });
    prop_assert!(conv2d(coded, &w, shape, &by_channel, &bias) == expected.0, "forward of codes");
    let found = conv2d_backward(coded, &w, &g, shape, wanted);
    let half: Vec<f32> = expected.2.iter().map(|dw| dw * 0.5).collect();
    prop_assert!(found.input == Some(expected.1), "gradient of the coded images");
    prop_assert!(found.weight == Some(half), "gradient of the weight of coded images");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn forward_and_gradients_agree_with_the_plain_sums(shape in shapes(), batch in 1usize..11) {
        check(&shape, batch)?;
    }
}

proptest! {
    // Failures are not made smaller: that would take minutes.
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(5) })]
    #[test]
    fn several_bands_of_a_large_image_agree_with_the_plain_sums(shape in large_shapes()) {
        prop_assert!(input_planes(&shape).bands().count() > 1);
        check(&shape, 1)?;
    }
}
