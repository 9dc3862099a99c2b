//! Matrix products: one operand's rows in registers as broadcasts, the other's columns as neighbours.
//!
//! The second operand is cut into panels of columns. A panel is laid out `[depth, width]`, which makes a product the sum over
//! shifted planes that convolutions use: the plane of k is row k of the panel.

use rayon::prelude::*;

use crate::convolution::{Finish, PackedWeights, at_least, rounded_sums};
use crate::linear::finish;
use crate::transpose::turn;

/// Columns that a panel has at most: two tiles of the widest registers.
const WIDEST: usize = 96;
/// Floats of the widest register: the rows of a panel are whole registers.
const REGISTER: usize = 16;

/// `out` `[rows, columns]` = `a` `[rows, depth]` times the rows of `b` `[columns, depth]`, plus `bias`, one value a column.
///
/// ```
/// let mut y = [0.0; 2];
/// hardgrad_kernels::ordered::matmul(&[1.0, 2.0], &[3.0, 4.0, 5.0, 6.0], Some(&[0.5, -0.5]), [1, 2, 2], &mut y);
/// assert_eq!(y, [11.5, 16.5]);
/// ```
///
/// # Panics
/// If a slice does not have the length that the sizes give.
pub fn matmul(a: &[f32], b: &[f32], bias: Option<&[f32]>, [rows, columns, depth]: [usize; 3], out: &mut [f32]) {
    let lengths = (rows.checked_mul(depth), columns.checked_mul(depth), rows.checked_mul(columns));
    assert_eq!(lengths, (Some(a.len()), Some(b.len()), Some(out.len())), "slices must fit the sizes");
    assert!(bias.is_none_or(|bias| bias.len() == columns), "one bias a column");
    if out.is_empty() {
        return;
    }
    let mut left = Rows::default();
    left.set(a, depth, rows, depth);
    let layout = Layout::of_columns(columns, depth);
    let mut buffer = Vec::new();
    let panel = at_least(&mut buffer, layout.len());
    for (first, count) in layout.panels(columns) {
        layout.fill_from_rows(&b[first * depth..], depth, count, panel);
        left.times(panel, &layout, count, &mut out[first..], columns);
    }
    finish(out, None, bias);
}

/// A linear layer whose weights are laid out for its sums: [`matmul`] for weights that are used again.
///
/// ```
/// use hardgrad_kernels::ordered::Linear;
///
/// let layer = Linear::new(&[3.0, 4.0, 5.0, 6.0], Some(&[0.5, -0.5]), 2, 2);
/// let mut y = [0.0; 4];
/// layer.forward(&[1.0, 2.0, 0.0, 1.0], &mut y);
/// assert_eq!(y, [11.5, 16.5, 4.5, 5.5]);
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    /// The panels one after another, each as long as its layout.
    panels: Vec<f32>,
    layout: Layout,
    bias: Option<Vec<f32>>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// A layer with `weight` `[outputs, inputs]` and `bias`, one value an output.
    ///
    /// # Panics
    /// If a slice does not have the length that the sizes give.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize) -> Self {
        assert_eq!(outputs.checked_mul(inputs), Some(weight.len()), "weight of {outputs} outputs and {inputs} inputs");
        Self::filled(bias, outputs, inputs, |layout, first, count, panel| {
            layout.fill_from_rows(&weight[first * inputs..], inputs, count, panel);
        })
    }

    /// The same for a `weight` `[inputs, outputs]`.
    ///
    /// # Panics
    /// If a slice does not have the length that the sizes give.
    pub fn from_columns(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize) -> Self {
        assert_eq!(outputs.checked_mul(inputs), Some(weight.len()), "weight of {inputs} inputs and {outputs} outputs");
        Self::filled(bias, outputs, inputs, |layout, first, count, panel| {
            layout.fill_from_columns(&weight[first..], outputs, count, panel);
        })
    }

    fn filled(
        bias: Option<&[f32]>,
        outputs: usize,
        inputs: usize,
        fill: impl Fn(&Layout, usize, usize, &mut [f32]) + Sync,
    ) -> Self {
        assert!(bias.is_none_or(|bias| bias.len() == outputs), "one bias an output");
        let layout = Layout::of_columns(outputs, inputs);
        let places: Vec<_> = layout.panels(outputs).collect();
        let mut panels = vec![0.0; places.len() * layout.len()];
        panels.par_chunks_exact_mut(layout.len().max(1)).zip(&places).for_each(|(panel, &(first, count))| {
            fill(&layout, first, count, panel);
        });
        Self { panels, layout, bias: bias.map(<[f32]>::to_vec), inputs, outputs }
    }

    /// `out` `[rows, outputs]` for `x` `[rows, inputs]`.
    ///
    /// # Panics
    /// If the lengths are not those of the same number of rows.
    pub fn forward(&self, x: &[f32], out: &mut [f32]) {
        let Self { panels, layout, bias, inputs, outputs } = self;
        let rows = if *outputs > 0 { out.len() / outputs } else { x.len() / (*inputs).max(1) };
        assert_eq!([x.len(), out.len()], [rows * inputs, rows * outputs], "rows of {inputs} inputs, {outputs} outputs");
        if out.is_empty() {
            return;
        }
        let mut left = Rows::default();
        left.set(x, *inputs, rows, *inputs);
        for (place, (first, count)) in layout.panels(*outputs).enumerate() {
            let panel = &panels[place * layout.len()..][..layout.len()];
            left.times(panel, layout, count, &mut out[first..], *outputs);
        }
        finish(out, None, bias.as_deref());
    }
}

