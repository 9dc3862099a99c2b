//! Operators on plain tensors have the bits of the packed model's arithmetic, and means and patches agree with their
//! compositions of Burn's operators.

mod fused;

use burn::tensor::{Device, Tensor};
use fused::{FORMS, Form, STEP, flat, float, floats, normal, plain, run, shaped};
use hardgrad::coded::Activation;
use hardgrad::ops::{self, Conv2dOptions};
use hardgrad::{composed, runtime};
use hardgrad_kernels::geometry::Conv2dShape;
use hardgrad_kernels::{gelu, layer_norm, ordered};
use proptest::prelude::*;

fn bits(values: impl IntoIterator<Item = f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// Plain values in this shape and form, and the same row by row.
fn given<const D: usize>(dims: [usize; D], form: Form, stream: u32) -> (Activation<D>, Vec<f32>) {
    let device = Device::flex();
    let leaf = Tensor::<1>::from_floats(normal(dims.iter().product(), stream).as_slice(), &device);
    let x = shaped(&leaf, dims, form, &Tensor::from_floats([STEP], &device));
    let values = floats(x.clone().values());
    (x, values)
}

fn forms() -> impl Strategy<Value = Form> {
    proptest::sample::select(FORMS.as_slice())
}

fn float_forms() -> impl Strategy<Value = Form> {
    proptest::sample::select(&FORMS[..2])
}

/// Fused and composed give the same values and gradients within `tolerance` of the largest.
fn compare(inputs: &[Vec<f32>], tolerance: f32, operator: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    let found = run(inputs, None, &operator);
    let expected = composed::only(|| run(inputs, None, &operator));
    let near = |a: &[f32], b: &[f32]| {
        let size = b.iter().fold(1.0f32, |size, value| size.max(value.abs()));
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * size)
    };
    assert!(near(&found.y, &expected.y), "{:?}, composed {:?}", found.y, expected.y);
    for (found, expected) in found.gradients.iter().zip(&expected.gradients) {
        let (found, expected) = (found.as_deref().unwrap_or_default(), expected.as_deref().unwrap_or_default());
        assert!(near(found, expected), "gradients {found:?}, composed {expected:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn plain_convolutions_have_the_bits_of_the_ordered_sums(
        batch in 1usize..4, groups in 1usize..4, inputs in 1usize..4, outputs in 1usize..4, size in [3usize..11, 3..11],
        kernel in [1usize..4, 1..4], stride in [1usize..3, 1..3], padding in [0usize..3, 0..3], bias: bool, form in forms(),
    ) {
        let shape = Conv2dShape {
            channels_in: groups * inputs, channels_out: groups * outputs, height: size[0], width: size[1],
            kernel, stride, padding, dilation: [1, 1], groups,
        };
        prop_assume!(shape.check().is_ok());
        let (x, values) = given([batch, shape.channels_in, size[0], size[1]], form, 0);
        let (weight, shift) = (normal(shape.weight_len(), 1), normal(shape.channels_out, 2));
        let options = Conv2dOptions { stride, padding, groups, ..Conv2dOptions::default() };
        let kernels = plain(weight.clone(), [shape.channels_out, inputs, kernel[0], kernel[1]]);
        let y = ops::conv2d(x, kernels, bias.then(|| plain(shift.clone(), [shape.channels_out])), options);
        let mut expected = vec![0.0; batch * shape.output_len()];
        let shift = bias.then_some(shift.as_slice());
        for (x, y) in values.chunks(shape.input_len()).zip(expected.chunks_mut(shape.output_len())) {
            ordered::conv2d(x, &weight, shift, &shape, &mut Vec::new(), y);
        }
        prop_assert_eq!(bits(floats(y)), bits(expected));
    }

    #[test]
    fn plain_linear_layers_have_the_bits_of_the_ordered_sums(
        batch in 1usize..4, tokens in 1usize..20, inputs in 1usize..40, outputs in 1usize..120, bias: bool, form in forms(),
    ) {
        let (x, values) = given([batch, tokens, inputs], form, 0);
        let (weight, shift) = (normal(inputs * outputs, 1), normal(outputs, 2));
        let y = ops::linear(x, plain(weight.clone(), [inputs, outputs]), bias.then(|| plain(shift.clone(), [outputs])));
        let turned: Vec<f32> = (0..weight.len()).map(|i| weight[i % inputs * outputs + i / inputs]).collect();
        let mut expected = vec![0.0; batch * tokens * outputs];
        let shift = bias.then_some(shift.as_slice());
        ordered::matmul(&values, &turned, shift, [batch * tokens, outputs, inputs], &mut expected);
        prop_assert_eq!(bits(floats(y)), bits(expected));
    }

    #[test]
    fn plain_tokens_have_the_bits_of_the_ordered_sums(
        batch in 1usize..4, tokens in 1usize..20, heads in 1usize..4, width in 1usize..10, form in float_forms(),
    ) {
        let inner = heads * width;
        let (qkv, values) = given([batch, tokens, 3 * inner], form, 0);
        let y = ops::attention(qkv.clone().values(), heads);
        let mut expected = vec![0.0; batch * tokens * inner];
        for (x, y) in values.chunks(3 * tokens * inner).zip(expected.chunks_mut(tokens * inner)) {
            ordered::attention(x, tokens, heads, width, &mut Vec::new(), y);
        }
        prop_assert_eq!(bits(floats(y)), bits(expected));
        let mut expected = vec![0.0; values.len()];
        gelu::forward_into(&values, &mut expected);
        prop_assert_eq!(bits(floats(ops::gelu(qkv.clone().values()))), bits(expected.iter().copied()));
        let (gamma, beta) = (normal(3 * inner, 1), normal(3 * inner, 2));
        layer_norm::forward_rows(&values, &gamma, &beta, 1e-3, &mut expected);
        let (gamma, beta) = (plain(gamma, [3 * inner]), plain(beta, [3 * inner]));
        prop_assert_eq!(bits(floats(ops::layer_norm(qkv.values(), gamma, beta, 1e-3))), bits(expected));
    }

    #[test]
    fn means_are_the_ordered_ones_and_agree_with_their_compositions(
        batch in 1usize..4, channels in 1usize..20, size in [1usize..9, 1..9], form in forms(),
    ) {
        let dims = [batch, channels, size[0], size[1]];
        let (x, values) = given(dims, form, 0);
        let mut expected = vec![0.0; batch * channels];
        ordered::mean_planes(&values, batch * channels, size[0] * size[1], &mut expected);
        prop_assert_eq!(bits(floats(ops::global_mean(x))), bits(expected));
        let inputs = [normal(values.len(), 0), vec![STEP]];
        compare(&inputs, 1e-5, |leaves| flat(ops::global_mean(shaped(&leaves[0], dims, form, &leaves[1]))));
        let dims = [batch, size[0] * size[1], channels];
        let (x, values) = given(dims, form, 0);
        let mut expected = vec![0.0; batch * channels];
        ordered::mean_tokens(&values, dims[1], channels, &mut expected);
        prop_assert_eq!(bits(floats(ops::token_mean(x))), bits(expected));
        compare(&inputs, 1e-5, |leaves| flat(ops::token_mean(shaped(&leaves[0], dims, form, &leaves[1]))));
    }

    #[test]
    fn patches_agree_with_their_composition_and_codes_stay_codes(
        batch in 1usize..4, channels in 1usize..4, grid in [1usize..4, 1..4], size in [1usize..4, 1..4], form in forms(),
    ) {
        let dims = [batch, channels, grid[0] * size[0], grid[1] * size[1]];
        let (x, values) = given(dims, form, 0);
        let y = ops::patches(x, size);
        prop_assert_eq!(y.dims(), [batch, grid[0] * grid[1], channels * size[0] * size[1]]);
        prop_assert_eq!(matches!(y, Activation::Coded(_)), form == Form::Coded);
        let expected = floats(composed::patches(plain(values.clone(), dims), size));
        prop_assert_eq!(bits(floats(y.values())), bits(expected));
        let inputs = [normal(values.len(), 0), vec![STEP]];
        compare(&inputs, 1e-5, |leaves| {
            flat(ops::patches(shaped(&leaves[0], dims, form, &leaves[1]), size).values())
        });
        compare(&inputs[..1], 0.0, |leaves| flat(ops::patches(float(&leaves[0], dims, Form::View), size).values()));
    }
}

#[test]
fn averages_of_pixels_are_floats() {
    let pixels = runtime::Pixels { scale: 0.5, zero_point: 2 };
    let x = hardgrad::coded::CodedTensor::from_bytes(vec![0, 2, 4, 6], [1, 1, 2, 2], pixels);
    let y = ops::avg_pool2d(x.clone(), [2, 1], [2, 1]);
    assert!(matches!(y, Activation::Float(_)));
    assert_eq!(floats(y.values()), [0.0, 1.0]);
    assert_eq!(floats(ops::global_mean(x)), [0.5]);
}

#[test]
fn evaluation_gives_the_same_bytes_with_any_number_of_threads() {
    let dims = [9, 6, 17, 16];
    let results = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (x, _) = given(dims, Form::Dense, 0);
            let options = Conv2dOptions { padding: [1, 1], ..Conv2dOptions::default() };
            let y = ops::conv2d(x.clone(), plain(normal(8 * 54, 1), [8, 6, 3, 3]), None, options);
            let tokens = ops::patches(x, [1, 4]).values();
            let attended = ops::attention(tokens.clone(), 2);
            let product = ops::linear(tokens, plain(normal(24 * 130, 2), [24, 130]), None);
            let mean = ops::token_mean(attended.clone());
            [bits(floats(y)), bits(floats(attended)), bits(floats(product)), bits(floats(mean))]
        })
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
}
