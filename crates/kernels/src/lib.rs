//! Loops over slices: what the operators, the trainer and the packed models of hardgrad compute with.
//!
//! Nothing here knows tensors, gradient tapes or files. Every function takes slices and sizes, runs on all threads of the
//! current rayon pool, and gives the same bytes for any number of threads: work is cut into pieces whose size never depends
//! on the pool, and partial sums are added in the order of the pieces.
//!
//! The inner loops are compiled for AVX-512, AVX2 and the portable baseline, and chosen when the program runs ([`simd`]).
//! Elementwise loops give the same bytes at every level, because Rust never contracts or reorders float operations. The
//! products of training use what each level has; those of [`ordered`] give the same bytes everywhere.

pub mod attention;
pub mod batch_norm;
pub mod batch_norm_relu;
pub mod bernoulli;
pub mod bit_packing;
pub mod bounds;
pub mod categorical;
mod channel_rows;
pub mod channels;
pub mod coded;
pub mod convolution;
pub mod counts;
pub mod dorefa;
pub mod fake_quant;
mod float_lanes;
pub mod fsq;
pub mod gelu;
pub mod geometry;
pub mod hard_concrete;
pub mod images;
pub mod integer;
pub mod layer_norm;
pub mod lfq;
pub mod linear;
pub mod lsq;
pub mod magnitude_sign;
mod math;
pub mod matmul;
pub mod memory;
pub mod optimizer;
pub mod ordered;
pub mod pact;
pub mod patches;
pub mod perturbation;
pub mod pooling;
pub mod quantized;
pub mod quantized_relu;
pub mod random;
pub mod reduce;
pub mod relu_quantize;
pub mod round;
pub mod score_mask;
pub mod sign;
pub mod simd;
mod slices;
pub mod soft_threshold;
pub mod surrogate;
pub mod ternary;
#[cfg(test)]
mod threads;
pub mod threshold_mask;
pub mod token_select;
pub mod top_k;
mod transpose;
pub mod vector_quantize;

/// Elements that one task of an elementwise loop handles: 64 KiB of `f32`, so that input and output stay in the cache.
pub const CHUNK: usize = 16 * 1024;
