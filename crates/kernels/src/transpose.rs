//! Transposition of float matrices, square by square in registers.

use rayon::prelude::*;

use crate::float_lanes::{FloatLanes, for_each_level};
use crate::memory::Fresh;

/// Rows of the result that one task writes: a multiple of every register's width.
const ROWS: usize = 64;

/// `[columns, rows]` of `values` `[rows, columns]`.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    assert_eq!(values.len(), rows * columns);
    let mut out = Fresh::new(values.len());
    out.pieces((ROWS * rows).max(1)).enumerate().for_each(|(task, out)| {
        let (out, first) = (out.open(), task * ROWS);
        // SAFETY: `values` holds `rows` rows with `columns` values, of which the task takes those from `first` on that it has
        // room for.
        #[allow(unsafe_code)]
        unsafe {
            turn(values.as_ptr().add(first), columns, rows, out.len() / rows, out, rows);
        }
    });
    out.finish()
}

for_each_level! {
    /// Turns `[rows, columns]` (rows `stride` values apart) to `[columns, width]`; where `width` is more than `rows`, zeros follow.
    ///
    /// # Safety
    /// `from` holds `rows` rows of `columns` values.
    pub(crate) unsafe fn turn(
        from: *const f32,
        stride: usize,
        rows: usize,
        columns: usize,
        to: &mut [f32],
        width: usize,
    ) = squares
}

#[inline(always)]
#[allow(unsafe_code)]
// SAFETY: as `turn`.
unsafe fn squares<L: FloatLanes>(
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    to: &mut [f32],
    width: usize,
) {
    assert!(width >= rows && to.len() >= columns * width);
    // SAFETY: as the caller promises, with the existing rows and columns only; what is written lies within `to`.
    unsafe {
        for row in (0..width).step_by(L::LANES) {
            let (filled, room) = (rows.saturating_sub(row).min(L::LANES), (width - row).min(L::LANES));
            for column in (0..columns).step_by(L::LANES) {
                let count = (columns - column).min(L::LANES);
                let mut square = [L::splat(0.0); 16];
                for (index, values) in square.iter_mut().enumerate().take(filled) {
                    let from = from.add((row + index) * stride + column);
                    *values = if count == L::LANES { L::load(from) } else { L::load_part(from, count) };
                }
                L::transpose(&mut square);
                for (index, values) in square.into_iter().enumerate().take(count) {
                    let to = to.as_mut_ptr().add((column + index) * width + row);
                    if room == L::LANES { values.store(to) } else { values.store_part(to, room) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_value_finds_its_place(rows in 0usize..70, columns in 0usize..150) {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transposed(&values, rows, columns);
            for (i, value) in values.iter().enumerate() {
                prop_assert_eq!(turned[i % columns * rows + i / columns], *value);
            }
        }
    }
}