/// How a panel of the second operand lies in memory: `[depth, width]`.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    width: usize,
    /// Where the row of each k begins.
    offsets: Vec<u32>,
}

impl Layout {
    /// One panel for `columns` columns.
    pub fn new(columns: usize, depth: usize) -> Self {
        let width = columns.next_multiple_of(REGISTER);
        assert!(u32::try_from(width * depth).is_ok(), "a product with {columns} columns and a depth of {depth}");
        Self { width, offsets: (0..depth).map(|k| (k * width) as u32).collect() }
    }

    /// Panels of equal width.
    fn of_columns(columns: usize, depth: usize) -> Self {
        Self::new(columns.div_ceil(columns.div_ceil(WIDEST).max(1)), depth)
    }

    /// Values of a panel.
    pub fn len(&self) -> usize {
        self.width * self.offsets.len()
    }

    /// First column and number of columns of each panel.
    fn panels(&self, columns: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let width = self.width.max(1);
        (0..columns).step_by(width).map(move |first| (first, width.min(columns - first)))
    }

    /// Fills a panel from `count` rows of b (its columns) that begin `stride` values apart.
    pub fn fill_from_rows(&self, rows: &[f32], stride: usize, count: usize, panel: &mut [f32]) {
        let depth = self.offsets.len();
        if depth == 0 || count == 0 {
            return;
        }
        assert!((count - 1) * stride + depth <= rows.len(), "{} values for {count} rows of {depth}", rows.len());
        // SAFETY: the rows were checked above.
        #[allow(unsafe_code)]
        unsafe {
            turn(rows.as_ptr(), stride, count, depth, panel, self.width);
        }
    }

    /// Fills a panel from `count` columns of a matrix whose rows, one a k, begin `stride` values apart.
    pub fn fill_from_columns(&self, columns: &[f32], stride: usize, count: usize, panel: &mut [f32]) {
        for (k, row) in panel.chunks_exact_mut(self.width.max(1)).take(self.offsets.len()).enumerate() {
            row[..count].copy_from_slice(&columns[k * stride..][..count]);
            row[count..].fill(0.0);
        }
    }
}

/// The first operand of products, its rows laid out as the sums read them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    packed: PackedWeights,
    /// What the sums are multiplied with and shifted by: nothing.
    ones: Vec<f32>,
    zeros: Vec<f32>,
}

