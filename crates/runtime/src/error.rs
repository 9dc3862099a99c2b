//! What can be wrong with a packed model or its file.

use std::path::PathBuf;

use hardgrad_kernels::geometry::GeometryError;

/// Why a packed model cannot be read, written or run.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The path is a folder or a device.
    #[error("{} is not a file; give the path of a packed model", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any packed model.
    #[error("{} has {length} bytes, and packed models have at most {limit}; give the path of a packed model", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        length: u64,
        /// The largest size.
        limit: u64,
    },
    /// The file ends too early.
    #[error("cut off at byte {length}: the {part} ends at byte {needed}; copy the file again")]
    CutOff {
        /// What is incomplete.
        part: &'static str,
        /// Where it would end.
        needed: u64,
        /// Bytes of the file.
        length: usize,
    },
    /// The file goes on after its last tensor.
    #[error("the tensors end at byte {needed}, but there are {length} bytes; copy the file again")]
    ExtraBytes {
        /// Where the last tensor ends.
        needed: u64,
        /// Bytes of the file.
        length: usize,
    },
    /// The safetensors header is not JSON.
    #[error("the header is not that of a safetensors file: {0}")]
    Header(serde_json::Error),
    /// A name is in the safetensors header twice, so that readers may take one entry or the other.
    #[error("the header has the name {0:?} twice, and only one of the two could be used; write the file again")]
    DuplicateName(String),
    /// The safetensors format is broken in another way.
    #[error("not a valid safetensors file: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// Some byte of the file is not what was written.
    #[error("the checksum does not hold: the file was changed after it was written; copy or export it again")]
    Checksum,
    /// A safetensors file, but no packed model.
    #[error("the file is no packed model: its __metadata__ must have the key \"hardgrad\" and no other")]
    NotPacked,
    /// The description has another format name or version.
    #[error(
        "the file is a \"{format}\" of version {version}, and this program reads \"{}\" of version {}",
        crate::format::FORMAT,
        crate::format::VERSION
    )]
    Version {
        /// The format name that was found.
        format: String,
        /// The version that was found.
        version: u64,
    },
    /// The description of the model is not as documented.
    #[error("the description under \"hardgrad\" cannot be used: {0}")]
    Description(serde_json::Error),
    /// A tensor is not what the description says.
    #[error("tensor {tensor:?} {problem}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        problem: TensorProblem,
    },
    /// The model's input is not possible.
    #[error("input: {0}")]
    Input(Problem),
    /// A layer is not possible, or does not fit what comes before it.
    #[error("layer {layer:?}: {problem}")]
    Layer {
        /// Name of the layer.
        layer: String,
        /// What is wrong.
        problem: Problem,
    },
    /// Two layers have one name, or a layer has none.
    #[error("layer name {0:?} is empty or used twice; names must tell the layers apart")]
    LayerName(String),
    /// A sum could leave 32 bits.
    #[error(
        "layer {layer:?}: the sum of output channel {channel} can reach {sum}, which 32 bits do not hold; \
         give the weight or the input fewer bits"
    )]
    AccumulatorOverflow {
        /// Name of the layer.
        layer: String,
        /// The output channel.
        channel: usize,
        /// The largest magnitude of the sum.
        sum: i64,
    },
    /// The last layer does not give one value a class.
    #[error("the last layer gives {shape:?}, but there are {classes} classes; it must give one value a class")]
    Output {
        /// Shape of the last layer's output.
        shape: Vec<usize>,
        /// Number of classes.
        classes: usize,
    },
    /// An output is infinite or not a number, so that it says nothing about the image.
    #[error(
        "output {class} of image {image} is {value}: the real numbers of the model are too large to be computed with; \
         use a model whose outputs are finite"
    )]
    NotFinite {
        /// The image, from 0 in the order in which they were given.
        image: usize,
        /// Its first output that is not finite.
        class: usize,
        /// The output.
        value: f32,
    },
    /// The pixels are not a whole number of images.
    #[error("{found} pixels are not a whole number of images of {image} pixels")]
    Pixels {
        /// Number of pixels that were given.
        found: usize,
        /// Pixels of an image.
        image: usize,
    },
}

