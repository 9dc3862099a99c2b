//! How the values of a tensor share scales.

use rayon::prelude::*;

use crate::CHUNK;
use crate::memory::{Fresh, Piece};

/// How the values of a row-major tensor share scales: it is `[outer, channels, inner]`, one scale a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Product of the sizes before the channel axis.
    pub outer: usize,
    /// Number of scales.
    pub channels: usize,
    /// Product of the sizes after the channel axis.
    pub inner: usize,
}

impl Channels {
    /// One scale for all `len` values.
    pub fn one(len: usize) -> Self {
        Self { outer: 1, channels: 1, inner: len }
    }

    /// One scale for each index along `axis` of a tensor of this shape.
    pub fn along(shape: &[usize], axis: usize) -> Self {
        Self { outer: shape[..axis].iter().product(), channels: shape[axis], inner: shape[axis + 1..].iter().product() }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// True if there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces that one task handles: (first value, length, channel); no piece spans two channels.
    pub(crate) fn pieces(&self) -> impl IndexedParallelIterator<Item = (usize, usize, usize)> + use<> {
        let Self { outer, channels, inner } = *self;
        let pieces = inner.div_ceil(CHUNK);
        (0..outer * channels * pieces)
            .into_par_iter()
            .map(move |index| {
                let (row, piece) = (index / pieces, index % pieces);
                (row * inner + piece * CHUNK, CHUNK.min(inner - piece * CHUNK), row % channels)
            })
            .with_min_len((CHUNK / 4 / inner.max(1)).max(1))
    }

    /// Splits `out` into the [pieces](Self::pieces), in their order.
    pub(crate) fn split<'a>(&self, mut out: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        let mut parts = Vec::with_capacity(self.outer * self.channels * self.inner.div_ceil(CHUNK));
        for _ in 0..self.outer * self.channels {
            let row;
            (row, out) = out.split_at_mut(self.inner);
            parts.extend(row.chunks_mut(CHUNK));
        }
        parts
    }

    /// The [pieces](Self::pieces) of a new buffer, in their order.
    pub(crate) fn split_new<'a, T: Copy + Default + Send + Sync>(&self, out: &'a mut Fresh<T>) -> Vec<Piece<'a, T>> {
        out.pieces(self.inner).collect::<Vec<_>>().into_iter().flat_map(|row| row.rows(CHUNK)).collect()
    }

    /// True where neighbouring values belong to different channels, so that loops run over whole outer rows.
    pub(crate) fn interleaved(&self) -> bool {
        self.channels > 1 && self.inner < 32
    }

    /// Values of one outer row.
    pub(crate) fn row(&self) -> usize {
        self.channels * self.inner
    }

    /// Values of the outer rows that one task handles.
    pub(crate) fn rows_a_task(&self) -> usize {
        (CHUNK / self.row().max(1)).max(1) * self.row().max(1)
    }

    /// The value of each place in an outer row: `values` holds one a channel, or one for all.
    pub(crate) fn spread<T: Copy>(&self, values: &[T]) -> Vec<T> {
        (0..self.row()).map(|place| values[(place / self.inner).min(values.len() - 1)]).collect()
    }
}
