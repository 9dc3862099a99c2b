//! Fused operators against their compositions of Burn's operators: random shapes (empty, one value, odd lengths), views that
//! are not contiguous, forward to the bit where rounding allows, gradients to rounding.

use burn::tensor::{Device, Int, Tensor, TensorData};
use hardgrad::mask::HardConcrete;
use hardgrad::ops::{Bounds, ReluSurrogate, Rule};
use hardgrad::random::Random;
use hardgrad::{Surrogate, categorical, codebook, composed, graph, mask, ops, select};
use proptest::prelude::*;

/// Normal values times `spread`, some of them on round numbers where ties and bounds lie.
fn draw(shape: [usize; 2], spread: f32, seed: u64) -> Tensor<2> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    Random::new(seed, 0, 0).fill_normal(&mut values);
    for (index, value) in values.iter_mut().enumerate() {
        *value *= spread;
        if index % 7 == 3 {
            *value = (*value * 2.0).round() / 2.0;
        }
    }
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn uniform<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    Random::new(seed, 1, 0).fill_uniform(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A leaf with the values of `x`; turned, it is a view that is not contiguous.
fn leaf<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    Tensor::from_data(x.to_data(), &Device::flex().autodiff()).require_grad()
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

/// Forward equal within `forward` (0: to the bit), gradients within 1e-6 of the largest gradient or of 1, for each input.
fn compare<const N: usize>(
    what: &str,
    inputs: [Tensor<2>; N],
    forward: f32,
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    oracle: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    compare_differences(what, inputs, forward, 1.0, fused, oracle);
}

/// [`compare`] for gradients that are differences of terms up to `size`, whose rounding they keep.
fn compare_differences<const N: usize>(
    what: &str,
    inputs: [Tensor<2>; N],
    forward: f32,
    size: f32,
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    oracle: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    let run = |function: &dyn Fn([Tensor<2>; N]) -> Tensor<2>| {
        let leaves = inputs.each_ref().map(leaf);
        let y = function(leaves.clone());
        let weights = draw(y.dims(), 1.0, 99);
        let gradients = (y.clone() * weights).sum().backward();
        let gradients = leaves.map(|leaf| leaf.grad(&gradients).map(floats));
        (floats(y.inner()), gradients)
    };
    let (y, gradients) = run(&fused);
    let (expected, expected_gradients) = run(&oracle);
    assert_eq!(y.len(), expected.len(), "{what}");
    for (index, (a, b)) in y.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= forward * (1.0 + b.abs()), "{what}: y[{index}] is {a}, composed {b}");
    }
    for (input, (found, expected)) in gradients.into_iter().zip(expected_gradients).enumerate() {
        let (found, expected) = (found.expect(what), expected.expect(what));
        // A gradient that is a sum of many terms keeps the rounding of each, whatever they cancel to.
        let terms = (y.len() / found.len().max(1)).max(1) as f32;
        let scale = expected.iter().fold(size, |largest, value| largest.max(value.abs())) * terms.sqrt();
        for (index, (a, b)) in found.iter().zip(&expected).enumerate() {
            let tolerance = 1e-6 * scale + 1e-6 * b.abs();
            assert!((a - b).abs() <= tolerance, "{what}: gradient {input}[{index}] is {a}, composed {b}");
        }
    }
}

/// Reads the tensor turned, so that its values do not lie row by row in memory.
fn turned(x: Tensor<2>) -> Tensor<2> {
    x.transpose()
}

