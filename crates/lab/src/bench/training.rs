//! Training steps: batch 128, always the same batch, cross-entropy, Adam with rate 0.001.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hardgrad::optim::{Method, Optimizer, Rates};
use hardgrad::parameters;

use super::networks::{LeNet, Mlp, ResNet20, Vit};
use super::{Step, normal};
use crate::train::cross_entropy;

/// Images of a batch.
const BATCH: usize = 128;
/// Classes; the target of image i is i modulo this.
pub(super) const CLASSES: usize = 10;

/// Perceptron 784-512-512-10.
pub(super) fn mlp(quantized: bool) -> Step {
    trainer(Mlp::new(quantized), normal([BATCH, 784], 0), Mlp::forward)
}

/// Two convolutions 5x5 with max pooling, two linear layers.
pub(super) fn lenet(quantized: bool) -> Step {
    trainer(LeNet::new(quantized), normal([BATCH, 1, 28, 28], 0), LeNet::forward)
}

/// The residual network of 20 layers for images of 32 x 32 pixels.
pub(super) fn resnet20(quantized: bool) -> Step {
    trainer(ResNet20::new(quantized), normal([BATCH, 3, 32, 32], 0), ResNet20::forward)
}

/// A vision transformer of four layers over 64 patches of 48 values.
pub(super) fn vit(quantized: bool) -> Step {
    trainer(Vit::new(quantized), normal([BATCH, 64, 48], 0), Vit::forward)
}

fn trainer<M: Module + 'static, const D: usize>(
    model: M,
    x: Tensor<D>,
    forward: fn(&M, Tensor<D>) -> Tensor<2>,
) -> Step {
    let labels: Vec<u8> = (0..BATCH).map(|image| (image % CLASSES) as u8).collect();
    let x = Tensor::from_data(x.into_data(), &Device::flex().autodiff());
    let (mut optimizer, mut model) = (Optimizer::new(Method::ADAM), Some(model));
    Box::new(move || {
        let trained = model.take().map(|model| {
            let loss = cross_entropy(forward(&model, x.clone()), &labels, 0.0);
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            let gradients = parameters::gradients(&model, &mut gradients);
            optimizer.step(model, gradients, 1.0, |_| Rates { rate: 1e-3, weight_decay: 0.0 })
        });
        model = trained;
    })
}
