//! Training steps: batch 128, always the same batch, cross-entropy, Adam with rate 0.001.

use burn::tensor::Tensor;
use hardgrad::network::{Network, Value};
use hardgrad::optim::{Method, Optimizer};
use hardgrad::parameters::Role;
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment};

use super::networks::{self, CLASSES};
use super::step::{Step, normal};
use crate::LabError;
use crate::train::step::{self, Group, cross_entropy};

/// Images of a batch.
const BATCH: usize = 128;

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

/// Perceptron 784-512-512-10.
pub(super) fn mlp(form: Form) -> Step {
    step(networks::mlp(form.is_quantized()), normal([BATCH, 784], 0), form)
}

/// Two convolutions 5x5 with max pooling, two linear layers.
pub(super) fn lenet(form: Form) -> Step {
    step(networks::lenet(form.is_quantized()), normal([BATCH, 1, 28, 28], 0), form)
}

/// The residual network of 20 layers for images of 32 x 32 pixels.
pub(super) fn resnet20(form: Form) -> Step {
    step(networks::resnet20(form.is_quantized()), normal([BATCH, 3, 32, 32], 0), form)
}

/// A vision transformer of four layers over 64 patches of 48 values.
pub(super) fn vit(form: Form) -> Step {
    step(networks::vit(form.is_quantized()), normal([BATCH, 3, 32, 32], 0), form)
}

fn step<const D: usize>(network: Network, x: Tensor<D>, form: Form) -> Step
where
    Tensor<D>: Into<Value>,
{
    let mut train = trainer(network, x, form);
    Box::new(move || {
        std::hint::black_box(train());
    })
}

/// Classes of so many images, in turn.
fn labels(images: usize) -> Vec<u8> {
    (0..images).map(|image| (image % CLASSES) as u8).collect()
}

/// Each call is one step, and returns the loss before it.
fn trainer<const D: usize>(network: Network, x: Tensor<D>, form: Form) -> impl FnMut() -> f64 + Send
where
    Tensor<D>: Into<Value>,
{
    let labels = labels(x.dims()[0]);
    let config = GradientConfig { method: MethodName::Fogzo, ..GradientConfig::default() };
    let guidance = if form == Form::Guided { Guidance::new(&config).expect("the defaults are valid") } else { None };
    let (mut optimizer, mut network) = (Optimizer::new(), Some(network));
    move || {
        let loss = |network: &Network| -> Result<Tensor<1>, LabError> {
            Ok(cross_entropy(network.forward(x.clone()), &labels, 0.0))
        };
        let owns = |_: &str, _: Role| true;
        let groups =
            [Group { owns: &owns, method: Method::ADAM, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 }];
        // In the middle of the schedule a direction holds both parts.
        let moment = Moment { seed: 0, step: optimizer.steps() as u32, progress: 0.5 };
        let at = step::Step {
            loss: &loss,
            guidance: guidance.as_ref().map(|guidance| (guidance, moment)),
            perturbed: None,
            slopes: None,
            clip_norm: None,
            groups: &groups,
            rate: 1e-3,
        };
        let before = network.take().expect("each step gives a network back");
        let (after, taken) = step::step(before, &mut optimizer, &at).expect("losses of this batch are finite");
        network = Some(after);
        taken.loss
    }
}

#[cfg(test)]
mod tests {
    use hardgrad::random::Random;
    use hardgrad::{composed, parameters};

    use super::*;

    const STEPS: usize = 8;

    /// The network with weights and biases from normal distributions that keep the size of the signal. In this draw no value
    /// of a first step lies so close to a tie that the order of a sum decides it.
    fn drawn(network: Network) -> Network {
        let mut parameters = parameters::read(&network);
        for (place, parameter) in parameters.iter_mut().enumerate() {
            let inputs: usize = match parameter.shape.len() {
                4 => parameter.shape[1..].iter().product(),
                2 => parameter.shape[0],
                _ if parameter.name.ends_with("bias") => 100,
                _ => continue,
            };
            Random::new(2, place as u32, 0).fill_normal(&mut parameter.values);
            parameter.values.iter_mut().for_each(|value| *value /= (inputs as f32).sqrt());
        }
        parameters::write(network, parameters).unwrap()
    }

    /// The gradients of all parameters before the first step, in one row.
    fn first_gradients<const D: usize>(network: &Network, x: Tensor<D>) -> Vec<f32>
    where
        Tensor<D>: Into<Value>,
    {
        let labels = labels(x.dims()[0]);
        let (_, gradients) = step::gradients(network, cross_entropy(network.forward(x), &labels, 0.0)).unwrap();
        gradients.into_values().flatten().collect()
    }

    /// Fused and composed operators train alike: the gradients before the first step differ by at most `gradient_share` of
    /// their norm, the losses of all steps by at most `loss_share` of the first one, and both fall.
    fn check<const D: usize>(network: Network, dims: [usize; D], [gradient_share, loss_share]: [f64; 2])
    where
        Tensor<D>: Into<Value>,
    {
        let network = drawn(network);
        let norm = |values: &[f32]| values.iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt();
        let gradients = || first_gradients(&network, normal(dims, 0));
        let (fused, composed) = (gradients(), composed::only(gradients));
        let difference: Vec<f32> = fused.iter().zip(&composed).map(|(fused, composed)| fused - composed).collect();
        let share = norm(&difference) / norm(&composed);
        assert!(share <= gradient_share, "the first gradients differ by {share} of their norm");

        let losses = || {
            let mut train = trainer(network.clone(), normal(dims, 0), Form::Quantized);
            (0..STEPS).map(|_| train()).collect::<Vec<f64>>()
        };
        let (fused, composed) = (losses(), composed::only(losses));
        assert!((fused[0] - composed[0]).abs() <= 1e-4 * composed[0], "{fused:?}, composed {composed:?}");
        assert!([&fused, &composed].iter().all(|losses| losses[STEPS - 1] < 0.5 * losses[0]), "{fused:?}");
        let near = |(fused, other): (&f64, &f64)| (fused - other).abs() <= loss_share * composed[0];
        assert!(fused.iter().zip(&composed).all(near), "{fused:?}, composed {composed:?}");
    }

    /// Sums of products in another order, and what eight steps make of that: 1e-5 of the loss for most weights drawn. Rounding
    /// that moves one value over the corner of a ReLU changes the gradients by 3e-3 of their norm, and the losses by 5e-4.
    const FLOAT: [f64; 2] = [1e-2, 1e-3];

    #[test]
    fn float_networks_train_alike_with_fused_and_composed_operators() {
        check(networks::mlp(false), [16, 784], FLOAT);
        check(networks::lenet(false), [6, 1, 28, 28], FLOAT);
        check(networks::resnet20(false), [4, 3, 32, 32], FLOAT);
        check(networks::vit(false), [2, 3, 32, 32], FLOAT);
    }

    /// Now and then rounding moves a value over a tie or a corner, and from then on the codes are others. In four draws of the
    /// weights, half of those of ResNet-20 had one in the first step (gradients: 0.015 of their norm), and its losses came to
    /// differ by 0.026 of the first one; those of the others by 0.005. Inputs changed by 1e-6 give differences of that size.
    const QUANTIZED: [f64; 2] = [0.05, 0.1];

    #[test]
    fn quantised_networks_train_alike_with_fused_and_composed_operators() {
        check(networks::mlp(true), [16, 784], QUANTIZED);
        check(networks::lenet(true), [6, 1, 28, 28], QUANTIZED);
        check(networks::resnet20(true), [4, 3, 32, 32], QUANTIZED);
        check(networks::vit(true), [2, 3, 32, 32], QUANTIZED);
    }
}
