//! Values on a grid, held as one byte each.
//!
//! ```text
//! value = (code + lowest) scale        code = round(value / scale) - lowest, 0 to 255
//! ```
//! A byte instead of a float is a quarter of the memory that a pass over the values has to move. Decoding gives the bytes of
//! [`fake_quant`](crate::fake_quant::fake_quant), whose last step is the same product.

use std::ops::Range;

use rayon::prelude::*;

use crate::CHUNK;
use crate::memory::Fresh;
use crate::simd::multiversion;

/// Values on a grid, one byte each: value = (code + lowest) scale.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a> {
    /// One code a value.
    pub codes: &'a [u8],
    /// The whole number that code 0 stands for.
    pub lowest: f32,
    /// Distance of neighbouring values.
    pub scale: f32,
}

impl Coded<'_> {
    /// The values of this range.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        Self { codes: &self.codes[range], ..self }
    }

    /// `out` += the values, on this thread.
    pub(crate) fn add_to(self, out: &mut [f32]) {
        add_block(self.codes, self.lowest, self.scale, out);
    }
}

/// 2^23: the sum with a number from 0 to 2^23 has that number, rounded to an even whole one, in its lowest bits.
const WHOLE: f32 = 8_388_608.0;

/// A value from 0 to 255, rounded to an even whole number. A cast with `as` would not vectorise: it checks the range.
#[inline(always)]
pub(crate) fn to_code(value: f32) -> u8 {
    (value + WHOLE).to_bits() as u8
}

/// The codes of values that lie on a grid: round(value / scale) - lowest, which must be 0 to 255.
pub fn encode(values_on_grid: &[f32], lowest: f32, scale: f32) -> Vec<u8> {
    let mut codes = Fresh::new(values_on_grid.len());
    codes
        .pieces(CHUNK)
        .zip(values_on_grid.par_chunks(CHUNK))
        .for_each(|(codes, values)| encode_block(values, lowest, scale, codes.open()));
    codes.finish()
}

/// The values: (code + lowest) scale.
pub fn decode(coded: Coded<'_>) -> Vec<f32> {
    let mut values = Fresh::new(coded.codes.len());
    values
        .pieces(CHUNK)
        .zip(coded.codes.par_chunks(CHUNK))
        .for_each(|(values, codes)| decode_block(codes, coded.lowest, coded.scale, values.open()));
    values.finish()
}

/// The values divided by their scale: code + lowest.
pub fn whole_numbers(coded: Coded<'_>) -> Vec<f32> {
    let mut numbers = Fresh::new(coded.codes.len());
    numbers
        .pieces(CHUNK)
        .zip(coded.codes.par_chunks(CHUNK))
        .for_each(|(numbers, codes)| whole_block(codes, coded.lowest, numbers.open()));
    numbers.finish()
}

multiversion! {
    fn encode_block(values: &[f32], lowest: f32, scale: f32, codes: &mut [u8]) {
        for (code, value) in codes.iter_mut().zip(values) {
            *code = to_code(((value / scale).round_ties_even() - lowest).clamp(0.0, 255.0));
        }
    }
}

multiversion! {
    fn decode_block(codes: &[u8], lowest: f32, scale: f32, out: &mut [f32]) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = (f32::from(*code) + lowest) * scale;
        }
    }
}

multiversion! {
    fn whole_block(codes: &[u8], lowest: f32, out: &mut [f32]) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = f32::from(*code) + lowest;
        }
    }
}

multiversion! {
    fn add_block(codes: &[u8], lowest: f32, scale: f32, out: &mut [f32]) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out += (f32::from(*code) + lowest) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::Bounds;
    use crate::channels::Channels;
    use crate::fake_quant::fake_quant;
    use crate::random::Random;

    #[test]
    fn a_hand_table() {
        let coded = Coded { codes: &[0, 3, 4, 255], lowest: -3.0, scale: 0.5 };
        let mut out = decode(coded);
        assert_eq!(out, [-1.5, 0.0, 0.5, 126.0]);
        assert_eq!(encode(&out, -3.0, 0.5), coded.codes);
        coded.add_to(&mut out);
        assert_eq!(out, [-3.0, 0.0, 1.0, 252.0]);
        assert_eq!(whole_numbers(coded.part(1..3)), [0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn codes_of_quantised_values_decode_to_their_bytes(len in 0usize..40_000, bits in 1u32..9, scale in 1e-3f32..10.0, seed in 0u64..1000) {
            let mut x = vec![0.0; len];
            Random::new(seed, 0, 0).fill_normal(&mut x);
            let bounds = if seed.is_multiple_of(2) { Bounds::signed(bits) } else { Bounds::unsigned(bits) };
            let y = fake_quant(&x, &[scale], &[bounds], Channels::one(len));
            let codes = encode(&y, bounds.lowest, scale);
            let coded = Coded { codes: &codes, lowest: bounds.lowest, scale };
            prop_assert_eq!(&decode(coded), &y);
            prop_assert!(y.iter().zip(whole_numbers(coded)).all(|(y, whole)| whole * scale == *y && whole.fract() == 0.0));
        }
    }
}
