//! Large buffers at little cost: zeroed by the tasks that fill them, and kept by the C allocator.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// A new buffer whose pieces are zeroed by the tasks that write them.
///
/// `vec![0.0; len]` writes all its zeros on one thread and sends them to memory before the first value comes. Here each task
/// zeroes its own piece, which then is in its cache.
///
/// ```
/// use hardgrad_kernels::memory::Fresh;
/// use rayon::prelude::*;
///
/// let mut buffer = Fresh::new(10);
/// buffer.pieces(4).enumerate().for_each(|(index, piece)| piece.open().fill(index as f32));
/// assert_eq!(buffer.finish(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
/// ```
pub struct Fresh<T> {
    values: Vec<T>,
    len: usize,
    opened: AtomicUsize,
}

impl<T: Copy + Default + Send + Sync> Fresh<T> {
    /// Room for `len` values.
    pub fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len, opened: AtomicUsize::new(0) }
    }

    /// The pieces of `size` values (the last one may be shorter), in their order; what was opened before counts no more.
    pub fn pieces(&mut self, size: usize) -> impl IndexedParallelIterator<Item = Piece<'_, T>> {
        let Self { values, len, opened } = self;
        *opened.get_mut() = 0;
        let opened = &*opened;
        let room = &mut values.spare_capacity_mut()[..*len];
        room.par_chunks_mut(size.max(1)).map(move |values| Piece { values, opened })
    }

    /// The values.
    ///
    /// # Panics
    /// If a piece was not opened.
    pub fn finish(mut self) -> Vec<T> {
        assert_eq!(self.opened.load(Ordering::Relaxed), self.len, "every piece of a new buffer must be opened");
        // SAFETY: the pieces of one call of `pieces` do not overlap, each can be opened once, and the count begins anew with
        // each call: so all `len` values have been written. The capacity is at least `len`.
        #[allow(unsafe_code)]
        unsafe {
            self.values.set_len(self.len);
        }
        self.values
    }
}

/// A part of a [`Fresh`] buffer that nothing has been written to yet.
pub struct Piece<'a, T> {
    values: &'a mut [MaybeUninit<T>],
    opened: &'a AtomicUsize,
}

impl<'a, T: Copy + Default> Piece<'a, T> {
    /// The values of this piece, all zero.
    pub fn open(self) -> &'a mut [T] {
        self.values.fill(MaybeUninit::new(T::default()));
        self.opened.fetch_add(self.values.len(), Ordering::Relaxed);
        let Self { values, .. } = self;
        // SAFETY: all values were written two lines above.
        #[allow(unsafe_code)]
        unsafe {
            values.assume_init_mut()
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// This piece cut into rows of `size` values (the last one may be shorter).
    pub fn rows(self, size: usize) -> impl Iterator<Item = Piece<'a, T>> {
        let opened = self.opened;
        self.values.chunks_mut(size.max(1)).map(move |values| Piece { values, opened })
    }
}

/// Tells glibc to keep freed memory and to serve large blocks from it; elsewhere it does nothing.
///
/// A training step allocates and frees the same few buffers of several MiB. With its defaults glibc returns each to the
/// system and the next step pays a page fault for every 4 KiB, which costs more than the arithmetic. Call it first in
/// `main`. What is freed then stays with the process until it ends.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: mallopt only sets parameters of the allocator; the two names and values are those of its manual page.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "every piece")]
    fn a_piece_that_was_not_opened_is_noticed() {
        let mut buffer = Fresh::<f32>::new(7);
        buffer.pieces(3).skip(1).for_each(|piece| piece.open().fill(1.0));
        buffer.finish();
    }

    #[test]
    #[should_panic(expected = "every piece")]
    fn opening_the_same_piece_again_does_not_count() {
        let mut buffer = Fresh::<f32>::new(8);
        for _ in 0..2 {
            buffer.pieces(4).take(1).for_each(|piece| piece.open().fill(1.0));
        }
        buffer.finish();
    }

    #[test]
    fn an_empty_buffer_needs_no_piece() {
        assert!(Fresh::<u8>::new(0).finish().is_empty());
    }
}
