//! Presets in small sizes, with 2 bits.

use burn::tensor::{Device, Tensor};
use hardgrad::network::Network;
use hardgrad::quantize::StepClock;
use hardgrad_runtime::{Description, Rule};

use super::first_values::CLASSES;
use crate::config::{ConfigError, LeNetSizes, MlpSizes, VitSizes};
use crate::experiments::subject::Subject;
use crate::models::{builder, lenet, mlp, vit};

/// Grey images of 28 x 28 pixels.
const IMAGE: [usize; 3] = [1, 28, 28];

/// All weights with 2 bits and a learned step; activations stay float.
fn two_bits(per_channel: bool) -> Rule {
    Rule {
        weight_bits: Some(2),
        activation_bits: Some(32),
        weight_range: Some("lsq".to_string()),
        activation_range: Some("lsq".to_string()),
        per_channel: Some(per_channel),
        ..Rule::all()
    }
}

/// A node that stays float.
fn float(node: &str) -> Rule {
    Rule { nodes: node.to_string(), weight_bits: Some(32), activation_bits: Some(32), ..Rule::all() }
}

/// A network with weights from the seed.
fn network(description: Result<Description, ConfigError>, rules: &[Rule], seed: u64) -> Network {
    let description = description.expect("sizes of the program");
    let network = Network::new(&description, seed, &Device::flex().autodiff()).expect("a preset");
    network.quantize(rules, &StepClock::default()).expect("settings of the program")
}

/// 784-64-64-10 with ReLU: 2-bit weights with a learned step a layer, float activations.
pub(in crate::experiments) fn two_bit_mlp(seed: u64) -> Network {
    let sizes = MlpSizes { hidden: vec![64, 64] };
    network(mlp::describe(&sizes, &[IMAGE.iter().product()], CLASSES), &[two_bits(false)], seed)
}

/// Two convolutions with 4 and 8 channels, 64 hidden values: 2-bit weights and activations with learned steps.
pub(in crate::experiments) fn two_bit_lenet(seed: u64) -> Network {
    let sizes = LeNetSizes { channels: vec![4, 8], hidden: 64 };
    let rule = Rule { activation_bits: Some(2), ..two_bits(false) };
    network(lenet::describe(&sizes, &IMAGE, CLASSES), &[rule], seed)
}

/// A vision transformer of two layers, 32 wide, over 16 patches of 7 x 7 pixels: 2-bit weights with a learned step a
/// channel, float embedding and output, no positions.
pub(in crate::experiments) fn two_bit_transformer(seed: u64) -> Network {
    let sizes = VitSizes { patch: 7, width: 32, heads: 2, layers: 2 };
    let description = vit::describe(&sizes, &IMAGE, CLASSES).map(|network| builder::without(network, "position"));
    network(description, &[two_bits(true), float("embedding"), float("output")], seed)
}

impl Subject for Network {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let [batch, _] = images.dims();
        match self.description().input.shape[..] {
            [channels, height, width] => {
                let images: Tensor<4> = images.reshape([batch, channels, height, width]);
                self.forward(images)
            }
            _ => self.forward(images),
        }
    }
}

#[cfg(test)]
mod tests {
    use hardgrad::zeroth_order::quantized;

    use super::*;

    #[test]
    fn each_network_has_its_quantised_weights_and_ten_classes() {
        for (network, weights) in [(two_bit_mlp(3), 3), (two_bit_lenet(3), 4), (two_bit_transformer(3), 8)] {
            assert_eq!(quantized(&network).len(), weights);
            let images = Tensor::<2>::zeros([2, 784], &Device::flex());
            assert_eq!(network.logits(images).dims(), [2, CLASSES]);
        }
    }
}