impl Rows {
    /// Takes `rows` rows of `depth` values that begin `stride` values apart.
    pub fn set(&mut self, values: &[f32], stride: usize, rows: usize, depth: usize) {
        self.packed.set_rows(values, stride, rows, depth);
        self.ones.resize(rows, 1.0);
        self.zeros.resize(rows, 0.0);
    }

    /// The first `count` columns of the product with a panel, in rows of `out` that begin `stride` values apart.
    pub fn times(&self, panel: &[f32], layout: &Layout, count: usize, out: &mut [f32], stride: usize) {
        let rows = self.packed.outputs();
        if rows == 0 || count == 0 {
            return;
        }
        assert!(count <= layout.width && panel.len() >= layout.len() && self.packed.taps() == layout.offsets.len());
        assert!(stride >= count && out.len() >= (rows - 1) * stride + count, "{} values for a product", out.len());
        let finish = Finish { multiplier: &self.ones, bias: &self.zeros };
        // SAFETY: each row of the panel is `width` values, whole registers and no fewer than `count`; there is an offset a
        // tap; the rows of `out` are all there and do not overlap.
        #[allow(unsafe_code)]
        unsafe {
            rounded_sums(panel, &layout.offsets, &self.packed, finish, count, out.as_mut_ptr(), stride);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    pub(crate) fn normal(len: usize, stream: u32) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Random::new(3, 0, stream).fill_normal(&mut values);
        values
    }

    /// One product after another.
    fn plain(a: &[f32], b: &[f32], bias: Option<&[f32]>, [rows, columns, depth]: [usize; 3]) -> Vec<f32> {
        let mut out = Vec::new();
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let mut sum = 0.0f32;
            for k in 0..depth {
                let product = a[row * depth + k] * b[column * depth + k];
                sum += product;
            }
            out.push(bias.map_or(sum, |bias| sum + bias[column]));
        }
        out
    }

    pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn check([rows, columns, depth]: [usize; 3], with_bias: bool) {
        let sizes = [rows, columns, depth];
        let (a, b, bias) = (normal(rows * depth, 0), normal(columns * depth, 1), normal(columns, 2));
        let bias = with_bias.then_some(bias.as_slice());
        let expected = bits(&plain(&a, &b, bias, sizes));
        let mut out = vec![9.0; rows * columns];
        matmul(&a, &b, bias, sizes, &mut out);
        assert!(bits(&out) == expected, "{sizes:?}");
        out.fill(9.0);
        Linear::new(&b, bias, columns, depth).forward(&a, &mut out);
        assert!(bits(&out) == expected, "laid out: {sizes:?}");
        let turned: Vec<f32> = (0..columns * depth).map(|i| b[i % columns * depth + i / columns]).collect();
        out.fill(9.0);
        Linear::from_columns(&turned, bias, columns, depth).forward(&a, &mut out);
        assert!(bits(&out) == expected, "laid out from columns: {sizes:?}");
    }

    #[test]
    fn empty_operands_give_the_bias() {
        for sizes in [[0, 5, 3], [3, 0, 5], [2, 3, 0], [0, 0, 0]] {
            check(sizes, true);
            check(sizes, false);
        }
    }

    #[test]
    fn panels_are_whole_registers_of_about_the_same_width() {
        for (columns, width, panels) in [(1, 16, 1), (96, 96, 1), (97, 64, 2), (512, 96, 6), (200, 80, 3)] {
            let layout = Layout::of_columns(columns, 7);
            assert_eq!((layout.width, layout.panels(columns).count()), (width, panels), "{columns} columns");
            assert_eq!(layout.panels(columns).map(|(_, count)| count).sum::<usize>(), columns);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_bit_is_that_of_the_plain_sum(
            rows in 1usize..40, columns in prop_oneof![1usize..40, 90usize..230], depth in 1usize..70, bias: bool,
        ) {
            check([rows, columns, depth], bias);
        }
    }
}
