//! Matrix products over slices, on the `gemm` crate.
//!
//! The output is cut into blocks of fixed size that run on different threads; the depth is never cut. So a value is always
//! added up in the same order, whatever the number of threads.

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use crate::memory::Fresh;

const BLOCK_ROWS: usize = 128;
const BLOCK_COLUMNS: usize = 256;

/// Columns that a microkernel of gemm takes at once, at most.
const MICRO: usize = 64;

/// From here on blocks have four times as many rows: each block packs its columns anew.
const MANY_ROWS: usize = 2048;

/// A matrix in a slice: value (r, c) is `values[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix stored row by row with `columns` values a row.
    pub fn rows(values: &'a [f32], columns: usize) -> Self {
        Self { values, row_stride: columns, column_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { values: self.values, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    /// The matrix that begins at row `row` and column `column`.
    fn from(self, row: usize, column: usize) -> Self {
        // An operand without columns or rows may hold no values at all.
        let first = (row * self.row_stride + column * self.column_stride).min(self.values.len());
        Self { values: &self.values[first..], ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.values.len()
    }
}

/// `a` `[rows, depth]` times `b` `[depth, columns]`, row by row.
///
/// # Panics
/// If a slice is shorter than its matrix.
pub fn matmul(a: Matrix<'_>, b: Matrix<'_>, rows: usize, columns: usize, depth: usize) -> Vec<f32> {
    matmul_then(a, b, [rows, columns, depth], |_| {})
}

/// As [`matmul`], with `finish` applied to whole rows of the product while they are in the cache.
pub(crate) fn matmul_then(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [rows, columns, depth]: [usize; 3],
    finish: impl Fn(&mut [f32]) + Sync,
) -> Vec<f32> {
    let mut out = Fresh::new(rows * columns);
    let block_rows = if rows >= MANY_ROWS { 4 * BLOCK_ROWS } else { BLOCK_ROWS };
    let (column_blocks, width) = column_blocks(columns, rows <= block_rows);
    out.pieces((block_rows * columns).max(1)).enumerate().for_each(|(block, piece)| {
        let first_row = block * block_rows;
        let (rows, out) = (block_rows.min(rows - first_row), piece.open());
        let target = Target(out.as_mut_ptr());
        (0..column_blocks).into_par_iter().for_each(|block| {
            let first_column = block * width;
            let block_columns = if block + 1 == column_blocks { columns - first_column } else { width };
            let (a, b) = (a.from(first_row, 0), b.from(0, first_column));
            assert!(a.holds(rows, depth) && b.holds(depth, block_columns), "an operand is shorter than its matrix");
            // SAFETY: the operands were checked above; the blocks of columns of `out` do not overlap, and each lies
            // within the `rows * columns` values of this task's part of `out`.
            #[allow(unsafe_code)]
            unsafe {
                product(a, b, rows, block_columns, depth, target.at(first_column), columns, false);
            }
        });
        finish(out);
    });
    out.finish()
}

/// Number and width of the blocks of columns; the last one takes the rest. Blocks that are `alone`, the only tasks of their
/// product, come in an even number where that leaves none empty.
fn column_blocks(columns: usize, alone: bool) -> (usize, usize) {
    let blocks = columns.div_ceil(BLOCK_COLUMNS).max(1);
    let blocks = if alone && blocks > 1 { blocks.next_multiple_of(2) } else { blocks };
    let width = columns.div_ceil(blocks).max(1);
    // What the microkernels of gemm take at once, rounded to the nearer side: the rest must be no wider than the others.
    let (down, up) = (width / MICRO * MICRO, width.next_multiple_of(MICRO));
    let rest_of = |width: usize| columns.saturating_sub((blocks - 1) * width);
    let width = if down > 0 && rest_of(down) <= up { down } else { up };
    (columns.div_ceil(width).min(blocks).max(1), width)
}

/// `out` `[rows, columns]` = `a` `[rows, depth]` times `b` `[depth, columns]` on this thread, added to `out` if `accumulate`.
///
/// # Panics
/// If a slice is shorter than its matrix.
pub fn matmul_here(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [rows, columns, depth]: [usize; 3],
    out: &mut [f32],
    accumulate: bool,
) {
    matmul_into(a, b, [rows, columns, depth], out, columns, accumulate);
}

/// The same for an `out` whose rows begin `stride` values apart; what lies between them stays as it is.
///
/// # Panics
/// If a slice is shorter than its matrix, or `stride` less than `columns`.
pub fn matmul_into(
    a: Matrix<'_>,
    b: Matrix<'_>,
    [rows, columns, depth]: [usize; 3],
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
) {
    let fits = stride >= columns && Matrix::rows(out, stride).holds(rows, columns);
    assert!(fits, "output of {} values for a {rows} x {columns} matrix with rows {stride} apart", out.len());
    assert!(a.holds(rows, depth) && b.holds(depth, columns), "an operand is shorter than its matrix");
    // SAFETY: all three slices were checked to hold their matrices, and the rows of `out` do not overlap.
    #[allow(unsafe_code)]
    unsafe {
        product(a, b, rows, columns, depth, out.as_mut_ptr(), stride, accumulate);
    }
}

/// # Safety
/// `a` holds `[rows, depth]`, `b` holds `[depth, columns]`, and `out` points to `rows` rows of `columns` values, `out_stride`
/// apart, that nothing else touches.
#[allow(unsafe_code, clippy::too_many_arguments)]
unsafe fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    rows: usize,
    columns: usize,
    depth: usize,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
) {
    // SAFETY: the caller's promise, with the strides of the slices.
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            out,
            1,
            out_stride as isize,
            accumulate,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The output pointer, shared with tasks that write to different columns.
#[derive(Clone, Copy)]
struct Target(*mut f32);

impl Target {
    fn at(self, column: usize) -> *mut f32 {
        self.0.wrapping_add(column)
    }
}

#[allow(unsafe_code)]
// SAFETY: the tasks of one `matmul` call write to disjoint columns.
unsafe impl Sync for Target {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    #[test]
    fn blocks_of_columns_share_the_work() {
        assert_eq!(column_blocks(784, true), (4, 192));
        assert_eq!(column_blocks(512, true), (2, 256));
        assert_eq!(column_blocks(10, true), (1, 64));
        for columns in 1..3000 {
            for alone in [true, false] {
                let (blocks, width) = column_blocks(columns, alone);
                let rest = columns.checked_sub((blocks - 1) * width);
                assert!(rest.is_some_and(|rest| (1..=width + MICRO).contains(&rest)), "{columns}: {blocks} of {width}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_layout_agrees_with_the_plain_sum(rows in 1usize..150, columns in 1usize..300, depth in 0usize..40, turned in 0u8..4) {
            let whole = |stream, len| (0..len).map(|i| Random::new(1, 0, stream).below(i as u64, 9) as f32 - 4.0).collect::<Vec<f32>>();
            let (a, b) = (whole(0, rows * depth), whole(1, depth * columns));
            let a_view = if turned & 1 == 0 { Matrix::rows(&a, depth) } else { Matrix::rows(&a, rows).transposed() };
            let b_view = if turned & 2 == 0 { Matrix::rows(&b, columns) } else { Matrix::rows(&b, depth).transposed() };
            let expected: Vec<f32> = (0..rows * columns).map(|i| {
                let (r, c) = (i / columns, i % columns);
                (0..depth).map(|k| {
                    let x = if turned & 1 == 0 { a[r * depth + k] } else { a[k * rows + r] };
                    let y = if turned & 2 == 0 { b[k * columns + c] } else { b[c * depth + k] };
                    x * y
                }).sum()
            }).collect();
            let mut out = matmul(a_view, b_view, rows, columns, depth);
            prop_assert_eq!(&out, &expected);
            matmul_here(a_view, b_view, [rows, columns, depth], &mut out, true);
            prop_assert!(out.iter().zip(&expected).all(|(a, b)| *a == 2.0 * b));
            let stride = columns + 3;
            let mut wide = vec![7.0; rows * stride];
            matmul_into(a_view, b_view, [rows, columns, depth], &mut wide, stride, false);
            for (wide, expected) in wide.chunks(stride).zip(expected.chunks(columns)) {
                prop_assert_eq!(&wide[..columns], expected);
                prop_assert_eq!(&wide[columns..], [7.0; 3]);
            }
        }
    }
}
