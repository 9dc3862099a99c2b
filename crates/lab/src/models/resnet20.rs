use hardgrad_runtime::Description;

use super::builder::{self, Builder};
use super::preset::{Preset, image_size};
use crate::config::{ConfigError, ResNet20Sizes};

pub(super) const PRESET: Preset = Preset {
    name: "resnet20",
    summary: "ResNet-20: a convolution, nine blocks of two convolutions with a shortcut, mean over the pixels",
    describe: |model, shape, classes| describe(&model.resnet20, shape, classes),
};

/// ResNet-20 for images of any size: three groups of three blocks with `width`, `2 width` and `4 width` channels; each
/// group but the first halves the image.
///
/// ```text
/// conv1 -> norm1 -> relu1 -> block1 ... block9 -> mean -> output
/// blockK:  x -> conv1 -> norm1 -> relu1 -> conv2 -> norm2 -> add shortcut(x) -> relu2
/// ```
/// The shortcut is x itself, or a convolution 1x1 with batch norm where the shape changes. Source: He, Zhang, Ren, Sun,
/// "Deep residual learning for image recognition", CVPR 2016.
pub(crate) fn describe(sizes: &ResNet20Sizes, shape: &[usize], classes: usize) -> Result<Description, ConfigError> {
    image_size(PRESET.name, shape)?;
    let mut network = Builder::new(shape);
    network.add("conv1", builder::convolution(sizes.width, 3, 1, false));
    network.add("norm1", builder::batch_norm());
    network.add("relu1", builder::relu());
    for number in 1..=9 {
        let group = (number - 1) / 3;
        let halves = group > 0 && number % 3 == 1;
        block(&mut network, number, sizes.width << group, halves);
    }
    network.add("mean", builder::mean());
    network.add("output", builder::linear(classes));
    Ok(network.finish())
}

/// Adds the block of this number.
fn block(network: &mut Builder, number: usize, channels: usize, halves: bool) {
    let name = |part: &str| format!("block{number}.{part}");
    let (input, stride) = (network.last().to_string(), if halves { 2 } else { 1 });
    let mut shortcut = input.clone();
    if halves {
        shortcut = name("shortcut.norm");
        network.add(name("shortcut.conv"), builder::convolution(channels, 1, stride, false));
        network.add(shortcut.clone(), builder::batch_norm());
    }
    network.join(name("conv1"), builder::convolution(channels, 3, stride, false), &[&input]);
    network.add(name("norm1"), builder::batch_norm());
    network.add(name("relu1"), builder::relu());
    network.add(name("conv2"), builder::convolution(channels, 3, 1, false));
    network.add(name("norm2"), builder::batch_norm());
    network.join(name("add"), builder::sum(), &[&name("norm2"), &shortcut]);
    network.add(name("relu2"), builder::relu());
}
