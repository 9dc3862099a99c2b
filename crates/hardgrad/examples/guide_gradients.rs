//! A stock Burn model with 2-bit weights whose gradient is guided by the loss itself (FOGZO), with Burn's own optimizer.
//!
//! `cargo run --release --example guide_gradients`

use std::collections::BTreeMap;
use std::error::Error;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use hardgrad::parameters;
use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
use hardgrad::random::Random;
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};

#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(x)))
    }
}

const STEPS: u64 = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let network =
        Network { hidden: LinearConfig::new(8, 32).init(&device), output: LinearConfig::new(32, 1).init(&device) };
    let mut network = QuantizeWeights::new(QuantizerConfig::weights(2))?.apply(network)?;
    let mut optimizer: ModuleOptimizer = AdamConfig::new().with_epsilon(1e-8).init();

    // 1 - beta_min of the order of one over the number of quantised weights; guidance in the last 30 % of the steps.
    let method = MethodName::Fogzo;
    let config = GradientConfig { method, beta_min: 0.99, begin: 0.7, ..GradientConfig::default() };
    let guidance = Guidance::new(&config)?.ok_or("a method other than straight_through")?;

    let loss = |network: &Network, x: &Tensor<2>| {
        let target = x.clone().slice([0..64, 0..2]).sum_dim(1);
        (network.forward(x.clone()) - target).powi_scalar(2).mean()
    };
    for step in 0..STEPS {
        let mut values = vec![0.0; 64 * 8];
        Random::new(1, step as u32, 0).fill_normal(&mut values);
        let x = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([64, 8]);
        // The straight-through gradient, by parameter name.
        let tracked = loss(&network, &x);
        let value = tracked.clone().inner().into_scalar::<f32>();
        let mut gradients = GradientsParams::from_grads(tracked.backward(), &network);
        let mut gradients: BTreeMap<String, Vec<f32>> =
            parameters::gradients(&network, &mut gradients).into_iter().collect();
        // The gradients of the quantised weights become guided ones; `probe` is a plain copy of the network.
        if let Some(progress) = config.progress(step, STEPS, 0) {
            let moment = Moment { seed: 0, step: step as u32, progress };
            let probed = |probe: &Network| f64::from(loss(probe, &x).into_scalar::<f32>());
            guidance.guide(&network, &quantized(&network), &mut gradients, moment, probed)?;
        }
        let gradients = parameters::gradients_params(&network, gradients);
        network = optimizer.step(0.01, network, gradients);
        if step % 50 == 0 || step + 1 == STEPS {
            println!("step {step}: loss {value:.4}");
        }
    }
    Ok(())
}
