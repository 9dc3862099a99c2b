//! Convolution and matrix product of values on grids, exact in their integers.
//!
//! ```text
//! a = round(x / x_scale)    b = round(w / w_scale[c])         whole numbers
//! y[c] = (sum of a b) (x_scale w_scale[c])                    the sum exact, then two roundings
//! ```
//! This is the arithmetic of the packed models, so training, evaluation and the shipped file agree to the last bit. Float
//! sums of whole numbers are exact below 2^24; where that bound could be passed, the integer kernels add up instead.

use rayon::prelude::*;

use crate::channels::Channels;
use crate::coded::{Coded, whole_numbers};
use crate::convolution::{Images, conv2d};
use crate::fake_quant::grid_codes;
use crate::geometry::Conv2dShape;
use crate::integer;
use crate::linear::{finish, linear};
use crate::memory::Fresh;
use crate::simd::multiversion;

/// Up to here every whole number is a float.
const EXACT: f32 = (1 << 24) as f32;
/// What a 32-bit sum may reach.
const OVERFLOW: f32 = i32::MAX as f32;
/// Rows of a matrix product that one task of the integer path handles.
const ROWS: usize = 16;

/// Codes, and the largest absolute whole number that may be behind one.
#[derive(Clone, Copy, Debug)]
pub struct CodedInput<'a> {
    /// The codes.
    pub coded: Coded<'a>,
    /// The largest absolute whole number of the grid.
    pub largest: f32,
}

/// Weights on a grid: real values, each a whole multiple of its scale.
#[derive(Clone, Copy, Debug)]
pub struct OnGrid<'a> {
    /// The values.
    pub values: &'a [f32],
    /// One scale, or one an output channel.
    pub scale: &'a [f32],
}

impl OnGrid<'_> {
    fn whole_numbers(&self, channels: Channels) -> Vec<f32> {
        let mut codes = vec![0.0; self.values.len()];
        let channels = if self.scale.len() == 1 { Channels::one(self.values.len()) } else { channels };
        grid_codes(self.values, self.scale, channels, &mut codes);
        codes
    }
}

/// Convolution of a batch of coded images with weights on a grid, `[batch, channels_out, out_height, out_width]`; `bias`
/// holds one value an output channel.
///
/// # Panics
/// If a sum could pass 2^31, which 8-bit operands can reach beyond 32,768 products.
pub fn quantized_conv2d(x: CodedInput<'_>, weight: OnGrid<'_>, bias: &[f32], shape: &Conv2dShape) -> Vec<f32> {
    let by_output = Channels { outer: 1, channels: shape.channels_out, inner: shape.patch_len() };
    let b = weight.whole_numbers(by_output);
    let multiplier = multipliers(x, weight, shape.channels_out);
    if float_sums_are_exact(&b, by_output, x.largest) {
        return conv2d(Images::Coded(x.coded), &b, shape, &multiplier, bias);
    }
    let b = to_integers(&b);
    let mut y = Fresh::new(x.coded.codes.len() / shape.input_len() * shape.output_len());
    y.pieces(shape.output_len()).zip(x.coded.codes.par_chunks(shape.input_len())).for_each_init(
        || (Vec::new(), vec![0; shape.output_len()]),
        |(scratch, sums), (y, image)| {
            let y = y.open();
            integer::conv2d(&integers_of(x, image), &b, shape, scratch, sums);
            to_floats(sums, y);
            for (channel, y) in y.chunks_exact_mut(shape.out_pixels()).enumerate() {
                scale_and_shift(y, multiplier[channel], bias[channel]);
            }
        },
    );
    y.finish()
}

/// `[rows, outputs]`: coded x `[rows, inputs]` times weights `[inputs, outputs]` on a grid, plus `bias`, one value an output.
///
/// # Panics
/// As [`quantized_conv2d`].
pub fn quantized_linear(
    x: CodedInput<'_>,
    weight: OnGrid<'_>,
    bias: Option<&[f32]>,
    [rows, inputs, outputs]: [usize; 3],
) -> Vec<f32> {
    let by_output = Channels { outer: inputs, channels: outputs, inner: 1 };
    let b = weight.whole_numbers(by_output);
    let multiplier = multipliers(x, weight, outputs);
    if float_sums_are_exact(&b, by_output, x.largest) {
        return linear(&whole_numbers(x.coded), &b, Some(&multiplier), bias, [rows, inputs, outputs]);
    }
    let columns: Vec<i16> = (0..outputs).flat_map(|o| b[o..].iter().step_by(outputs).map(|b| *b as i16)).collect();
    let mut y = Fresh::new(rows * outputs);
    y.pieces(ROWS * outputs).zip(x.coded.codes.par_chunks((ROWS * inputs).max(1))).for_each(|(y, codes)| {
        let y = y.open();
        let mut sums = vec![0; y.len()];
        integer::matmul(&integers_of(x, codes), &columns, y.len() / outputs, outputs, inputs, &mut sums);
        to_floats(&sums, y);
        finish(y, Some(&multiplier), bias);
    });
    y.finish()
}

