//! Evaluation does not grow memory.

#[path = "../../hardgrad/tests/counting/mod.rs"]
mod counting;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use counting::measured;
use hardgrad::quantize::StepClock;
use hardgrad_lab::{Config, ConvNet, NetworkShape};

#[test]
fn ten_thousand_evaluation_steps_do_not_grow_memory() {
    let mut config = Config::default();
    config.model.channels = vec![4, 6];
    config.model.hidden = vec![12];
    let class_names = ["a", "b", "c"].map(String::from).to_vec();
    let shape = NetworkShape { height: 12, width: 12, scale: 0.01, zero_point: 70, class_names };
    // A pool of one thread, so that all work is done, and counted, on it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let held = pool.install(|| {
        let network = ConvNet::new(&config.model, &shape, 0, &Device::flex().autodiff());
        let network = network.quantize(&config.quantization, &shape, &StepClock::default()).unwrap().valid();
        let images = Tensor::<4>::zeros([4, 1, 12, 12], &Device::flex());
        let steps = |count| (0..count).for_each(|_| drop(network.forward(images.clone())));
        steps(500);
        let ((), held, _) = measured(|| steps(10_000));
        held
    });
    // The smallest thing that a tape keeps of a step has more than one byte.
    assert!(held < 10_000, "ten thousand evaluations left {held} bytes behind");
}
