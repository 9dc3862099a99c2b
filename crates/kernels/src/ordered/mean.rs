//! Means over pixels and over tokens.

use crate::pooling;
use crate::simd::multiversion;

/// The mean of each of `planes` planes of `pixels` values: the sum in reading order, divided by the count.
///
/// ```
/// let mut y = [0.0; 2];
/// hardgrad_kernels::ordered::mean_planes(&[1.0, 3.0, 5.0, 5.0], 2, 2, &mut y);
/// assert_eq!(y, [2.0, 5.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or there are planes without pixels.
pub fn mean_planes(x: &[f32], planes: usize, pixels: usize, out: &mut [f32]) {
    assert!(pixels > 0 || planes == 0, "the mean of no value");
    assert_eq!([x.len(), out.len()], [planes * pixels, planes], "{planes} planes of {pixels} pixels");
    if planes > 0 {
        pooling::mean_planes(x, pixels, out);
    }
}

/// The mean token of each sequence, `[batch, width]` of `[batch, tokens, width]`: the sum from the first token to the last,
/// divided by the count.
///
/// ```
/// let mut y = [0.0; 2];
/// hardgrad_kernels::ordered::mean_tokens(&[1.0, 10.0, 3.0, 30.0], 2, 2, &mut y);
/// assert_eq!(y, [2.0, 20.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or there are sequences without tokens.
pub fn mean_tokens(x: &[f32], tokens: usize, width: usize, out: &mut [f32]) {
    let batch = out.len() / width.max(1);
    assert!(tokens > 0 || out.is_empty(), "the mean of no token");
    assert_eq!([x.len(), out.len()], [batch * tokens * width, batch * width], "{tokens} tokens of {width} values");
    if !out.is_empty() {
        mean_rows(x, tokens, width, out);
    }
}

multiversion! {
    fn mean_rows(x: &[f32], tokens: usize, width: usize, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(tokens * width).zip(out.chunks_exact_mut(width)) {
            out.fill(0.0);
            for token in x.chunks_exact(width) {
                for (out, x) in out.iter_mut().zip(token) {
                    *out += *x;
                }
            }
            for out in out {
                *out /= tokens as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::matmul::tests::{bits, normal};
    use super::*;

    #[test]
    fn nothing_has_no_mean() {
        mean_planes(&[], 0, 3, &mut []);
        mean_tokens(&[], 3, 2, &mut []);
        mean_tokens(&[], 3, 0, &mut []);
    }

    proptest! {
        #[test]
        fn every_bit_is_that_of_the_plain_sum(outer in 1usize..20, count in 1usize..70, width in 1usize..40) {
            let x = normal(outer * count * width, 0);
            let mean = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0f32, |sum, x| sum + x) / count as f32;
            let mut planes = vec![9.0; outer];
            mean_planes(&x[..outer * count], outer, count, &mut planes);
            let expected: Vec<f32> = x[..outer * count].chunks(count).map(|x| mean(&mut x.iter().copied())).collect();
            prop_assert!(bits(&planes) == bits(&expected));
            let mut tokens = vec![9.0; outer * width];
            mean_tokens(&x, count, width, &mut tokens);
            for (place, found) in tokens.iter().enumerate() {
                let sequence = &x[place / width * count * width..][..count * width];
                let expected = mean(&mut sequence.iter().skip(place % width).step_by(width).copied());
                prop_assert_eq!(found.to_bits(), expected.to_bits());
            }
        }
    }
}