/// What is wrong with a tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// It is named in the description, but is not there.
    #[error("is named in the description, but is not in the file")]
    Missing,
    /// It is there, but not named.
    #[error("is in the file, but not named in the description")]
    Unused,
    /// It is named twice.
    #[error("is named twice in the description; each tensor belongs to one place")]
    Shared,
    /// Its element type or its number of dimensions is wrong.
    #[error("must have the type {expected} and one dimension, and has {found}")]
    Type {
        /// The type that was expected.
        expected: &'static str,
        /// Type and shape that were found.
        found: String,
    },
    /// Its length is wrong.
    #[error("must have {expected} values, and has {found}")]
    Length {
        /// The length that the description gives.
        expected: usize,
        /// The length that was found.
        found: usize,
    },
    /// Bits after its last code are set.
    #[error("has bits set after its last code")]
    Padding,
}

/// What is wrong with a layer, or with the model's input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The layer needs an image and gets features, or the reverse.
    #[error("takes {expected}, but gets {found:?}; move it before or after the flatten layer")]
    Rank {
        /// What the layer takes.
        expected: &'static str,
        /// Shape of what it gets.
        found: Vec<usize>,
    },
    /// The number of channels or features is wrong.
    #[error("takes {expected} channels or features, but gets {found}")]
    Channels {
        /// What the layer takes.
        expected: usize,
        /// What it gets.
        found: usize,
    },
    /// The sizes are not possible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// An image, with its padding, is too large to be computed with.
    #[error("one image would have {values} values here; the limit is {}", crate::MAX_ACTIVATION)]
    Activation {
        /// Number of values, at most the largest that can be counted.
        values: usize,
    },
    /// The number of bits is out of range.
    #[error("{field} has {bits} bits; possible are 1 to 8")]
    Bits {
        /// The part of the layer.
        field: &'static str,
        /// The number of bits.
        bits: u32,
    },
    /// A list has the wrong length.
    #[error("{field} must have {expected} values, and has {found}")]
    Length {
        /// The part of the layer.
        field: &'static str,
        /// The length that the sizes give.
        expected: usize,
        /// The length that was found.
        found: usize,
    },
    /// A list has neither one value for all outputs nor one an output channel.
    #[error("{field} has {found} values; give it 1 for all outputs, or {channels}, one an output channel")]
    PerChannel {
        /// The part of the layer.
        field: &'static str,
        /// Output channels of the layer.
        channels: usize,
        /// The length that was found.
        found: usize,
    },
    /// A code needs more bits than the weight has.
    #[error("weight code {index} is {code}, which does not fit into {bits} bits")]
    Code {
        /// Where the code is.
        index: usize,
        /// The code.
        code: u8,
        /// Bits of the weight.
        bits: u32,
    },
    /// The whole numbers of a weight are out of range.
    #[error(
        "weight codes mean {first} + {step} * code by first {index}; step must be at least 1, and all numbers in -255..=255"
    )]
    WeightLevels {
        /// Which value of `first`.
        index: usize,
        /// Whole number of code 0.
        first: i32,
        /// Distance of the whole numbers.
        step: i32,
    },
    /// The whole numbers of an input are out of range.
    #[error(
        "input levels {lowest}..={highest} are not possible; lowest must not be above highest, both must be in -255..=255, \
         and {bits} bits must be able to number them"
    )]
    InputLevels {
        /// Bits of the input.
        bits: u32,
        /// Smallest whole number.
        lowest: i32,
        /// Largest whole number.
        highest: i32,
    },
    /// A factor is not a positive finite number.
    #[error("{field} {index} is {value}; it must be finite and above 0")]
    Scale {
        /// The part of the layer.
        field: &'static str,
        /// Which of its values.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A value is infinite or not a number.
    #[error("{field} {index} is {value}; it must be finite")]
    NotFinite {
        /// The part of the layer.
        field: &'static str,
        /// Which of its values.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The largest sum, with its scale and bias, is more than `f32` holds.
    #[error(
        "the sum of output channel {channel} can reach {sum}, which scale and bias make larger than any f32; \
         give the weight or the input a smaller scale"
    )]
    Overflow {
        /// The output channel.
        channel: usize,
        /// The largest magnitude of the sum.
        sum: i64,
    },
    /// Whole pixels are wanted after they became real numbers.
    #[error("takes whole pixels, which only the first layer can; give it levels as input")]
    NoPixels,
}
