//! Guiding a step takes one copy of the moved parameters and next to nothing more. One test, so that nothing else allocates
//! meanwhile.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use hardgrad::parameters;
use hardgrad::quantize::{QuantizeWeights, QuantizerConfig};
use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment, quantized};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn guiding_takes_one_copy_of_the_parameters_and_a_kilobyte() {
    // One thread, so that no worker's stack or queue is counted.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let values = 70 * 300;
        let config = QuantizerConfig { per_channel: false, ..QuantizerConfig::weights(2) };
        let layer = LinearConfig::new(70, 300).init(&Device::flex().autodiff());
        let layer = layer.apply_reparameterization(QuantizeWeights::new(config).unwrap());
        let _ = parameters::read(&layer);
        let perturbed = quantized(&layer);
        // What Burn takes for a plain module that shares all its values: the fields of tensors, no numbers.
        let before = ALLOCATOR.current_usage();
        let plain = layer.valid();
        let fields = ALLOCATOR.current_usage() - before;
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
                ALLOCATOR.reset_peak_usage();
                let before = ALLOCATOR.current_usage();
                guide(1);
                let extra = ALLOCATOR.peak_usage() - before;
                // A kilobyte holds the bookkeeping of ten directions and more; each further one takes some 50 bytes.
                let copy = values * size_of::<f32>() + fields + 64 * (directions as usize).saturating_sub(10);
                assert!(
                    extra <= copy + 1024,
                    "{method:?}, {directions} directions: {} bytes beyond a copy",
                    extra - copy
                );
            }
        }
    });
}
