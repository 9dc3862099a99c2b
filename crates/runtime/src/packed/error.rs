//! What can be wrong with a packed model or its file.

use std::path::PathBuf;

use crate::description::DescriptionError;
use crate::ops::problem::Problem;

/// Name of the format, in every file.
pub(crate) const FORMAT: &str = "hardgrad packed model";
/// Version of the format that is written; older ones are read.
pub(crate) const VERSION: u64 = 2;
/// Most values that the nodes may keep at a time for one item, of all that flows between them.
pub(crate) const MAX_MEMORY: usize = 1 << 30;

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
        "the file is a \"{format}\" of version {version}, and this program reads \"{}\" of versions 1 to {}",
        FORMAT,
        VERSION
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
    /// The scale of the pixels is not possible.
    #[error("pixels: {0}")]
    Pixels(Problem),
    /// The nodes make no network that can be run.
    #[error(transparent)]
    Network(#[from] DescriptionError),
    /// The description has rules, which belong to training.
    #[error("the description of a packed model has no rules; its quantisers are nodes")]
    Rules,
    /// A node lacks a tensor.
    #[error("the model has no tensor {tensor:?}, which its node needs")]
    NoTensor {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor belongs to no node.
    #[error("tensor {tensor:?} belongs to no node of the model")]
    Stranger {
        /// Name of the tensor.
        tensor: String,
    },
    /// The last node does not give one value a class.
    #[error("the last node gives {shape:?}, but there are {classes} classes; it must give one real value a class")]
    Output {
        /// Shape of what the last node gives.
        shape: Vec<usize>,
        /// Number of classes.
        classes: usize,
    },
    /// A group of items would need more memory than there is.
    #[error(
        "one item needs {values} values at a time, and models may need at most {}; use a smaller model",
        MAX_MEMORY
    )]
    Memory {
        /// Number of values, at most the largest that can be counted.
        values: usize,
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
    PixelCount {
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
