//! Comparison of logits, bit by bit.

/// How far two tables of logits agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Rows that agree in every bit.
    pub identical_rows: usize,
    /// All rows.
    pub total_rows: usize,
    /// The first difference in reading order.
    pub first: Option<Difference>,
}

impl Comparison {
    /// Whether every bit of every row agrees.
    pub fn is_identical(&self) -> bool {
        self.first.is_none()
    }
}

/// Two values that should agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Row, which is an image.
    pub row: usize,
    /// Column, which is a class.
    pub column: usize,
    /// The value of the first table.
    pub a: f32,
    /// The value of the second table.
    pub b: f32,
}

/// Compares two tables `[images, classes]` by bits: 0 and -0 differ, equal patterns of "not a number" agree.
///
/// ```
/// let comparison = hardgrad_runtime::first_difference(&[1.0, 2.0, 0.0, 4.0], &[1.0, 2.0, -0.0, 4.0], 2);
/// assert_eq!((comparison.identical_rows, comparison.total_rows), (1, 2));
/// assert_eq!(comparison.first.map(|first| (first.row, first.column)), Some((1, 0)));
/// ```
///
/// # Panics
/// If the tables have different lengths, or are not whole rows of `classes` values.
pub fn first_difference(a: &[f32], b: &[f32], classes: usize) -> Comparison {
    assert_eq!(a.len(), b.len(), "tables of logits must have the same length");
    assert!(classes > 0 && a.len().is_multiple_of(classes), "a table must be whole rows of {classes} values");
    let mut comparison = Comparison { identical_rows: 0, total_rows: a.len() / classes, first: None };
    for (row, (left, right)) in a.chunks(classes).zip(b.chunks(classes)).enumerate() {
        match left.iter().zip(right).position(|(a, b)| a.to_bits() != b.to_bits()) {
            None => comparison.identical_rows += 1,
            Some(column) => {
                let difference = Difference { row, column, a: left[column], b: right[column] };
                comparison.first.get_or_insert(difference);
            }
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_differences_is_kept() {
        let (a, b) = ([1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0], [1.0, f32::NAN, 0.0, 4.0, 5.0, 0.0]);
        let comparison = first_difference(&a, &b, 2);
        let first = Difference { row: 1, column: 0, a: 3.0, b: 0.0 };
        assert_eq!(comparison, Comparison { identical_rows: 1, total_rows: 3, first: Some(first) });
        assert!(!comparison.is_identical());
        assert!(first_difference(&a, &a, 3).is_identical());
        assert!(first_difference(&[], &[], 3).is_identical());
    }
}
