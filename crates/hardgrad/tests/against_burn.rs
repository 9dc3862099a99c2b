//! Fused operators against compositions of Burn's own operators: values and gradients, on views as well as dense tensors.

use burn::nn::pool::{AvgPool2dConfig, MaxPool2dConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::ops::{self, Bounds, Conv2dOptions, Rule};
use proptest::prelude::*;

fn leaf<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    hardgrad_kernels::random::Random::new(seed, 0, 0).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Value of `y`, and gradients of its weighted sum with respect to two leaves.
fn both<const A: usize, const B: usize, const E: usize>(y: Tensor<E>, a: &Tensor<A>, b: &Tensor<B>) -> [Vec<f32>; 3] {
    let weights = leaf(y.dims(), 99).inner();
    let gradients = (y.clone() * weights).sum().backward();
    [floats(y.inner()), floats(a.grad(&gradients).unwrap()), floats(b.grad(&gradients).unwrap())]
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        let size = expected.iter().fold(1.0f32, |size, x| size.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance * size, "{found} instead of {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn convolution(
        batch in 1usize..10, groups in 1usize..3, channels in 1usize..4, out in 1usize..4, size in 5usize..9,
        kernel in 1usize..4, stride in 1usize..3, padding in 0usize..2, dilation in 1usize..3,
    ) {
        let run = |ours: bool| {
            let x = leaf([batch, groups * channels, size, size + 1], 1);
            // A view whose last two axes are exchanged is not contiguous.
            let weight = leaf([groups * out, channels, kernel, kernel], 2);
            let turned = weight.clone().swap_dims(2, 3);
            let y = match ours {
                true => {
                    let options = Conv2dOptions { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], groups };
                    ops::conv2d(x.clone(), turned, None, options)
                }
                false => conv2d(x.clone(), turned, None, ConvOptions::new([stride; 2], [padding; 2], [dilation; 2], groups)),
            };
            both(y, &x, &weight)
        };
        assert_close(&run(true), &run(false), 1e-5);
    }

    #[test]
    fn linear(rows in 1usize..200, inputs in 1usize..40, outputs in 1usize..300) {
        let run = |ours: bool| {
            let x = leaf([inputs, rows], 1);
            let weight = leaf([inputs, outputs], 2);
            let turned = x.clone().transpose();
            let y = if ours { ops::linear(turned, weight.clone(), None) } else { turned.matmul(weight.clone()) };
            both(y, &x, &weight)
        };
        assert_close(&run(true), &run(false), 1e-5);
    }

    #[test]
    fn batch_norm(batch in 2usize..6, channels in 1usize..5, size in 1usize..6) {
        let run = |ours: bool| {
            let x = leaf([batch, channels, size, size], 1);
            let gamma = leaf([channels], 2);
            let beta = leaf([channels], 3);
            let y = match ours {
                true => ops::batch_norm(x.clone(), gamma.clone(), beta.clone(), 1e-3).0,
                false => {
                    let mean = x.clone().mean_dim(0).mean_dim(2).mean_dim(3);
                    let centred = x.clone() - mean;
                    let variance = centred.clone().square().mean_dim(0).mean_dim(2).mean_dim(3);
                    let one_a_channel = |v: &Tensor<1>| v.clone().reshape([1, channels, 1, 1]);
                    centred / (variance + 1e-3).sqrt() * one_a_channel(&gamma) + one_a_channel(&beta)
                }
            };
            let weights = leaf(y.dims(), 99).inner();
            let gradients = (y.clone() * weights).sum().backward();
            let gradient = |leaf: &Tensor<1>| floats(leaf.grad(&gradients).unwrap());
            [floats(y.inner()), floats(x.grad(&gradients).unwrap()), gradient(&gamma), gradient(&beta)]
        };
        assert_close(&run(true), &run(false), 2e-4);
    }

    #[test]
    fn pooling(batch in 1usize..4, size in 2usize..9, kernel in 1usize..3, stride in 1usize..4) {
        let run = |ours: bool, largest: bool| {
            let x = leaf([batch, 2, size, size + 1], 1);
            let y = match (ours, largest) {
                (true, true) => ops::max_pool2d(x.clone(), [kernel; 2], [stride; 2]).values(),
                (true, false) => ops::avg_pool2d(x.clone(), [kernel; 2], [stride; 2]).values(),
                (false, true) => MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]).init().forward(x.clone()),
                (false, false) => AvgPool2dConfig::new([kernel; 2]).with_strides([stride; 2]).init().forward(x.clone()),
            };
            both(y, &x, &x)
        };
        for largest in [true, false] {
            assert_close(&run(true, largest), &run(false, largest), 1e-6);
        }
    }

    #[test]
    fn quantisers(shape in [1usize..5, 1..4, 1..50], axis in 0usize..3, bits in 2u32..9) {
        let bounds = Bounds::signed(bits);
        let scales = shape[axis];
        let mut along = [1; 3];
        along[axis] = scales;
        let run = |ours: bool| {
            let x = leaf(shape, 1);
            let scale = Tensor::<1>::from_inner(leaf([scales], 2).inner().abs() * 0.3 + 0.05).require_grad();
            let y = match ours {
                true => ops::lsq(x.clone(), scale.clone(), bounds, Some(axis)),
                false => {
                    // Forward hard, backward through the clamped quotient; the scale's gradient is scaled down.
                    let factor = 1.0 / ((x.shape().num_elements() / scales) as f32 * bounds.highest).sqrt();
                    let scaled = scale.clone() * factor;
                    let step = scaled.clone() + (scale.clone() - scaled).inner();
                    let step = step.reshape(along);
                    let v = (x.clone() / step.clone()).clamp(bounds.lowest, bounds.highest);
                    let hard = v.clone() + (v.clone().inner().round() - v.inner());
                    hard * step
                }
            };
            both(y, &x, &scale)
        };
        let (found, expected) = (run(true), run(false));
        assert_close(&found[..2], &expected[..2], 1e-6);
        assert_close(&found[2..], &expected[2..], 2e-5);

        let x = leaf(shape, 1);
        let scale: Vec<f32> = (0..scales).map(|c| 0.1 + 0.05 * c as f32).collect();
        let found = floats(ops::fake_quant(x.clone(), &scale, &[bounds], Some(axis), Rule::Clipped).inner());
        let step = Tensor::<1>::from_floats(scale.as_slice(), &Device::flex()).reshape(along);
        let expected = (x.inner() / step.clone()).round().clamp(bounds.lowest, bounds.highest) * step;
        prop_assert_eq!(found, floats(expected));
    }
}

#[test]
fn empty_and_single_tensors_pass() {
    for shape in [[0, 3], [3, 0], [1, 1]] {
        let x = Tensor::<2>::ones(shape, &Device::flex()) * 0.37;
        let y = ops::fake_quant(x.clone(), &[0.1], &[Bounds::signed(4)], None, Rule::Clipped);
        assert_eq!(y.dims(), shape);
        assert_eq!(ops::round(x).dims(), shape);
    }
}
