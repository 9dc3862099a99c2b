use serde::{Deserialize, Serialize};

use super::{ConfigError, Section, sizes};

/// The network: a preset with its sizes, or a description of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Name of the preset; `hardgrad models` lists them.
    pub preset: String,
    /// File with the description of a network; empty for the preset.
    pub file: String,
    /// Sizes of `conv_net`.
    pub conv_net: ConvNetSizes,
    /// Sizes of `lenet`.
    pub lenet: LeNetSizes,
    /// Sizes of `mlp`.
    pub mlp: MlpSizes,
    /// Sizes of `resnet20`.
    pub resnet20: ResNet20Sizes,
    /// Sizes of `vit`.
    pub vit: VitSizes,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            preset: "conv_net".to_string(),
            file: String::new(),
            conv_net: ConvNetSizes::default(),
            lenet: LeNetSizes::default(),
            mlp: MlpSizes::default(),
            resnet20: ResNet20Sizes::default(),
            vit: VitSizes::default(),
        }
    }
}

/// Blocks of convolution, batch norm, pooling and ReLU, then linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvNetSizes {
    /// Output channels of each block.
    pub channels: Vec<usize>,
    /// Height and width of all kernels; odd.
    pub kernel_size: usize,
    /// Outputs of each hidden linear layer.
    pub hidden: Vec<usize>,
}

impl Default for ConvNetSizes {
    fn default() -> Self {
        Self { channels: vec![32, 64], kernel_size: 5, hidden: vec![512] }
    }
}

/// Two convolutions 5x5 with ReLU and pooling, then two linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeNetSizes {
    /// Output channels of the two convolutions.
    pub channels: Vec<usize>,
    /// Outputs of the hidden linear layer.
    pub hidden: usize,
}

impl Default for LeNetSizes {
    fn default() -> Self {
        Self { channels: vec![32, 64], hidden: 512 }
    }
}

/// Linear layers with ReLU between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlpSizes {
    /// Outputs of each hidden layer.
    pub hidden: Vec<usize>,
}

impl Default for MlpSizes {
    fn default() -> Self {
        Self { hidden: vec![512, 512] }
    }
}

/// A residual network of 20 layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResNet20Sizes {
    /// Channels of the first three blocks; twice and four times as many in the others.
    pub width: usize,
}

impl Default for ResNet20Sizes {
    fn default() -> Self {
        Self { width: 16 }
    }
}

/// A transformer over patches of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VitSizes {
    /// Height and width of a patch in pixels.
    pub patch: usize,
    /// Values of a token.
    pub width: usize,
    /// Heads of each attention; they share the width.
    pub heads: usize,
    /// Transformer layers.
    pub layers: usize,
}

impl Default for VitSizes {
    fn default() -> Self {
        Self { patch: 4, width: 192, heads: 3, layers: 4 }
    }
}

impl Section for ModelConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        let Self { conv_net, lenet, mlp, resnet20, vit, .. } = self;
        sizes("model.conv_net.channels", &conv_net.channels)?;
        sizes("model.conv_net.hidden", &conv_net.hidden)?;
        if conv_net.kernel_size % 2 == 0 || conv_net.kernel_size > 31 {
            return Err(ConfigError::range("model.conv_net.kernel_size", "odd and at most 31", conv_net.kernel_size));
        }
        if lenet.channels.len() != 2 {
            return Err(ConfigError::range(
                "model.lenet.channels",
                "two whole numbers",
                format!("{:?}", lenet.channels),
            ));
        }
        sizes("model.lenet.channels", &lenet.channels)?;
        sizes("model.lenet.hidden", [&lenet.hidden])?;
        sizes("model.mlp.hidden", &mlp.hidden)?;
        sizes("model.resnet20.width", [&resnet20.width])?;
        sizes("model.vit.patch", [&vit.patch])?;
        sizes("model.vit.width", [&vit.width])?;
        sizes("model.vit.heads", [&vit.heads])?;
        if !(1..=1000).contains(&vit.layers) {
            return Err(ConfigError::range("model.vit.layers", "a whole number from 1 to 1000", vit.layers));
        }
        Ok(())
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        let VitSizes { width, heads, .. } = self.vit;
        if !width.is_multiple_of(heads) {
            let expected = format!("a divisor of model.vit.width, which is {width}");
            return Err(ConfigError::range("model.vit.heads", expected, heads));
        }
        Ok(())
    }
}
