//! The search of max pooling: the largest value of each window and its number.

use super::{Planes, each_seen, halves, pairs};
use crate::geometry::Pool2dShape;
use crate::simd::multiversion;

/// What max pooling compares.
pub(super) trait Value: Copy + Default + Send + Sync {
    /// The largest value so far and its number.
    type Best: Copy + Default;

    /// Pools whole planes.
    fn pool(input: &[Self], shape: &Pool2dShape, best: &mut [Self], winners: &mut [u8]);

    /// A window's first value.
    fn first(self) -> Self::Best;

    /// The better one of `best` and this value, which comes later.
    fn better(self, best: Self::Best, tap: usize) -> Self::Best;

    /// The value and its number.
    fn result(best: Self::Best) -> (Self, u8);

    /// One row of 2x2 windows.
    fn pool_pairs(top: &[[Self; 2]], bottom: &[[Self; 2]], best: &mut [Self], winners: &mut [u8]);
}

impl Value for f32 {
    /// The bits of the value, then the number: a single word is chosen by a conditional move, two are by a branch that is
    /// foreseen badly.
    type Best = u64;

    fn pool(input: &[f32], shape: &Pool2dShape, best: &mut [f32], winners: &mut [u8]) {
        pool_floats(input, shape, best, winners);
    }

    #[inline(always)]
    fn first(self) -> u64 {
        u64::from(self.to_bits()) << 32
    }

    #[inline(always)]
    fn better(self, best: u64, tap: usize) -> u64 {
        let wins = self > f32::from_bits((best >> 32) as u32);
        if wins { u64::from(self.to_bits()) << 32 | u64::from(tap as u32) } else { best }
    }

    #[inline(always)]
    fn result(best: u64) -> (f32, u8) {
        (f32::from_bits((best >> 32) as u32), best as u8)
    }

    #[inline(always)]
    fn pool_pairs(top: &[[f32; 2]], bottom: &[[f32; 2]], best: &mut [f32], winners: &mut [u8]) {
        // Here the loop is vectorised: the number is as wide as the value, for one mask to choose both.
        let better = |(best, winner): (f32, u32), value: f32, tap: u32| {
            let wins = value > best;
            (if wins { value } else { best }, if wins { tap } else { winner })
        };
        for (((top, bottom), best), winner) in top.iter().zip(bottom).zip(best).zip(winners) {
            let found = better(better(better((top[0], 0), top[1], 1), bottom[0], 2), bottom[1], 3);
            (*best, *winner) = (found.0, found.1 as u8);
        }
    }
}

impl Value for u8 {
    /// The value, then 255 - number: the larger of two such keys is the better one, and of equals the first.
    type Best = u16;

    fn pool(input: &[u8], shape: &Pool2dShape, best: &mut [u8], winners: &mut [u8]) {
        pool_bytes(input, shape, best, winners);
    }

    #[inline(always)]
    fn first(self) -> u16 {
        u16::from(self) << 8 | 255
    }

    #[inline(always)]
    fn better(self, best: u16, tap: usize) -> u16 {
        best.max(u16::from(self) << 8 | (255 - tap as u16))
    }

    #[inline(always)]
    fn result(best: u16) -> (u8, u8) {
        ((best >> 8) as u8, !best as u8)
    }

    #[inline(always)]
    fn pool_pairs(top: &[[u8; 2]], bottom: &[[u8; 2]], best: &mut [u8], winners: &mut [u8]) {
        match best.len() {
            16.. => pool_byte_pairs::<16>(top, bottom, best, winners),
            8.. => pool_byte_pairs::<8>(top, bottom, best, winners),
            4.. => pool_byte_pairs::<4>(top, bottom, best, winners),
            _ => pool_byte_pairs::<1>(top, bottom, best, winners),
        }
    }
}

multiversion! {
    fn pool_floats(input: &[f32], shape: &Pool2dShape, best: &mut [f32], winners: &mut [u8]) {
        pool_planes(input, shape, best, winners);
    }
}

multiversion! {
    fn pool_bytes(input: &[u8], shape: &Pool2dShape, best: &mut [u8], winners: &mut [u8]) {
        pool_planes(input, shape, best, winners);
    }
}

