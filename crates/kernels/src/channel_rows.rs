//! Neighbouring channels of [outer, channels, inner] as one task, so that it can do everything that they need.
//!
//! A pass over channels that follows another finds their rows in the cache. Channels with short rows go together, because
//! the processor only foresees reads that go on for a while and every loop costs its start. A stretch is what lies side by
//! side: the rows of a group at one index of the outer axis. Sums belong to one channel and are added row by row, so they do
//! not depend on which channels go together. What a task writes lies apart in the output: the pieces of a new buffer are
//! sorted by task before the tasks start.

use std::ops::Range;

use rayon::prelude::*;

use crate::channels::Channels;
use crate::memory::{Fresh, Piece};

/// Values of a stretch of several channels, at most: 8 KiB of `f32`, so that one loop after another finds them in the
/// innermost cache.
pub(crate) const STRETCH: usize = 2048;

/// Tasks that there should be even if rows are short, so that several threads have work.
const TASKS: usize = 8;

/// Neighbouring channels that one task handles.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    layout: Channels,
    first: usize,
    /// Number of channels.
    pub len: usize,
}

impl Group {
    /// The groups of this layout, in their order.
    pub fn all(layout: Channels) -> Vec<Self> {
        let size = Self::size(layout);
        let group = |first| Self { layout, first, len: size.min(layout.channels - first) };
        (0..layout.channels).step_by(size).map(group).collect()
    }

    fn size(layout: Channels) -> usize {
        (STRETCH / layout.inner.max(1)).min(layout.channels.div_ceil(TASKS)).max(1)
    }

    /// Its channels.
    pub fn channels(self) -> Range<usize> {
        self.first..self.first + self.len
    }

    /// Where its stretches lie, in the order of memory.
    pub fn stretches(self) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
        let Self { layout, first, len } = self;
        (0..layout.outer).map(move |outer| {
            let start = (outer * layout.channels + first) * layout.inner;
            start..start + len * layout.inner
        })
    }

    /// Its stretches of `x`, in the order of memory.
    pub fn of<T>(self, x: &[T]) -> impl DoubleEndedIterator<Item = &[T]> + ExactSizeIterator {
        self.stretches().map(move |stretch| &x[stretch])
    }
}

/// The values of one channel in a stretch of `channels` channels.
#[inline(always)]
pub(crate) fn row_len(stretch: &[f32], channels: usize) -> usize {
    // At least 1, because slices are cut by this length, even empty ones.
    (stretch.len() / channels).max(1)
}

/// For each group, the pieces of `buffer` that are its stretches; none where the buffer has no room.
pub(crate) fn pieces_of_groups<T>(buffer: &mut Fresh<T>, layout: Channels) -> Vec<Vec<Piece<'_, T>>>
where
    T: Copy + Default + Send + Sync,
{
    let mut of_groups: Vec<_> = Group::all(layout).iter().map(|_| Vec::with_capacity(layout.outer)).collect();
    let outer_rows: Vec<_> = buffer.pieces(layout.row()).collect();
    for outer_row in outer_rows {
        for (pieces, piece) in of_groups.iter_mut().zip(outer_row.rows(Group::size(layout) * layout.inner)) {
            pieces.push(piece);
        }
    }
    of_groups
}

/// A new buffer whose stretches `task(group, pieces)` writes, and what the tasks return for their channels.
pub(crate) fn new_buffer<T, R>(
    layout: Channels,
    task: impl Fn(Group, Vec<Piece<T>>) -> Vec<R> + Sync,
) -> (Vec<T>, Vec<R>)
where
    T: Copy + Default + Send + Sync,
    R: Send,
{
    let mut buffer = Fresh::new(layout.len());
    let tasks = Group::all(layout).into_par_iter().zip(pieces_of_groups(&mut buffer, layout));
    let results: Vec<Vec<R>> = tasks.map(|(group, pieces)| task(group, pieces)).collect();
    (buffer.finish(), results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_gets_its_own_stretches() {
        for (outer, channels, inner) in
            [(3, 2, 4), (2, 37, 5), (1, 9, 3000), (4, 100, 1), (0, 2, 4), (3, 0, 4), (3, 2, 0)]
        {
            let layout = Channels { outer, channels, inner };
            let x: Vec<usize> = (0..layout.len()).collect();
            let (copy, seen) = new_buffer(layout, |group, pieces| {
                for (x, piece) in group.of(&x).zip(pieces) {
                    piece.open().copy_from_slice(x);
                    assert!(x.iter().all(|place| group.channels().contains(&(place / inner % channels))));
                }
                group.channels().collect()
            });
            assert_eq!((copy, seen), (x, (0..channels).collect()));
        }
    }
}
