//! Random numbers that are a function of seed, step, stream and index.

pub use hardgrad_kernels::random::Random;
