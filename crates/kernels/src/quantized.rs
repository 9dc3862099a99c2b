//! Convolution and matrix product of values on grids, exact in their integers.
//!
//! ```text
//! a = round(x / x_scale)    b = round(w / w_scale[c])         whole numbers
//! y[c] = (sum of a b) (x_scale w_scale[c])                    the sum exact, then two roundings
//! ```
//! This is the arithmetic of the packed models, so training, evaluation and the shipped file agree to the last bit. Float
//! sums of whole numbers are exact below 2^24; where that bound could be passed, the integer kernels add up instead.

use rayon::prelude::*;

use crate::convolution::conv2d;
use crate::fake_quant::{Channels, grid_codes};
use crate::geometry::Conv2dShape;
use crate::integer;
use crate::matmul::{Matrix, matmul};
use crate::simd::multiversion;

/// Up to here every whole number is a float.
const EXACT: f32 = (1 << 24) as f32;
/// What a 32-bit sum may reach.
const OVERFLOW: f32 = i32::MAX as f32;
/// Rows of a matrix product that one task of the integer path handles.
const ROWS: usize = 16;

/// Values on a grid: the values, the step, and the largest whole number that may be behind one.
#[derive(Clone, Copy, Debug)]
pub struct OnGrid<'a> {
    /// Real values, each a whole multiple of its scale.
    pub values: &'a [f32],
    /// One scale, or (for weights) one an output channel.
    pub scale: &'a [f32],
    /// The largest absolute whole number of the grid.
    pub largest: f32,
}

impl OnGrid<'_> {
    fn codes(&self, channels: Channels) -> Vec<f32> {
        let mut codes = vec![0.0; self.values.len()];
        let channels = if self.scale.len() == 1 { Channels::one(self.values.len()) } else { channels };
        grid_codes(self.values, self.scale, channels, &mut codes);
        codes
    }
}

/// Convolution of a batch of images on a grid with weights on a grid, `y` `[batch, channels_out, out_height, out_width]`.
///
/// # Panics
/// If a sum could pass 2^31, which 8-bit operands can reach beyond 32,768 products.
pub fn quantized_conv2d(x: OnGrid<'_>, weight: OnGrid<'_>, shape: &Conv2dShape, y: &mut [f32]) {
    let by_output = Channels { outer: 1, channels: shape.channels_out, inner: shape.patch_len() };
    let (a, b) = (x.codes(Channels::one(x.values.len())), weight.codes(by_output));
    if float_sums_are_exact(&b, by_output, x.largest) {
        conv2d(&a, &b, shape, y);
    } else {
        let b = whole_numbers(&b);
        y.par_chunks_mut(shape.output_len()).zip(a.par_chunks(shape.input_len())).for_each_init(
            || (Vec::new(), vec![0; shape.output_len()]),
            |(scratch, sums), (y, image)| {
                integer::conv2d(&whole_numbers(image), &b, shape, scratch, sums);
                to_floats(sums, y);
            },
        );
    }
    let channels =
        Channels { outer: y.len() / shape.output_len(), channels: shape.channels_out, inner: shape.out_pixels() };
    scale_channels(y, &multipliers(x, weight, channels.channels), channels);
}

/// `y` `[rows, outputs]` = x `[rows, inputs]` on a grid times weights `[inputs, outputs]` on a grid.
///
/// # Panics
/// As [`quantized_conv2d`].
pub fn quantized_matmul(x: OnGrid<'_>, weight: OnGrid<'_>, [rows, inputs, outputs]: [usize; 3], y: &mut [f32]) {
    let by_output = Channels { outer: inputs, channels: outputs, inner: 1 };
    let (a, b) = (x.codes(Channels::one(x.values.len())), weight.codes(by_output));
    if float_sums_are_exact(&b, by_output, x.largest) {
        matmul(Matrix::rows(&a, inputs), Matrix::rows(&b, outputs), rows, outputs, inputs, y);
    } else {
        let columns: Vec<i16> = (0..outputs).flat_map(|o| b[o..].iter().step_by(outputs).map(|b| *b as i16)).collect();
        y.par_chunks_mut(ROWS * outputs).zip(a.par_chunks(ROWS * inputs)).for_each(|(y, a)| {
            let mut sums = vec![0; y.len()];
            integer::matmul(&whole_numbers(a), &columns, y.len() / outputs, outputs, inputs, &mut sums);
            to_floats(&sums, y);
        });
    }
    scale_channels(y, &multipliers(x, weight, outputs), Channels { outer: rows, channels: outputs, inner: 1 });
}