/// Mostly short rows; some that are cut into pieces for the threads.
fn columns() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..41, 1 => 9_000usize..20_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn functions_of_each_value(
        rows in 0usize..5, columns in columns(), turn: bool, seed in 0u64..1000, bits in 1u32..6,
    ) {
        let x = draw([rows, columns], 1.3, seed);
        let view = move |x: Tensor<2>| if turn { turned(x) } else { x };
        compare("round", [x.clone()], 0.0, |[x]| ops::round(view(x)), |[x]| composed::round(view(x)));
        for &surrogate in Surrogate::ALL {
            compare(
                surrogate.name(), [x.clone()], 0.0,
                |[x]| ops::sign(view(x), surrogate), |[x]| composed::sign(view(x), surrogate),
            );
        }
        for &rule in Rule::ALL {
            let bounds = [Bounds::signed(bits)];
            compare(
                "fake_quant", [x.clone()], 0.0,
                |[x]| ops::fake_quant(view(x), &[0.37], &bounds, None, rule),
                |[x]| composed::fake_quant(view(x), &[0.37], &bounds, None, rule),
            );
        }
        compare(
            "dorefa_activation", [x.clone()], 0.0,
            |[x]| ops::dorefa_activation(view(x), bits), |[x]| composed::dorefa_activation(view(x), bits),
        );
        for &surrogate in ReluSurrogate::ALL {
            compare(
                "quantized_relu", [x.clone()], 0.0,
                |[x]| ops::quantized_relu(view(x), 0.3, bits, surrogate),
                |[x]| composed::quantized_relu(view(x), 0.3, bits, surrogate),
            );
        }
        let u = uniform([rows, columns], seed);
        let shape = HardConcrete::default();
        compare(
            "hard_concrete", [x.clone()], 1e-6,
            |[x]| mask::hard_concrete(view(x), view(u.clone()), shape),
            |[x]| composed::hard_concrete(view(x), view(u.clone()), shape),
        );
        compare(
            "bernoulli_edges", [x.clone()], 0.0,
            |[x]| graph::bernoulli_edges(view(x), view(u.clone())),
            |[x]| composed::bernoulli_edges(view(x), view(u.clone())),
        );
    }

    #[test]
    fn functions_with_statistics_or_parameters(
        rows in 1usize..5, columns in 1usize..99, turn: bool, seed in 0u64..1000, bits in 2u32..6,
    ) {
        let x = draw([rows, columns], 1.3, seed);
        let view = move |x: Tensor<2>| if turn { turned(x) } else { x };
        let parameter = |x: Tensor<2>| x.reshape([1]);
        let one = |value: f32| Tensor::<2>::from_floats([[value]], &Device::flex());
        compare(
            "dorefa_weight", [x.clone()], 1e-6,
            |[x]| ops::dorefa_weight(view(x), 8), |[x]| composed::dorefa_weight(view(x), 8),
        );
        compare(
            "magnitude_aware_sign", [x.clone()], 1e-6,
            |[x]| ops::magnitude_aware_sign(view(x), 0), |[x]| composed::magnitude_aware_sign(view(x), 0),
        );
        compare(
            "magnitude_aware_sign", [x.clone()], 1e-6,
            |[x]| ops::magnitude_aware_sign(view(x), 1), |[x]| composed::magnitude_aware_sign(view(x), 1),
        );
        compare("ternary_twn", [x.clone()], 0.0, |[x]| ops::ternary_twn(view(x)), |[x]| composed::ternary_twn(view(x)));
        compare(
            "ternary_absmean", [x.clone()], 1e-6,
            |[x]| ops::ternary_absmean(view(x)), |[x]| composed::ternary_absmean(view(x)),
        );
        compare(
            "pact", [x.clone(), one(1.1)], 0.0,
            |[x, alpha]| ops::pact(view(x), parameter(alpha), bits),
            |[x, alpha]| composed::pact(view(x), parameter(alpha), bits),
        );
        let bounds = Bounds::signed(bits);
        compare(
            "lsq", [x.clone(), one(0.37)], 0.0,
            |[x, scale]| ops::lsq(view(x), parameter(scale), bounds, None),
            |[x, scale]| composed::lsq(view(x), parameter(scale), bounds, None),
        );
        for axis in [0, 1] {
            let dims = if turn { [columns, rows] } else { [rows, columns] };
            let scale = uniform([1, dims[axis]], seed) + 0.1;
            let row = |x: Tensor<2>| { let count = x.dims()[1]; x.reshape([count]) };
            compare(
                "lsq with an axis", [x.clone(), scale], 0.0,
                |[x, scale]| ops::lsq(view(x), row(scale), bounds, Some(axis)),
                |[x, scale]| composed::lsq(view(x), row(scale), bounds, Some(axis)),
            );
        }
        for &surrogate in Surrogate::ALL {
            compare(
                "threshold_mask", [x.clone(), one(0.5)], 0.0,
                |[x, threshold]| mask::threshold_mask(view(x), parameter(threshold), surrogate),
                |[x, threshold]| composed::threshold_mask(view(x), parameter(threshold), surrogate),
            );
        }
        compare(
            "soft_threshold", [x.clone(), one(-0.5)], 1e-6,
            |[x, s]| mask::soft_threshold(view(x), parameter(s)),
            |[x, s]| composed::soft_threshold(view(x), parameter(s)),
        );
        let scores = draw([rows, columns], 1.0, seed + 5000);
        let chosen = floats(mask::score_mask(Tensor::ones([rows, columns], &Device::flex()), scores.clone(), 0.4));
        let chosen = Tensor::from_data(TensorData::new(chosen, [rows, columns]), &Device::flex());
        compare(
            "score_mask", [x, scores], 0.0,
            |[x, scores]| mask::score_mask(x, scores, 0.4),
            |[x, scores]| composed::score_mask(x, scores, chosen.clone()),
        );
    }

    #[test]
    fn functions_of_rows(rows in 1usize..6, columns in 1usize..37, turn: bool, seed in 0u64..1000) {
        let dims = if turn { [columns, rows] } else { [rows, columns] };
        let logits = draw([rows, columns], 2.0, seed);
        let view = move |x: Tensor<2>| if turn { turned(x) } else { x };
        let noise = uniform(dims, seed);
        for hard in [false, true] {
            compare(
                "gumbel_softmax", [logits.clone()], 1e-6,
                |[x]| categorical::gumbel_softmax(view(x), noise.clone(), 0.7, hard),
                |[x]| composed::gumbel_softmax(view(x), noise.clone(), 0.7, hard),
            );
        }
        let sample = categorical::sample(&view(logits.clone()), &Random::new(seed, 2, 0));
        compare(
            "straight_through_categorical", [logits.clone()], 0.0,
            |[x]| categorical::straight_through_categorical(view(x), sample.clone(), 0.7),
            |[x]| composed::straight_through_categorical(view(x), sample.clone(), 0.7),
        );
        for temperature in [1.0, 1.4] {
            // Two products of a softmax with the weights, of which one counts twice: normal weights reach 3.
            compare_differences(
                "reinmax", [logits.clone()], 0.0, 4.0,
                |[x]| categorical::reinmax(view(x), sample.clone(), temperature),
                |[x]| composed::reinmax(view(x), sample.clone(), temperature),
            );
        }
        compare(
            "gapped_straight_through", [logits.clone()], 0.0,
            |[x]| categorical::gapped_straight_through(view(x), sample.clone(), 0.7, 1.0),
            |[x]| composed::gapped_straight_through(view(x), sample.clone(), 0.7, 1.0),
        );
        let noises = uniform([3, dims[0], dims[1]], seed);
        compare(
            "gumbel_rao", [logits.clone()], 0.0,
            |[x]| categorical::gumbel_rao(view(x), sample.clone(), noises.clone(), 0.7),
            |[x]| composed::gumbel_rao(view(x), sample.clone(), noises.clone(), 0.7),
        );
        let k = 1 + seed as usize % dims[1];
        for uniform in [None, Some(noise)] {
            compare(
                "top_k_mask", [logits.clone()], 0.0,
                |[x]| select::top_k_mask(view(x), uniform.clone(), k, 0.7).mask,
                |[x]| {
                    let x = view(x);
                    let places = select::top_k_mask(x.clone().inner(), None, k, 0.7).indices;
                    composed::top_k_mask(x, uniform.clone(), &whole(places), 0.7)
                },
            );
        }
    }

    #[test]
    fn functions_of_vectors(rows in 1usize..40, dims in 1usize..9, codes in 1usize..20, seed in 0u64..1000) {
        let x = draw([rows, dims], 1.0, seed);
        let codebook = draw([codes, dims], 1.0, seed + 7000);
        for &gradient in codebook::CodeGradient::ALL {
            // Within a right angle: near opposite directions the composition loses digits that the kernel keeps.
            let (x, codebook) = match gradient {
                codebook::CodeGradient::Ste => (x.clone(), codebook.clone()),
                codebook::CodeGradient::Rotation => (x.clone().abs(), codebook.clone().abs()),
            };
            let places = codebook::vector_quantize(x.clone(), &codebook, gradient).indices;
            compare(
                "vector_quantize", [x.clone()], 0.0,
                |[x]| codebook::vector_quantize(x, &codebook, gradient).quantized,
                |[x]| composed::vector_quantize(x, &codebook, places.clone(), gradient),
            );
        }
        let levels: Vec<u32> = (0..dims as u32).map(|dimension| 2 + (dimension + seed as u32) % 7).collect();
        compare("fsq", [x.clone()], 0.0, |[x]| codebook::fsq(x, &levels).quantized, |[x]| composed::fsq(x, &levels));
        compare("lfq", [x.clone()], 0.0, |[x]| codebook::lfq(x).quantized, |[x]| composed::lfq(x));
    }

    #[test]
    fn token_selection(batch in 1usize..4, count in 1usize..12, width in 1usize..19, seed in 0u64..1000) {
        let tokens = draw([batch * count, width], 1.0, seed);
        let scores = draw([batch, count], 1.0, seed + 3000);
        let k = 1 + seed as usize % count;
        let flat = |x: Tensor<3>| { let [a, b, c] = x.dims(); x.reshape([a * b, c]) };
        for noise in [None, Some(uniform([batch, count], seed))] {
            let places = select::top_k_mask(scores.clone(), None, k, 1.0).indices;
            compare(
                "token_select", [tokens.clone(), scores.clone()], 1e-6,
                |[tokens, scores]| {
                    let tokens = tokens.reshape([batch, count, width]);
                    flat(select::token_select(tokens, scores, noise.clone(), k, 0.8).tokens)
                },
                |[tokens, scores]| {
                    let tokens = tokens.reshape([batch, count, width]);
                    flat(composed::token_select(tokens, scores, noise.clone(), &whole(places.clone()), 0.8).0)
                },
            );
        }
    }
}

fn whole(places: Tensor<2, Int>) -> Vec<u32> {
    places.into_data().iter::<i64>().map(|place| place as u32).collect()
}
