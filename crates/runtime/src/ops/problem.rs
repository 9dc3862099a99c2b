//! What can be wrong with a node: its sizes, what it reads, its numbers.

use hardgrad_kernels::geometry::GeometryError;

use super::limits::{MAX_ACTIVATION, MAX_PARAMETERS, sizes_text};

/// What is wrong with a node.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// It reads too few or too many values.
    #[error("it reads {found} values, and must read {expected}; name them in input")]
    Inputs {
        /// Number that the operator takes.
        expected: usize,
        /// Number that was given.
        found: usize,
    },
    /// It needs another kind of value.
    #[error("takes {expected}, but gets {}; see what the node before gives", sizes_text(found))]
    Rank {
        /// What the operator takes.
        expected: &'static str,
        /// Shape of what it gets.
        found: Vec<usize>,
    },
    /// The two values that are added have other shapes.
    #[error("adds values of one shape, but gets {} and {}", sizes_text(first), sizes_text(second))]
    Shapes {
        /// Shape of the first.
        first: Vec<usize>,
        /// Shape of the second.
        second: Vec<usize>,
    },
    /// A size does not divide another.
    #[error("{what} {size} must be a multiple of {divisor}")]
    Multiple {
        /// What has the size.
        what: &'static str,
        /// The size.
        size: usize,
        /// What should divide it.
        divisor: usize,
    },
    /// An index is beyond the end.
    #[error("index {index} is beyond the {count} tokens; use one below")]
    Index {
        /// The index.
        index: usize,
        /// Number of tokens.
        count: usize,
    },
    /// The number is no positive finite one.
    #[error("{field} is {value}; it must be finite and above 0")]
    Positive {
        /// The size.
        field: &'static str,
        /// Its value.
        value: f32,
    },
    /// The sizes are not possible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// An item has a size of 0.
    #[error("a shape of {} has no values; make its sizes at least 1", sizes_text(shape))]
    NoValues {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An item, with its padding, is too large to be computed with.
    #[error("one item would have {values} values here; the limit is {}", MAX_ACTIVATION)]
    Activation {
        /// Number of values, at most the largest that can be counted.
        values: usize,
    },
    /// The network is too large.
    #[error("the nodes up to here have {parameters} parameters; the limit is {}", MAX_PARAMETERS)]
    Parameters {
        /// Number of parameters, at most the largest that can be counted.
        parameters: usize,
    },
    /// It can only run in a packed model.
    #[error(
        "quantisers are not written as nodes but follow from rules; leave the node out, and give the nodes that read it a [[rule]]"
    )]
    Quantizer,
    /// The number of bits is out of range.
    #[error("{field} has {bits} bits; possible are 1 to 8")]
    Bits {
        /// The part of the node.
        field: &'static str,
        /// The number of bits.
        bits: u32,
    },
    /// A list has the wrong length.
    #[error("{field} must have {expected} values, and has {found}")]
    Length {
        /// The part of the node.
        field: &'static str,
        /// The length that the sizes give.
        expected: usize,
        /// The length that was found.
        found: usize,
    },
    /// A list has neither one value for all outputs nor one an output channel.
    #[error("{field} has {found} values; give it 1 for all outputs, or {channels}, one an output channel")]
    PerChannel {
        /// The part of the node.
        field: &'static str,
        /// Output channels of the node.
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
    /// The whole numbers of a quantiser are out of range.
    #[error(
        "levels {lowest}..={highest} are not possible; lowest must not be above highest, both must be in -255..=255, and {bits} \
         bits must be able to number them"
    )]
    Levels {
        /// Bits of the quantiser.
        bits: u32,
        /// Smallest whole number.
        lowest: i32,
        /// Largest whole number.
        highest: i32,
    },
    /// A factor is not a positive finite number.
    #[error("{field} {index} is {value}; it must be finite and above 0")]
    Scale {
        /// The part of the node.
        field: &'static str,
        /// Which of its values.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A value is infinite or not a number.
    #[error("{field} {index} is {value}; it must be finite")]
    NotFinite {
        /// The part of the node.
        field: &'static str,
        /// Which of its values.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The largest sum, with its scale and bias, is more than `f32` holds.
    #[error(
        "the sum of output channel {channel} can reach {sum}, which scale and bias make larger than any f32; give the weight or \
         the input a smaller scale"
    )]
    Overflow {
        /// The output channel.
        channel: usize,
        /// The largest magnitude of the sum.
        sum: i64,
    },
    /// A sum could leave 32 bits.
    #[error(
        "the sum of output channel {channel} can reach {sum}, which 32 bits do not hold; give the weight or the input fewer bits"
    )]
    Accumulator {
        /// The output channel.
        channel: usize,
        /// The largest magnitude of the sum.
        sum: i64,
    },
    /// The number of channels or features is not the one that the file says.
    #[error("takes {expected} channels or features, but gets {found}")]
    Channels {
        /// What the node takes.
        expected: usize,
        /// What it gets.
        found: usize,
    },
    /// Codes cannot meet real numbers.
    #[error("its weight is codes, but what it reads is real numbers; put a quantize node before it")]
    FloatInput,
    /// A tensor that is no weight is stored as codes.
    #[error("{field} is stored as codes, which only weights of conv2d and linear can be; store it as floats")]
    NoCodes {
        /// The tensor.
        field: &'static str,
    },
}