/// True where no partial sum can leave the whole numbers that floats hold: largest sum of abs(b) a channel times the
/// largest abs(a).
fn float_sums_are_exact(b: &[f32], channels: Channels, largest: f32) -> bool {
    let mut sums = vec![0.0f32; channels.channels];
    for (row, values) in b.chunks(channels.inner.max(1)).enumerate() {
        // Sums of whole numbers round only beyond 2^24, which the comparison below refuses anyway.
        sums[row % channels.channels] += values.iter().map(|b| b.abs()).sum::<f32>();
    }
    let bound = sums.into_iter().fold(0.0, f32::max) * largest;
    assert!(bound < OVERFLOW, "a sum of products could pass 2^31; use fewer bits or a smaller layer");
    bound < EXACT
}

/// The real value of one step of each channel's sum.
fn multipliers(x: OnGrid<'_>, weight: OnGrid<'_>, channels: usize) -> Vec<f32> {
    (0..channels).map(|channel| x.scale[0] * weight.scale[channel.min(weight.scale.len() - 1)]).collect()
}

fn whole_numbers(codes: &[f32]) -> Vec<i16> {
    let mut out = vec![0; codes.len()];
    to_whole_numbers(codes, &mut out);
    out
}

multiversion! {
    fn to_whole_numbers(codes: &[f32], out: &mut [i16]) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = *code as i16;
        }
    }
}

multiversion! {
    fn to_floats(sums: &[i32], out: &mut [f32]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32;
        }
    }
}

/// `y` = y multiplier, one multiplier a channel.
fn scale_channels(y: &mut [f32], multiplier: &[f32], channels: Channels) {
    if channels.interleaved() {
        let multiplier = channels.spread(multiplier);
        y.par_chunks_mut(channels.rows_a_task()).for_each(|y| {
            y.chunks_mut(multiplier.len()).for_each(|row| scale_row(row, &multiplier));
        });
    } else {
        let channel_of = channels.pieces().map(|(_, _, channel)| channel);
        channels.split(y).into_par_iter().zip(channel_of).for_each(|(y, channel)| scale_block(y, multiplier[channel]));
    }
}

multiversion! {
    fn scale_block(y: &mut [f32], multiplier: f32) {
        y.iter_mut().for_each(|y| *y *= multiplier);
    }
}

multiversion! {
    fn scale_row(y: &mut [f32], multiplier: &[f32]) {
        y.iter_mut().zip(multiplier).for_each(|(y, multiplier)| *y *= multiplier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Values on a grid of whole numbers within +-`largest`, one scale every `channel` values.
    fn grid(
        stream: u32,
        len: usize,
        largest: i32,
        scale: &[f32],
        channel: impl Fn(usize) -> usize,
    ) -> (Vec<i64>, Vec<f32>) {
        let random = Random::new(8, 0, stream);
        let codes: Vec<i64> =
            (0..len).map(|i| i64::from(random.below(i as u64, 2 * largest as u32 + 1)) - i64::from(largest)).collect();
        let values = codes.iter().enumerate().map(|(i, code)| *code as f32 * scale[channel(i)]).collect();
        (codes, values)
    }

    #[test]
    fn sums_are_exact_on_both_sides_of_2_to_the_24() {
        // 8 bits and 700 products pass 2^24, 2 bits do not.
        for largest in [255, 2] {
            let [rows, inputs, outputs] = [21, 700, 9];
            let scale: Vec<f32> = (0..outputs).map(|o| 0.013 + 0.002 * o as f32).collect();
            let (a, x) = grid(0, rows * inputs, largest, &[0.037], |_| 0);
            let (b, w) = grid(1, inputs * outputs, largest, &scale, |i| i % outputs);
            let mut y = vec![0.0; rows * outputs];
            let largest = largest as f32;
            let x = OnGrid { values: &x, scale: &[0.037], largest };
            quantized_matmul(x, OnGrid { values: &w, scale: &scale, largest }, [rows, inputs, outputs], &mut y);
            for (i, y) in y.into_iter().enumerate() {
                let (r, c) = (i / outputs, i % outputs);
                let sum: i64 = (0..inputs).map(|k| a[r * inputs + k] * b[k * outputs + c]).sum();
                assert_eq!(y, sum as i32 as f32 * (0.037 * scale[c]));
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
        let (_, x) = grid(0, 3 * shape.input_len(), 3, &[0.5], |_| 0);
        let (_, w) = grid(1, shape.weight_len(), 3, &scale, |i| i / shape.patch_len());
        let run = |largest| {
            let mut y = vec![0.0; 3 * shape.output_len()];
            let x = OnGrid { values: &x, scale: &[0.5], largest };
            quantized_conv2d(x, OnGrid { values: &w, scale: &scale, largest: 3.0 }, &shape, &mut y);
            y
        };
        // A bound of a million on the input sends the same numbers through the integer kernels.
        assert_eq!(run(3.0), run(1e6));
    }
}
