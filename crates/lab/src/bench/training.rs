//! Training steps: batch 128, always the same batch, cross-entropy, Adam with rate 0.001.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hardgrad::optim::{Method, Optimizer, Rates};
use hardgrad::parameters;
use hardgrad::quantize::{QuantizerConfig, RangeMethod};
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};

use super::{Step, normal};
use crate::networks::{CLASSES, FirstWeights, LeNet, Mlp, Quantizers, ResNet20, Vit};
use crate::train::cross_entropy;

/// Images of a batch.
const BATCH: usize = 128;
/// Bits of weights and activations in the quantised forms.
const BITS: u32 = 4;

/// How a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In float32.
    Float,
    /// With quantised weights and activations.
    Quantized,
    /// The same, its weights with FOGZO of one direction.
    Guided,
}

impl Form {
    fn is_quantized(self) -> bool {
        self != Self::Float
    }
}

/// Weights from their largest magnitude, one scale a tensor; the output of each ReLU with a learned step.
fn quantizers(quantized: bool) -> Quantizers {
    let weights = QuantizerConfig { range: RangeMethod::MinMax, per_channel: false, ..QuantizerConfig::weights(BITS) };
    match quantized {
        true => Quantizers { weights: Some(weights), activations: Some(QuantizerConfig::activations(BITS)) },
        false => Quantizers::default(),
    }
}

/// Weights from their largest magnitude, a scale a channel; the inputs of the linear layers with a learned step.
fn quantizers_of_inputs(quantized: bool) -> Quantizers {
    let Quantizers { weights, activations } = quantizers(quantized);
    Quantizers {
        weights: weights.map(|weights| QuantizerConfig { per_channel: true, ..weights }),
        activations: activations.map(|activations| QuantizerConfig { signed: true, ..activations }),
    }
}

fn mlp_of(quantized: bool) -> Mlp {
    Mlp::new(&[784, 512, 512, CLASSES], &quantizers(quantized), &FirstWeights::new(0))
}

fn lenet_of(quantized: bool) -> LeNet {
    LeNet::new([32, 64], 512, &quantizers(quantized), &FirstWeights::new(0))
}

fn resnet20_of(quantized: bool) -> ResNet20 {
    ResNet20::new(&quantizers(quantized), &FirstWeights::new(0))
}

fn vit_of(quantized: bool) -> Vit {
    Vit::new(48, [192, 3, 4], &quantizers_of_inputs(quantized), &FirstWeights::new(0))
}

/// Perceptron 784-512-512-10.
pub(super) fn mlp(form: Form) -> Step {
    step(mlp_of(form.is_quantized()), normal([BATCH, 784], 0), Mlp::forward, form)
}

/// Two convolutions 5x5 with max pooling, two linear layers.
pub(super) fn lenet(form: Form) -> Step {
    step(lenet_of(form.is_quantized()), normal([BATCH, 1, 28, 28], 0), LeNet::forward, form)
}

/// The residual network of 20 layers for images of 32 x 32 pixels.
pub(super) fn resnet20(form: Form) -> Step {
    step(resnet20_of(form.is_quantized()), normal([BATCH, 3, 32, 32], 0), ResNet20::forward, form)
}

/// A vision transformer of four layers over 64 patches of 48 values.
pub(super) fn vit(form: Form) -> Step {
    step(vit_of(form.is_quantized()), normal([BATCH, 64, 48], 0), Vit::forward, form)
}

fn step<M: Module + 'static, const D: usize>(
    model: M,
    x: Tensor<D>,
    forward: fn(&M, Tensor<D>) -> Tensor<2>,
    form: Form,
) -> Step {
    let mut train = trainer(model, x, forward, form);
    Box::new(move || drop(train()))
}

/// Each call is one step, and returns the loss before it.
fn trainer<M: Module + 'static, const D: usize>(
    model: M,
    x: Tensor<D>,
    forward: fn(&M, Tensor<D>) -> Tensor<2>,
    form: Form,
) -> impl FnMut() -> Option<Tensor<1>> {
    let labels: Vec<u8> = (0..x.dims()[0]).map(|image| (image % CLASSES) as u8).collect();
    let tracked = Tensor::from_data(x.to_data(), &Device::flex().autodiff());
    let config = GradientConfig { method: MethodName::Fogzo, ..GradientConfig::default() };
    let guidance = if form == Form::Guided { Guidance::new(&config).expect("the defaults are valid") } else { None };
    let (mut optimizer, mut model) = (Optimizer::new(Method::ADAM), Some(model));
    move || {
        let (trained, loss) = model.take().map(|model| {
            let loss = cross_entropy(forward(&model, tracked.clone()), &labels, 0.0);
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            let mut gradients: BTreeMap<_, _> = parameters::gradients(&model, &mut gradients).into_iter().collect();
            if let Some(guidance) = &guidance {
                // In the middle of the schedule a direction holds both parts.
                let moment = Moment { seed: 0, step: optimizer.steps() as u32, progress: 0.5 };
                let probed = |probe: &M| {
                    let loss = cross_entropy(forward(probe, x.clone()), &labels, 0.0);
                    f64::from(loss.into_scalar::<f32>())
                };
                let report = guidance.guide(&model, &quantized(&model), &mut gradients, moment, probed);
                report.expect("a quantised model with finite gradients");
            }
            (optimizer.step(model, gradients, 1.0, |_| Rates { learning_rate: 1e-3, weight_decay: 0.0 }), loss)
        })?;
        model = Some(trained);
        Some(loss)
    }
}

