//! Results do not depend on the number of threads: the same bytes with 1, 2 and 3 for the fused operators of networks, forward
//! and backward, and for training steps.

mod fused;

use std::fmt::Debug;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use fused::{FORMS, Form, STEP, flat, float, normal, plain, run, shaped};
use hardgrad::layers::{
    BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu,
};
use hardgrad::ops::{self, Conv2dOptions, LearnedStep};
use hardgrad::optim::{Method, Optimizer, Update};
use hardgrad::parameters;
use hardgrad::quantize::{QuantizerConfig, RangeMethod, StepClock};
use hardgrad::random::Random;

fn same_with_any_number_of_threads<R: PartialEq + Debug + Send>(what: &str, result: impl Fn() -> R + Sync) {
    let [one, two, three] = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&result)
    });
    assert!(one == two && one == three, "{what} depends on the number of threads");
}

/// Value and gradients of an operator have the same bits with any number of threads.
fn check(what: &str, inputs: &[Vec<f32>], operator: impl Fn(&[Tensor<1>]) -> Tensor<1> + Sync) {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    same_with_any_number_of_threads(what, || {
        let found = run(inputs, None, &operator);
        assert!(found.y.iter().any(|y| *y != found.y[0]), "{what}: all values are equal");
        (bits(found.y), found.gradients.into_iter().map(|gradient| gradient.map(bits)).collect::<Vec<_>>())
    });
}

fn len<const D: usize>(dims: [usize; D]) -> usize {
    dims.iter().product()
}

#[test]
fn convolution_gives_the_same_bytes() {
    for (groups, outputs) in [(1, 20), (3, 6), (6, 6)] {
        let (dims, weight) = ([21, 6, 17, 15], [outputs, 6 / groups, 3, 3]);
        let options = Conv2dOptions { stride: [2, 1], padding: [1, 2], groups, ..Conv2dOptions::default() };
        let inputs = [normal(len(dims), 0), normal(len(weight), 1), normal(outputs, 2), vec![STEP]];
        for form in FORMS {
            check("conv2d", &inputs, |leaves| {
                let x = shaped(&leaves[0], dims, form, &leaves[3]);
                flat(ops::conv2d(x, leaves[1].clone().reshape(weight), Some(leaves[2].clone()), options))
            });
        }
    }
}

#[test]
fn linear_gives_the_same_bytes() {
    let (dims, outputs) = ([3, 801, 70], 301);
    let inputs = [normal(len(dims), 0), normal(70 * outputs, 1), normal(outputs, 2), vec![STEP]];
    for form in FORMS {
        check("linear", &inputs, |leaves| {
            let x = shaped(&leaves[0], dims, form, &leaves[3]);
            flat(ops::linear(x, leaves[1].clone().reshape([70, outputs]), Some(leaves[2].clone())))
        });
    }
}

#[test]
fn norms_and_activations_give_the_same_bytes() {
    let dims = [16, 37, 13, 11];
    let (gamma, beta) = (normal(37, 1), normal(37, 2));
    let inputs = [normal(len(dims), 0), gamma, beta, normal(len(dims), 3), vec![STEP], vec![0.25]];
    check("batch_norm", &inputs, |leaves| {
        let x = float(&leaves[0], dims, Form::Dense);
        flat(ops::batch_norm(x, leaves[1].clone(), leaves[2].clone(), 1e-5).0)
    });
    for shortcut in [None, Some(Form::Dense), Some(Form::Coded)] {
        for quantized in [false, true] {
            let parts = |leaves: &[Tensor<1>]| {
                let step = quantized.then(|| LearnedStep { scale: leaves[5].clone(), highest: 15.0 });
                let shortcut = shortcut.map(|form| shaped(&leaves[3], dims, form, &leaves[4]));
                (float(&leaves[0], dims, Form::View), shortcut, step)
            };
            check("relu", &inputs, |leaves| {
                let (x, shortcut, step) = parts(leaves);
                flat(ops::relu(x, shortcut, step).values())
            });
            check("batch_norm_relu", &inputs, |leaves| {
                let (x, shortcut, step) = parts(leaves);
                let (gamma, beta) = (leaves[1].clone(), leaves[2].clone());
                flat(ops::batch_norm_relu(x, gamma, beta, 1e-5, shortcut, step).0.values())
            });
        }
    }
    let dims = [3, 401, 67];
    let inputs = [normal(len(dims), 0), normal(67, 1), normal(67, 2)];
    check("layer_norm", &inputs, |leaves| {
        flat(ops::layer_norm(leaves[0].clone().reshape(dims), leaves[1].clone(), leaves[2].clone(), 1e-5))
    });
    check("gelu", &inputs[..1], |leaves| ops::gelu(leaves[0].clone()));
    check("softmax", &inputs[..1], |leaves| flat(ops::softmax(leaves[0].clone().reshape(dims))));
}

