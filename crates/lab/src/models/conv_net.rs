use hardgrad_runtime::Description;

use super::builder::{self, Builder};
use super::preset::{Preset, image_size};
use crate::config::{ConfigError, ConvNetSizes};

pub(super) const PRESET: Preset = Preset {
    name: "conv_net",
    summary: "blocks of convolution, batch norm, 2x2 max pooling and ReLU, then linear layers",
    describe: |model, shape, classes| describe(&model.conv_net, shape, classes),
};

/// The small convolutional network, for images of any size.
///
/// ```text
/// convK -> normK -> poolK (where the image is 2 x 2 pixels or larger) -> reluK         for each block K
/// flatten -> linearK -> reluN ... -> output
/// ```
pub(crate) fn describe(sizes: &ConvNetSizes, shape: &[usize], classes: usize) -> Result<Description, ConfigError> {
    let mut size = image_size(PRESET.name, shape)?;
    let mut network = Builder::new(shape);
    for (place, &channels) in sizes.channels.iter().enumerate() {
        let number = place + 1;
        network.add(format!("conv{number}"), builder::convolution(channels, sizes.kernel_size, 1, false));
        network.add(format!("norm{number}"), builder::batch_norm());
        size = builder::halve(&mut network, format!("pool{number}"), size);
        network.add(format!("relu{number}"), builder::relu());
    }
    network.add("flatten", builder::flatten());
    for (place, &outputs) in sizes.hidden.iter().enumerate() {
        network.add(format!("linear{}", place + 1), builder::linear(outputs));
        network.add(format!("relu{}", sizes.channels.len() + place + 1), builder::relu());
    }
    network.add("output", builder::linear(classes));
    Ok(network.finish())
}