#[cfg(test)]
mod tests {
    use hardgrad::composed;
    use hardgrad::random::Random;

    use super::*;

    const STEPS: usize = 8;

    /// The model with weights and biases drawn from counters: Burn's generator is shared by all tests of a process.
    fn drawn<M: Module>(model: M) -> M {
        let mut parameters = parameters::read(&model);
        for (place, parameter) in parameters.iter_mut().enumerate() {
            let inputs: usize = match parameter.shape.len() {
                4 => parameter.shape[1..].iter().product(),
                2 => parameter.shape[0],
                _ if parameter.name.ends_with("bias") => 100,
                _ => continue,
            };
            Random::new(1, place as u32, 0).fill_normal(&mut parameter.values);
            parameter.values.iter_mut().for_each(|value| *value /= (inputs as f32).sqrt());
        }
        parameters::write(model, parameters).unwrap()
    }

    /// The gradients of all parameters before the first step, in one row.
    fn first_gradients<M: Module, const D: usize>(
        model: &M,
        x: Tensor<D>,
        forward: fn(&M, Tensor<D>) -> Tensor<2>,
    ) -> Vec<f32> {
        let labels: Vec<u8> = (0..x.dims()[0]).map(|image| (image % CLASSES) as u8).collect();
        let loss = cross_entropy(forward(model, Tensor::from_inner(x)), &labels, 0.0);
        let mut gradients = GradientsParams::from_grads(loss.backward(), model);
        parameters::gradients(model, &mut gradients).into_iter().flat_map(|(_, gradient)| gradient).collect()
    }

    /// Fused and composed operators train alike: the gradients before the first step differ by at most `gradient_share` of
    /// their norm, the losses of all steps by at most `loss_share` of the first one, and both fall.
    fn check<M: Module + 'static, const D: usize>(
        model: M,
        dims: [usize; D],
        forward: fn(&M, Tensor<D>) -> Tensor<2>,
        [gradient_share, loss_share]: [f32; 2],
    ) {
        let model = drawn(model);
        let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
        let gradients = || first_gradients(&model, normal(dims, 0), forward);
        let (fused, composed) = (gradients(), composed::only(gradients));
        let difference: Vec<f32> = fused.iter().zip(&composed).map(|(fused, composed)| fused - composed).collect();
        let share = norm(&difference) / norm(&composed);
        assert!(share <= gradient_share, "the first gradients differ by {share} of their norm");

        let losses = || {
            let mut train = trainer(model.clone(), normal(dims, 0), forward, Form::Quantized);
            (0..STEPS).map(|_| train().unwrap().into_scalar::<f32>()).collect::<Vec<f32>>()
        };
        let (fused, composed) = (losses(), composed::only(losses));
        assert!((fused[0] - composed[0]).abs() <= 1e-4 * composed[0], "{fused:?}, composed {composed:?}");
        assert!([&fused, &composed].iter().all(|losses| losses[STEPS - 1] < 0.5 * losses[0]), "{fused:?}");
        let near = |(fused, other): (&f32, &f32)| (fused - other).abs() <= loss_share * composed[0];
        assert!(fused.iter().zip(&composed).all(near), "{fused:?}, composed {composed:?}");
    }

    /// Sums of products in another order, and what eight steps make of that: 1e-5 of the loss for most weights drawn. Rounding
    /// that moves one value over the corner of a ReLU changes the gradients by 3e-3 of their norm, and the losses by 5e-4.
    const FLOAT: [f32; 2] = [1e-2, 1e-3];

    #[test]
    fn float_networks_train_alike_with_fused_and_composed_operators() {
        check(mlp_of(false), [16, 784], Mlp::forward, FLOAT);
        check(lenet_of(false), [6, 1, 28, 28], LeNet::forward, FLOAT);
        check(resnet20_of(false), [4, 3, 32, 32], ResNet20::forward, FLOAT);
        check(vit_of(false), [2, 64, 48], Vit::forward, FLOAT);
    }

    /// Now and then rounding moves a value over a tie or a corner, and from then on the codes are others. In four draws of the
    /// weights, half of those of ResNet-20 had one in the first step (gradients: 0.015 of their norm), and its losses came to
    /// differ by 0.026 of the first one; those of the others by 0.005. Inputs changed by 1e-6 give differences of that size.
    const QUANTIZED: [f32; 2] = [0.05, 0.1];

    #[test]
    fn quantised_networks_train_alike_with_fused_and_composed_operators() {
        check(mlp_of(true), [16, 784], Mlp::forward, QUANTIZED);
        check(lenet_of(true), [6, 1, 28, 28], LeNet::forward, QUANTIZED);
        check(resnet20_of(true), [4, 3, 32, 32], ResNet20::forward, QUANTIZED);
        check(vit_of(true), [2, 64, 48], Vit::forward, QUANTIZED);
    }
}