#[test]
fn attention_and_pooling_give_the_same_bytes() {
    let dims = [7, 141, 3 * 2 * 9];
    check("attention", &[normal(len(dims), 0)], |leaves| flat(ops::attention(leaves[0].clone().reshape(dims), 2)));
    let dims = [16, 9, 21, 19];
    let inputs = [normal(len(dims), 0), vec![STEP]];
    for form in FORMS {
        check("max_pool2d", &inputs, |leaves| {
            flat(ops::max_pool2d(shaped(&leaves[0], dims, form, &leaves[1]), [3, 2], [2, 2]).values())
        });
        check("avg_pool2d", &inputs, |leaves| {
            flat(ops::avg_pool2d(shaped(&leaves[0], dims, form, &leaves[1]), [3, 2], [2, 2]).values())
        });
    }
}

#[derive(Module, Debug)]
struct Net {
    convolutions: Vec<QuantConv2d>,
    norms: Vec<BatchNorm>,
    relus: Vec<QuantRelu>,
    output: QuantLinear,
}

const SIZE: usize = 14;
const CHANNELS: usize = 10;

impl Net {
    fn new(quantized: bool) -> Self {
        let (clock, device) = (StepClock::default(), Device::flex().autodiff());
        let weights = QuantizerConfig { range: RangeMethod::MinMax, ..QuantizerConfig::weights(4) };
        let weights = quantized.then_some(&weights);
        let random = |place| Random::new(5, place, 0);
        let convolution = |place, channels| {
            let layer = QuantConv2dConfig::new(channels, [3, 3]).with_padding([1, 1]).init(&random(place), &device);
            layer.quantize(weights, None, &clock).unwrap()
        };
        let relu = || match quantized {
            true => QuantRelu::new().quantize(&QuantizerConfig::activations(4), &clock, &device).unwrap(),
            false => QuantRelu::new(),
        };
        let output = QuantLinearConfig::new(CHANNELS * SIZE * SIZE / 4, 10).init(&random(2), &device);
        Self {
            convolutions: vec![convolution(0, [3, CHANNELS]), convolution(1, [CHANNELS, CHANNELS])],
            norms: vec![BatchNormConfig::new(CHANNELS).init(&device), BatchNormConfig::new(CHANNELS).init(&device)],
            relus: vec![relu(), relu()],
            output: output.quantize(weights, None, &clock).unwrap(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.norms[0].forward_relu(self.convolutions[0].forward(x), None, &self.relus[0]);
        let x = self.norms[1].forward_relu(self.convolutions[1].forward(x.clone()), Some(x), &self.relus[1]);
        let x = ops::max_pool2d(x, [2, 2], [2, 2]);
        let [batch, ..] = x.dims();
        self.output.forward(x.reshape([batch, CHANNELS * SIZE * SIZE / 4]))
    }
}

#[test]
fn training_steps_give_the_same_bytes() {
    let dims = [33, 3, SIZE, SIZE];
    for quantized in [false, true] {
        same_with_any_number_of_threads("training", || {
            let (mut net, mut optimizer) = (Net::new(quantized), Optimizer::new());
            let first: Vec<_> = parameters::read(&net).into_iter().map(|parameter| parameter.values).collect();
            for step in 0..4 {
                let x = Tensor::<4>::from_inner(plain(normal(len(dims), step), dims));
                let goal = plain(normal(330, 50 + step), [33, 10]);
                let loss = (net.forward(x) - goal).square().sum();
                let mut gradients = GradientsParams::from_grads(loss.backward(), &net);
                let gradients = parameters::gradients(&net, &mut gradients);
                net = optimizer
                    .step(net, gradients, 1.0, |_| Update { weight_decay: 1e-4, ..Update::new(Method::ADAM, 1e-2) });
            }
            let last: Vec<_> = parameters::read(&net).into_iter().map(|parameter| parameter.values).collect();
            assert!(first.iter().zip(&last).all(|(first, last)| first != last), "all parameters learn");
            let statistics: Vec<_> = net.norms.iter().flat_map(|norm| [norm.folded().0, norm.folded().1]).collect();
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            last.into_iter().chain(statistics).map(bits).collect::<Vec<_>>()
        });
    }
}
