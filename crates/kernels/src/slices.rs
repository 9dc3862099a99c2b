//! How elementwise loops are spread over threads.

use rayon::prelude::*;

use crate::CHUNK;

/// Runs `block` on matching chunks of `x` and `out`.
pub(crate) fn unary(x: &[f32], out: &mut [f32], block: impl Fn(&[f32], &mut [f32]) + Sync) {
    assert_eq!(x.len(), out.len());
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| block(x, out));
}

/// Runs `block` on matching chunks of `x`, `y` and `out`.
pub(crate) fn binary(x: &[f32], y: &[f32], out: &mut [f32], block: impl Fn(&[f32], &[f32], &mut [f32]) + Sync) {
    assert!(x.len() == out.len() && y.len() == out.len());
    let inputs = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK));
    out.par_chunks_mut(CHUNK).zip(inputs).for_each(|(out, (x, y))| block(x, y, out));
}
