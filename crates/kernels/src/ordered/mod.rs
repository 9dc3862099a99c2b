//! Float arithmetic in a fixed order: what evaluation and packed models compute with, so that both give the same bits on
//! every machine.
//!
//! ```text
//! linear       y[r, c]  = (sum_k x[r, k] w[c, k]) + b[c]                          k from 0 up
//! convolution  y[o, p]  = (sum_k w[o, k] x[k at p]) + b[o]                        k over (channel, kernel row, kernel column)
//! attention    S = q k^T    P = exp((S - max) / sqrt(width)) (1 / sum)    y = P v     sums over columns, then over tokens
//! mean         y        = (sum of the values, first to last) / count
//! ```
//! A sum begins at 0; each product is rounded, then each sum (no fused multiply-add), and a value's products are added one
//! after another: registers hold neighbouring outputs, never parts of one sum. So neither the level of [`simd`](crate::simd)
//! nor the number of threads changes a bit. Elementwise functions keep that by themselves, as do the row sums of
//! [`layer_norm`](crate::layer_norm) and of the softmax, which always add 16 partial sums in the same order.
//!
//! The functions here run on one thread; [`batch`] spreads items over threads. [`Linear`] and [`Conv2d`] keep the weights as
//! the sums read them, for those who run a layer more than once.

mod attention;
pub mod batch;
mod conv2d;
mod matmul;
mod mean;

pub use attention::attention;
pub use conv2d::{Conv2d, conv2d};
pub use matmul::{Linear, matmul};
pub use mean::{mean_planes, mean_tokens};
