//! Guiding a step takes one copy of the moved parameters and next to nothing more.

mod counting;

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use counting::measured;
use hardgrad::parameters;
use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};

#[test]
fn guiding_takes_one_copy_of_the_parameters_and_a_kilobyte() {
    // A pool of one thread, so that all work is done, and counted, on it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let values = 70 * 300;
        let config = QuantizerConfig { per_channel: false, ..QuantizerConfig::weights(2) };
        let layer = LinearConfig::new(70, 300).init(&Device::flex().autodiff());
        let layer = QuantizeWeights::new(config).unwrap().apply(layer).unwrap();
        let _ = parameters::read(&layer);
        let perturbed = quantized(&layer);
        // What Burn takes for a plain module that shares all its values: the fields of tensors, no numbers.
        let (plain, fields, _) = measured(|| layer.valid());
        drop(plain);
        for method in [MethodName::Spsa, MethodName::Fogzo, MethodName::BiasCorrection] {
            for directions in [1, 10, 1000] {
                let config = GradientConfig { method, directions, ..GradientConfig::default() };
                let guidance = Guidance::new(&config).unwrap().unwrap();
                let mut gradients = BTreeMap::from([("weight".to_string(), vec![0.1; values])]);
                let mut guide = |step| {
                    let moment = Moment { seed: 0, step, progress: 0.5 };
                    guidance.guide(&layer, &perturbed, &mut gradients, moment, |_: &Linear| 1.0).unwrap();
                };
                guide(0);
                let ((), _, extra) = measured(|| guide(1));
                // A kilobyte holds the bookkeeping of ten directions and more; each further one takes some 50 bytes.
                let numbers = values * size_of::<f32>() + 64 * (directions as usize).saturating_sub(10);
                let copy = numbers as isize + fields;
                assert!(
                    extra <= copy + 1024,
                    "{method:?}, {directions} directions: {} bytes beyond a copy",
                    extra - copy
                );
            }
        }
    });
}
