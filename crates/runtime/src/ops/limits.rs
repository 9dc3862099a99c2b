//! The largest sizes and numbers that are computed with.

/// Most values that one item may have between two nodes, padding included.
pub const MAX_ACTIVATION: usize = 1 << 28;

/// Most numbers that the nodes of a network may hold: 1 GiB of `f32`.
pub const MAX_PARAMETERS: usize = 1 << 28;

/// Largest magnitude of a whole number: nine bits with sign, so that products of a pair fit and are exact.
pub(crate) const MAX_INTEGER: i64 = 255;

/// The product of sizes; the largest number there is where it cannot be counted.
pub(crate) fn count(sizes: &[usize]) -> usize {
    // A size of 0 makes it 0, however large the others are.
    if sizes.contains(&0) { 0 } else { sizes.iter().fold(1, |product: usize, &size| product.saturating_mul(size)) }
}

/// A shape as people read it.
pub(crate) fn sizes_text(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_the_largest_number() {
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[3, 4, 5]), 60);
        assert_eq!(count(&[usize::MAX, 2]), usize::MAX);
        assert_eq!(count(&[usize::MAX, 2, 0]), 0);
    }
}
