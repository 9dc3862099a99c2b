//! Between real values and whole numbers: the elementwise loops of a packed model.
//!
//! Each output is computed by the operations in the order that the function names, each rounded to `f32`, so any other code
//! that does the same gets the same bits. "Plane" loops use one factor for all values (a channel of an image), "features"
//! loops one factor a value.

use crate::simd::multiversion;

/// `clamp(round(x), low, high)` for whole bounds, with halves to the even number.
#[inline(always)]
fn round_between(x: f32, low: f32, high: f32) -> i16 {
    // From 1.5 * 2^23 on, neighbouring floats are 1 apart: the addition rounds, and leaves the whole number in the low bits.
    // With whole bounds it does not matter that the clamp comes first.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    (x + ROUND).to_bits() as i16
}

multiversion! {
    /// `out = clamp(round(x / scale), lowest, highest)`, halves to the even number; what is not a number becomes
    /// `lowest`.
    pub fn quantize_divide(x: &[f32], scale: f32, lowest: i16, highest: i16, out: &mut [i16]) {
        let (low, high) = (f32::from(lowest), f32::from(highest));
        for (out, &x) in out.iter_mut().zip(x) {
            *out = round_between(x / scale, low, high);
        }
    }
}

multiversion! {
    /// `out = clamp(round(x * factor), lowest, highest)`, halves to the even number; otherwise as [`quantize_divide`].
    pub fn quantize_multiply(x: &[f32], factor: f32, lowest: i16, highest: i16, out: &mut [i16]) {
        let (low, high) = (f32::from(lowest), f32::from(highest));
        for (out, &x) in out.iter_mut().zip(x) {
            *out = round_between(x * factor, low, high);
        }
    }
}

multiversion! {
    /// `out = pixel - zero_point`.
    pub fn pixels(pixels: &[u8], zero_point: u8, out: &mut [i16]) {
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = i16::from(pixel) - i16::from(zero_point);
        }
    }
}

multiversion! {
    /// `out = code * scale`.
    pub fn decode(codes: &[i16], scale: f32, out: &mut [f32]) {
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = f32::from(code) * scale;
        }
    }
}

multiversion! {
    /// `out = sum * scale + bias`, without the addition if there is no bias.
    pub fn scale_plane(sums: &[i32], scale: f32, bias: Option<f32>, out: &mut [f32]) {
        match bias {
            Some(bias) => out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = sum as f32 * scale + bias),
            None => out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = sum as f32 * scale),
        }
    }
}

multiversion! {
    /// `out[i] = sums[i] * scale[i] + bias[i]`, without the addition if there is no bias.
    pub fn scale_features(sums: &[i32], scale: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        for ((out, &sum), &scale) in out.iter_mut().zip(sums).zip(scale) {
            *out = sum as f32 * scale;
        }
        if let Some(bias) = bias {
            out.iter_mut().zip(bias).for_each(|(out, &bias)| *out += bias);
        }
    }
}

multiversion! {
    /// `x = x * multiplier + offset`, rounded after each of the two.
    pub fn affine_plane(x: &mut [f32], multiplier: f32, offset: f32) {
        for x in x {
            *x = *x * multiplier + offset;
        }
    }
}

multiversion! {
    /// `x[i] = x[i] * multiplier[i] + offset[i]`, rounded after each of the two.
    pub fn affine_features(x: &mut [f32], multiplier: &[f32], offset: &[f32]) {
        for ((x, &multiplier), &offset) in x.iter_mut().zip(multiplier).zip(offset) {
            *x = *x * multiplier + offset;
        }
    }
}

multiversion! {
    /// `x` where it is above 0, otherwise 0.
    pub fn relu(x: &mut [f32]) {
        for x in x {
            *x = if *x > 0.0 { *x } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number_and_the_rest_to_the_bounds() {
        let x = [-1.0, -0.26, -0.25, 0.24, 0.25, 0.75, 1.25, 9.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0];
        let expected = [-2, -1, 0, 0, 0, 2, 2, 3, 3, -2, -2, 0];
        let mut out = [9; 12];
        quantize_divide(&x, 0.5, -2, 3, &mut out);
        assert_eq!(out, expected);
        out.fill(9);
        quantize_multiply(&x, 2.0, -2, 3, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn rounding_agrees_with_the_standard_library() {
        let x: Vec<f32> =
            (-20_000..20_000).map(|i| i as f32 * 0.013_7).chain((-600..600).map(|i| i as f32 / 2.0)).collect();
        let mut out = vec![0; x.len()];
        for (scale, low, high) in [(1.0, -255, 255), (0.3, -7, 200), (0.01, 5, 5)] {
            quantize_divide(&x, scale, low, high, &mut out);
            let expected = |x: f32| (x / scale).round_ties_even().clamp(low.into(), high.into()) as i16;
            assert!(out.iter().zip(&x).all(|(&out, &x)| out == expected(x)));
            quantize_multiply(&x, scale, low, high, &mut out);
            let expected = |x: f32| (x * scale).round_ties_even().clamp(low.into(), high.into()) as i16;
            assert!(out.iter().zip(&x).all(|(&out, &x)| out == expected(x)));
        }
    }

    #[test]
    fn products_are_rounded_before_the_sum() {
        let (x, factor) = (1.0 + f32::EPSILON, 1.0 - f32::EPSILON);
        // Exactly 1 - 2^-46: rounded to 1 before the subtraction, unless the two were fused.
        let mut plane = [x; 40];
        affine_plane(&mut plane, factor, -1.0);
        assert_eq!(plane, [0.0; 40]);
        let mut features = [x; 40];
        affine_features(&mut features, &[factor; 40], &[-1.0; 40]);
        assert_eq!(features, [0.0; 40]);
    }

    #[test]
    fn sums_are_scaled_with_and_without_bias() {
        let mut out = [0.0; 3];
        scale_plane(&[1, -2, 16_777_217], 0.5, None, &mut out);
        assert_eq!(out, [0.5, -1.0, 8_388_608.0]);
        scale_plane(&[1, -2, 0], 0.5, Some(1.0), &mut out);
        assert_eq!(out, [1.5, 0.0, 1.0]);
        scale_features(&[1, 2, 3], &[1.0, 2.0, 3.0], None, &mut out);
        assert_eq!(out, [1.0, 4.0, 9.0]);
        scale_features(&[1, 2, 3], &[1.0, 2.0, 3.0], Some(&[1.0, 0.0, -9.0]), &mut out);
        assert_eq!(out, [2.0, 4.0, 0.0]);
    }

    #[test]
    fn pixels_lose_their_zero_point_and_relu_keeps_no_sign() {
        let mut out = [0; 3];
        pixels(&[0, 128, 255], 128, &mut out);
        assert_eq!(out, [-128, 0, 127]);
        let mut x = [-1.0, 2.0, -0.0, f32::NAN];
        relu(&mut x);
        assert_eq!(x.map(f32::to_bits), [0.0f32, 2.0, 0.0, 0.0].map(f32::to_bits));
    }
}
