//! Evaluation does not grow memory.

#[path = "../../hardgrad/tests/counting/mod.rs"]
mod counting;

use burn::module::Module;
use burn::tensor::Device;
use counting::measured;
use hardgrad::coded::CodedTensor;
use hardgrad::network::Network;
use hardgrad::quantize::StepClock;
use hardgrad::runtime::Pixels;
use hardgrad_lab::{Config, models};

#[test]
fn ten_thousand_evaluation_steps_do_not_grow_memory() {
    let mut config = Config::default();
    config.model.conv_net.channels = vec![4, 6];
    config.model.conv_net.hidden = vec![12];
    let description = models::describe(&config.model, &[1, 12, 12], 3).unwrap();
    // A pool of one thread, so that all work is done, and counted, on it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let held = pool.install(|| {
        let network = Network::new(&description, 0, &Device::flex().autodiff()).unwrap();
        let rules = config.quantization.rules_for(&description);
        let network = network.quantize(&rules, &StepClock::default()).unwrap().valid();
        let pixels = Pixels { scale: 0.01, zero_point: 70 };
        let images = CodedTensor::from_bytes(vec![70; 4 * 144], [4, 1, 12, 12], pixels);
        let steps = |count| (0..count).for_each(|_| drop(network.forward(images.clone())));
        steps(500);
        let ((), held, _) = measured(|| steps(10_000));
        held
    });
    // The smallest thing that a tape keeps of a step has more than one byte.
    assert!(held < 10_000, "ten thousand evaluations left {held} bytes behind");
}
