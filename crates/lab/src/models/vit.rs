use hardgrad_runtime::{Description, Op, ops};

use super::builder::{self, Builder};
use super::preset::{Preset, image_size};
use crate::config::{ConfigError, VitSizes};

pub(super) const PRESET: Preset = Preset {
    name: "vit",
    summary: "vision transformer over patches of the image",
    describe: |model, shape, classes| describe(&model.vit, shape, classes),
};

/// A vision transformer with layer norm in front of each half of a layer.
///
/// ```text
/// patches -> embedding -> position -> layer1 ... -> norm -> mean (over the tokens) -> output
/// layerK:  x -> norm1 -> qkv -> attention -> out -> + x        then  x -> norm2 -> up -> gelu -> down -> + x
/// ```
/// `up` is four times as wide as a token. Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; the
/// mean in place of a class token: Beyer, Zhai, Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022.
///
/// # Errors
/// For tables, and where patches of that size do not fill the image.
pub(crate) fn describe(sizes: &VitSizes, shape: &[usize], classes: usize) -> Result<Description, ConfigError> {
    let [height, width] = image_size(PRESET.name, shape)?;
    if !(height.is_multiple_of(sizes.patch) && width.is_multiple_of(sizes.patch)) {
        let expected = format!("a size of which whole patches fill an image of {height} x {width} pixels");
        return Err(ConfigError::range("model.vit.patch", expected, sizes.patch));
    }
    let mut network = Builder::new(shape);
    network.add("patches", Op::Patches(ops::Patches { size: [sizes.patch; 2] }));
    network.add("embedding", builder::linear(sizes.width));
    network.add("position", Op::PositionEmbedding(ops::PositionEmbedding {}));
    for number in 1..=sizes.layers {
        layer(&mut network, number, sizes);
    }
    network.add("norm", builder::layer_norm());
    network.add("mean", builder::mean());
    network.add("output", builder::linear(classes));
    Ok(network.finish())
}

/// Adds the transformer layer of this number.
fn layer(network: &mut Builder, number: usize, &VitSizes { width, heads, .. }: &VitSizes) {
    let name = |part: &str| format!("layer{number}.{part}");
    let input = network.last().to_string();
    network.add(name("norm1"), builder::layer_norm());
    network.add(name("qkv"), builder::linear(3 * width));
    network.add(name("attention"), Op::Attention(ops::Attention { heads }));
    network.add(name("out"), builder::linear(width));
    network.join(name("add1"), builder::sum(), &[&name("out"), &input]);
    network.add(name("norm2"), builder::layer_norm());
    network.add(name("up"), builder::linear(4 * width));
    network.add(name("gelu"), Op::Gelu(ops::Gelu {}));
    network.add(name("down"), builder::linear(width));
    network.join(name("add2"), builder::sum(), &[&name("down"), &name("add1")]);
}
