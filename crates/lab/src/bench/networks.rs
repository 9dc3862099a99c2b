//! The presets in the sizes that are timed, in float32 or with 4 bits.
//!
//! They take floats in place of pixels. What ships with 8 bits, the first and the last layer, stays float here, as in the
//! libraries that are timed beside them.

use burn::tensor::Device;
use hardgrad::network::Network;
use hardgrad::quantize::StepClock;
use hardgrad_runtime::{Description, Rule};

use crate::config::{ConfigError, LeNetSizes, MlpSizes, ResNet20Sizes, VitSizes};
use crate::models::{builder, lenet, mlp, resnet20, vit};

/// Classes of all networks here.
pub(super) const CLASSES: usize = 10;

/// Bits of weights and activations in the quantised forms.
const BITS: u32 = 4;

/// Perceptron 784-512-512-10; all weights of the quantised form have 4 bits.
pub(super) fn mlp(quantized: bool) -> Network {
    let sizes = MlpSizes { hidden: vec![512, 512] };
    network(mlp::describe(&sizes, &[784], CLASSES), quantized.then(|| vec![everywhere()]))
}

/// Two convolutions 5x5 with 32 and 64 channels, two linear layers, for grey images of 28 x 28 pixels; all weights of the
/// quantised form have 4 bits.
pub(super) fn lenet(quantized: bool) -> Network {
    let sizes = LeNetSizes { channels: vec![32, 64], hidden: 512 };
    network(lenet::describe(&sizes, &[1, 28, 28], CLASSES), quantized.then(|| vec![everywhere()]))
}

/// ResNet-20 for colour images of 32 x 32 pixels; the first convolution and the last layer stay float.
pub(super) fn resnet20(quantized: bool) -> Network {
    let description = resnet20::describe(&ResNet20Sizes { width: 16 }, &[3, 32, 32], CLASSES);
    network(description, quantized.then(|| vec![everywhere(), float("conv1"), float("output")]))
}

/// A vision transformer of four layers, 192 wide, three heads, over 64 patches of 4 x 4 pixels in colour, without positions;
/// embedding and output stay float. Its weights have a scale a channel, the inputs of its linear layers are quantised.
pub(super) fn vit(quantized: bool) -> Network {
    let sizes = VitSizes { patch: 4, width: 192, heads: 3, layers: 4 };
    let description = vit::describe(&sizes, &[3, 32, 32], CLASSES);
    let description = description.map(|network| builder::without(network, "position"));
    let everywhere = Rule { per_channel: Some(true), ..everywhere() };
    network(description, quantized.then(|| vec![everywhere, float("embedding"), float("output")]))
}

/// Weights from their largest magnitude, one scale a tensor; activations with a learned step.
fn everywhere() -> Rule {
    Rule {
        weight_bits: Some(BITS),
        activation_bits: Some(BITS),
        weight_range: Some("min_max".to_string()),
        activation_range: Some("lsq".to_string()),
        per_channel: Some(false),
        ..Rule::all()
    }
}

/// A node that stays float.
fn float(node: &str) -> Rule {
    Rule { nodes: node.to_string(), weight_bits: Some(32), activation_bits: Some(32), ..Rule::all() }
}

fn network(description: Result<Description, ConfigError>, rules: Option<Vec<Rule>>) -> Network {
    let description = description.expect("sizes of the program");
    let network = Network::new(&description, 0, &Device::flex().autodiff()).expect("a preset");
    match rules {
        Some(rules) => network.quantize(&rules, &StepClock::default()).expect("settings of the program"),
        None => network,
    }
}
