//! Rounding to the nearest whole number, halves to the even one: y = round(x).

use crate::simd::multiversion;
use crate::slices::unary;

/// `y` = round(x), elementwise.
pub fn round(x: &[f32], y: &mut [f32]) {
    unary(x, y, block);
}

multiversion! {
    fn block(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.round_ties_even();
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn halves_go_to_the_even_number() {
        let mut y = [0.0; 6];
        super::round(&[-1.5, -0.5, 0.5, 1.5, 2.5, 2.4], &mut y);
        assert_eq!(y, [-2.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    }
}
