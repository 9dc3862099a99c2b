//! Evaluation does not grow memory. A test binary of its own, because it reads the size of its process.

#![cfg(target_os = "linux")]

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use hardgrad::quantize::StepClock;
use hardgrad_lab::{Config, ConvNet, NetworkShape};

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_evaluation_steps_do_not_grow_memory() {
    let mut config = Config::default();
    config.model.channels = vec![4, 6];
    config.model.hidden = vec![12];
    let class_names = ["a", "b", "c"].map(String::from).to_vec();
    let shape = NetworkShape { height: 12, width: 12, scale: 0.01, zero_point: 70, class_names };
    let network = ConvNet::new(&config.model, &shape, 0, &Device::flex().autodiff());
    let network = network.quantize(&config.quantization, &shape, &StepClock::default()).unwrap().valid();
    let images = Tensor::<4>::zeros([4, 1, 12, 12], &Device::flex());
    let steps = |count| (0..count).for_each(|_| drop(network.forward(images.clone())));
    steps(500);
    let before = resident();
    steps(10_000);
    let growth = resident().saturating_sub(before);
    // A tape that grew by the smallest of the network's tensors a step would add more than 1 MiB.
    assert!(growth < 1024, "resident memory grew by {growth} KiB");
}
