//! A model written with stock Burn layers becomes quantisation-aware with one call.
//!
//! The weights get quantisers as Burn's reparameterizations; the layers stay `Conv2d` and `Linear` and are called as before.
//! Activations are quantised by a `Quantizer`, which is a layer. Run it:
//!
//! ```text
//! cargo run --release --example quantize_stock_model
//! ```

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use hardgrad::quantize::{QuantizeError, QuantizeWeights, Quantizer, QuantizerConfig};

#[derive(Module, Debug)]
struct Model {
    convolution: Conv2d,
    activation: Option<Quantizer>,
    output: Linear,
}

impl Model {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.convolution.forward(images));
        let x = match &self.activation {
            Some(quantizer) => quantizer.forward(x),
            None => x,
        };
        self.output.forward(x.flatten(1, 3))
    }
}

/// Images of one bright row; the class is the row.
fn data(count: usize) -> (Tensor<4>, Tensor<1, Int>) {
    let mut pixels = vec![0.0f32; count * 64];
    let labels: Vec<i64> = (0..count as i64).map(|image| image % 8).collect();
    for (image, &label) in labels.iter().enumerate() {
        pixels[image * 64 + label as usize * 8..][..8].fill(1.0);
    }
    let device = Device::flex();
    let images = Tensor::from_data(TensorData::new(pixels, [count, 1, 8, 8]), &device);
    (images, Tensor::from_data(TensorData::new(labels, [count]), &device))
}

fn main() -> Result<(), QuantizeError> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let model = Model {
        convolution: Conv2dConfig::new([1, 4], [3, 3]).init(&device),
        activation: None,
        output: LinearConfig::new(4 * 6 * 6, 8).init(&device),
    };

    // The one call: 2-bit weights, but 8 bits in the output layer.
    let weights =
        QuantizeWeights::new(QuantizerConfig::weights(2))?.with_layer("output", Some(QuantizerConfig::weights(8)))?;
    let mut model = weights.apply(model)?;
    // Activations at 4 bits, their range set from a sample.
    let (images, labels) = data(64);
    let mut quantizer = QuantizerConfig::activations(4).init(&device)?;
    quantizer.calibrate(&relu(model.convolution.forward(images.clone())))?;
    model.activation = Some(quantizer);

    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    for step in 0..100 {
        let loss = CrossEntropyLossConfig::new().init(&device).forward(model.forward(images.clone()), labels.clone());
        if step % 20 == 0 {
            println!("step {step}: loss {:.4}", loss.clone().inner().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }

    let hard = model.convolution.weight.val().inner();
    let mut values: Vec<f32> = hard.narrow(0, 0, 1).into_data().try_into_vec().unwrap_or_default();
    values.sort_by(f32::total_cmp);
    values.dedup();
    println!("the first filter's weights take these values: {values:?}");
    let found = model.valid().forward(images).argmax(1).squeeze_dim::<1>(1);
    let correct = found.equal(labels).int().sum().into_scalar::<i64>();
    println!("{correct} of 64 images classified correctly");
    assert!(values.len() <= 4 && correct == 64);
    Ok(())
}
