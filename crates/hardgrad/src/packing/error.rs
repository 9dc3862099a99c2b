use hardgrad_runtime::PackedError;
use thiserror::Error;

/// Layers that have no packed form.
#[derive(Debug, Error)]
pub enum PackError {
    /// A quantised weight meets floats.
    #[error(
        "{node}: its weight is quantised, but its input, {input}, is float, and a packed model multiplies codes \
         with codes; quantise what it reads (activation_bits below 32; in Rust an input_quantizer, a QuantRelu before it, \
         or Packer::quantize), or leave the weight float (weight_bits 32)"
    )]
    FloatInput {
        /// Name of the node.
        node: String,
        /// Where its input comes from.
        input: String,
    },
    /// The delay of a quantiser is not over.
    #[error("{node}: quantisation has not begun; train beyond the delay")]
    Delayed {
        /// Name of the node.
        node: String,
    },
    /// The weight or a range is not finite.
    #[error("{node}: its weight or a scale is infinite or not a number; train it again with a lower learning rate")]
    NotFinite {
        /// Name of the node.
        node: String,
    },
    /// The quantiser of activations is one of weights.
    #[error(
        "{node}: its quantiser of activations was made for weights, whose grid depends on them; make one with \
         QuantizerConfig::init"
    )]
    WeightQuantizer {
        /// Name of the node.
        node: String,
    },
    /// The quantiser follows the activations, but has seen none.
    #[error("{node}: the range of its quantiser of activations is not set; call calibrate, or train")]
    Unset {
        /// Name of the node.
        node: String,
    },
    /// The quantiser cannot take 8-bit pixels as they are.
    #[error(
        "{node}: its quantiser has {bits} bits and the whole numbers {lowest} to {highest}, but pixels are 256 \
         whole numbers with 0 among them, round(x / scale); leave the quantiser out, or give it the range fixed \
         with 8 unsigned bits"
    )]
    NotPixels {
        /// Name of the node.
        node: String,
        /// Bits of the quantiser.
        bits: u32,
        /// Its lowest whole number.
        lowest: i32,
        /// Its highest whole number.
        highest: i32,
    },
    /// The packed model's pixels are not those that the layer was trained with.
    #[error(
        "{node}: its quantiser takes pixels of scale {scale} and zero point {zero_point}, the packed model's have \
         scale {found_scale} and zero point {found_zero_point}; give Packer::new what Quantizer::pixels gives"
    )]
    OtherPixels {
        /// Name of the node.
        node: String,
        /// Scale of the quantiser.
        scale: f32,
        /// Zero point of the quantiser.
        zero_point: u8,
        /// Scale of the packed model's pixels.
        found_scale: f32,
        /// Zero point of the packed model's pixels.
        found_zero_point: u8,
    },
    /// The output is not that of the last node.
    #[error("the output must come from the node that was packed last, {last}, not from {output}; pack it last")]
    NotLast {
        /// Where the output comes from.
        output: String,
        /// The last node.
        last: String,
    },
    /// The nodes make no model that can be run.
    #[error(transparent)]
    Model(#[from] PackedError),
}
