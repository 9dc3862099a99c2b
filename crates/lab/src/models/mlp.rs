use hardgrad_runtime::Description;

use super::builder::{self, Builder};
use super::preset::Preset;
use crate::config::{ConfigError, MlpSizes};

pub(super) const PRESET: Preset = Preset {
    name: "mlp",
    summary: "linear layers with ReLU between them; for tables, too",
    describe: |model, shape, classes| describe(&model.mlp, shape, classes),
};

/// Linear layers with ReLU between them, for images and for the rows of tables.
///
/// ```text
/// flatten (of images) -> linearK -> reluK ... -> output
/// ```
pub(crate) fn describe(sizes: &MlpSizes, shape: &[usize], classes: usize) -> Result<Description, ConfigError> {
    let mut network = Builder::new(shape);
    if shape.len() != 1 {
        network.add("flatten", builder::flatten());
    }
    for (place, &outputs) in sizes.hidden.iter().enumerate() {
        network.add(format!("linear{}", place + 1), builder::linear(outputs));
        network.add(format!("relu{}", place + 1), builder::relu());
    }
    network.add("output", builder::linear(classes));
    Ok(network.finish())
}
