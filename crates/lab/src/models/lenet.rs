use hardgrad_runtime::Description;

use super::builder::{self, Builder};
use super::preset::{Preset, image_size};
use crate::config::{ConfigError, LeNetSizes};

pub(super) const PRESET: Preset = Preset {
    name: "lenet",
    summary: "two convolutions 5x5, each with ReLU and 2x2 max pooling, then two linear layers",
    describe: |model, shape, classes| describe(&model.lenet, shape, classes),
};

/// LeNet with padding, for images of any size.
///
/// ```text
/// conv1 -> relu1 -> pool1 -> conv2 -> relu2 -> pool2 -> flatten -> linear1 -> relu3 -> output
/// ```
/// Images too small for a pooling go on without it. Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning
/// applied to document recognition", 1998.
pub(crate) fn describe(sizes: &LeNetSizes, shape: &[usize], classes: usize) -> Result<Description, ConfigError> {
    let mut size = image_size(PRESET.name, shape)?;
    let mut network = Builder::new(shape);
    for (place, &channels) in sizes.channels.iter().enumerate() {
        let number = place + 1;
        network.add(format!("conv{number}"), builder::convolution(channels, 5, 1, true));
        network.add(format!("relu{number}"), builder::relu());
        size = builder::halve(&mut network, format!("pool{number}"), size);
    }
    network.add("flatten", builder::flatten());
    network.add("linear1", builder::linear(sizes.hidden));
    network.add(format!("relu{}", sizes.channels.len() + 1), builder::relu());
    network.add("output", builder::linear(classes));
    Ok(network.finish())
}