#[inline(always)]
fn pool_planes<T: Value>(input: &[T], shape: &Pool2dShape, best: &mut [T], winners: &mut [u8]) {
    let planes = Planes::of_input(shape, input.len());
    let mut found = vec![T::Best::default(); shape.out_width()];
    let outputs = best.chunks_mut(planes.output).zip(winners.chunks_mut(planes.output));
    for (input, (best, winners)) in input.chunks(planes.input).zip(outputs) {
        if halves(shape) {
            pool_halves(input, shape, best, winners);
        } else {
            pool_plane(input, shape, &mut found, best, winners);
        }
    }
}

/// One plane of 2x2 windows.
#[inline(always)]
fn pool_halves<T: Value>(input: &[T], shape: &Pool2dShape, best: &mut [T], winners: &mut [u8]) {
    let width = shape.out_width();
    let outputs = best.chunks_mut(width).zip(winners.chunks_mut(width));
    for (lines, (best, winners)) in input.chunks(2 * shape.width).zip(outputs) {
        let [top, bottom] = pairs(lines, shape.width, width);
        T::pool_pairs(top, bottom, best, winners);
    }
}

/// One plane of windows of any size; `found` has room for a row.
#[inline(always)]
fn pool_plane<T: Value>(input: &[T], shape: &Pool2dShape, found: &mut [T::Best], best: &mut [T], winners: &mut [u8]) {
    let width = shape.out_width();
    for (row, (best, winners)) in best.chunks_mut(width).zip(winners.chunks_mut(width)).enumerate() {
        find(&input[row * shape.stride[0] * shape.width..], shape, found);
        for ((best, winner), found) in best.iter_mut().zip(winners).zip(&*found) {
            (*best, *winner) = T::result(*found);
        }
    }
}

/// One row of windows of any size.
#[inline(always)]
fn find<T: Value>(lines: &[T], shape: &Pool2dShape, found: &mut [T::Best]) {
    let [_, stride] = shape.stride;
    each_seen(&lines[..shape.width], stride, found, |found, value| *found = value.first());
    for (down, line) in lines.chunks(shape.width).take(shape.kernel[0]).enumerate() {
        for right in 0..shape.kernel[1] {
            let tap = down * shape.kernel[1] + right;
            each_seen(&line[right..], stride, found, |found, value| *found = value.better(*found, tap));
        }
    }
}

/// One row of at least `N` 2x2 windows of bytes, `N` at a time.
///
/// The last block overlaps the one before it instead of leaving a rest, which in short rows would take longer than the
/// blocks. Pairs are read as words, whose halves become keys in their places.
#[inline(always)]
fn pool_byte_pairs<const N: usize>(top: &[[u8; 2]], bottom: &[[u8; 2]], best: &mut [u8], winners: &mut [u8]) {
    let mut first = 0;
    loop {
        let (top, bottom) = (block::<N, _>(top, first), block::<N, _>(bottom, first));
        let mut keys = [0; N];
        for lane in 0..N {
            let (top, bottom) = (u16::from_le_bytes(top[lane]), u16::from_le_bytes(bottom[lane]));
            let upper = (top << 8 | 255).max(top & 0xff00 | 254);
            keys[lane] = upper.max(bottom << 8 | 253).max(bottom & 0xff00 | 252);
        }
        let (best_block, winner_block) = (block_mut::<N>(best, first), block_mut::<N>(winners, first));
        for lane in 0..N {
            best_block[lane] = (keys[lane] >> 8) as u8;
        }
        for lane in 0..N {
            winner_block[lane] = !keys[lane] as u8;
        }
        if first + N >= best.len() {
            return;
        }
        first = (first + N).min(best.len() - N);
    }
}

#[inline(always)]
fn block<const N: usize, T>(values: &[T], first: usize) -> &[T; N] {
    values[first..].first_chunk().expect("blocks lie inside the row")
}

#[inline(always)]
fn block_mut<const N: usize>(values: &mut [u8], first: usize) -> &mut [u8; N] {
    values[first..].first_chunk_mut().expect("blocks lie inside the row")
}
