//! Code books: each vector is replaced by the nearest of a few.

pub(crate) mod fsq;
pub(crate) mod lfq;
pub(crate) mod vector_quantize;

pub use fsq::fsq;
pub use lfq::lfq;
pub use vector_quantize::{CodeGradient, VectorQuantizer, VectorQuantizerConfig, commitment_loss, vector_quantize};

use burn::tensor::{Int, Tensor};

/// Quantised vectors and their codes.
#[derive(Clone, Debug)]
pub struct Codes {
    /// The vectors that take the place of the input: `[n, dims]`.
    pub quantized: Tensor<2>,
    /// The code of each vector: `[n]`.
    pub indices: Tensor<1, Int>,
}