/// True where no partial sum can leave the whole numbers that floats hold: largest sum of abs(b) a channel times the
/// largest abs(a).
fn float_sums_are_exact(b: &[f32], channels: Channels, largest: f32) -> bool {
    let mut sums = vec![0.0f32; channels.channels];
    // Sums of whole numbers round only beyond 2^24, which the comparison below refuses anyway.
    if channels.inner == 1 {
        b.chunks(channels.channels.max(1)).for_each(|row| add_magnitudes(row, &mut sums));
    } else {
        for (row, values) in b.chunks(channels.inner.max(1)).enumerate() {
            sums[row % channels.channels] += values.iter().map(|b| b.abs()).sum::<f32>();
        }
    }
    let bound = sums.into_iter().fold(0.0, f32::max) * largest;
    assert!(bound < OVERFLOW, "a sum of products could pass 2^31; use fewer bits or a smaller layer");
    bound < EXACT
}

/// The real value of one step of each channel's sum.
fn multipliers(x: CodedInput<'_>, weight: OnGrid<'_>, channels: usize) -> Vec<f32> {
    (0..channels).map(|channel| x.coded.scale * weight.scale[channel.min(weight.scale.len() - 1)]).collect()
}

fn integers_of(x: CodedInput<'_>, codes: &[u8]) -> Vec<i16> {
    codes.iter().map(|code| i16::from(*code) + x.coded.lowest as i16).collect()
}

fn to_integers(values: &[f32]) -> Vec<i16> {
    values.iter().map(|value| *value as i16).collect()
}

multiversion! {
    fn add_magnitudes(row: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value.abs());
    }
}

multiversion! {
    fn to_floats(sums: &[i32], out: &mut [f32]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32;
        }
    }
}

multiversion! {
    fn scale_and_shift(y: &mut [f32], multiplier: f32, bias: f32) {
        y.iter_mut().for_each(|y| *y = *y * multiplier + bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Whole numbers within +-`largest`.
    fn whole(stream: u32, len: usize, largest: i32) -> Vec<i64> {
        let random = Random::new(8, 0, stream);
        (0..len).map(|i| i64::from(random.below(i as u64, 2 * largest as u32 + 1)) - i64::from(largest)).collect()
    }

    fn codes(whole: &[i64], largest: i32) -> Vec<u8> {
        whole.iter().map(|whole| (whole + i64::from(largest)) as u8).collect()
    }

    #[test]
    fn sums_are_exact_on_both_sides_of_2_to_the_24() {
        // 8 bits and 1400 products pass 2^24, 2 bits do not.
        for largest in [127, 2] {
            let [rows, inputs, outputs] = [21, 1400, 9];
            let scale: Vec<f32> = (0..outputs).map(|o| 0.013 + 0.002 * o as f32).collect();
            let bias: Vec<f32> = (0..outputs).map(|o| o as f32 - 3.7).collect();
            let (a, b) = (whole(0, rows * inputs, largest), whole(1, inputs * outputs, largest));
            let w: Vec<f32> = b.iter().enumerate().map(|(i, b)| *b as f32 * scale[i % outputs]).collect();
            let codes = codes(&a, largest);
            let coded = Coded { codes: &codes, lowest: -largest as f32, scale: 0.037 };
            let x = CodedInput { coded, largest: largest as f32 };
            let weight = OnGrid { values: &w, scale: &scale };
            let y = quantized_linear(x, weight, Some(&bias), [rows, inputs, outputs]);
            for (i, y) in y.into_iter().enumerate() {
                let (r, c) = (i / outputs, i % outputs);
                let sum: i64 = (0..inputs).map(|k| a[r * inputs + k] * b[k * outputs + c]).sum();
                assert_eq!(y, sum as i32 as f32 * (0.037 * scale[c]) + bias[c]);
            }
        }
    }

    #[test]
    fn convolutions_by_floats_and_by_integers_agree() {
        let shape = Conv2dShape {
            channels_in: 6,
            channels_out: 4,
            height: 9,
            width: 7,
            kernel: [3, 3],
            stride: [2, 1],
            padding: [1, 2],
            dilation: [1, 1],
            groups: 2,
        };
        let scale = [0.1, 0.2, 0.3, 0.4];
        let codes = codes(&whole(0, 3 * shape.input_len(), 3), 3);
        let w = whole(1, shape.weight_len(), 3);
        let w: Vec<f32> = w.iter().enumerate().map(|(i, w)| *w as f32 * scale[i / shape.patch_len()]).collect();
        let run = |largest| {
            let x = CodedInput { coded: Coded { codes: &codes, lowest: -3.0, scale: 0.5 }, largest };
            quantized_conv2d(x, OnGrid { values: &w, scale: &scale }, &[1.0, -2.0, 0.3, 0.0], &shape)
        };
        // A bound of a million on the input sends the same numbers through the integer kernels.
        assert_eq!(run(3.0), run(1e6));
    }
}
