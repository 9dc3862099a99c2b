//! Convolution of one image of whole numbers.
//!
//! out[o, y, x] = sum over c, i, j of weight[o, c, i, j] * input[c, y * stride + i * dilation - padding, ...], zeros outside.
//!
//! The output pixels are taken 32 at a time. What their windows see is laid out as a panel, [pair of taps][pixel][2], so that
//! a vector instruction multiplies a pair of weights with many pixels at once and no sum runs across a register. A panel
//! stays in the cache while the weights of all output channels pass.

use super::lanes::{Lanes, Portable};
use crate::geometry::Conv2dShape;
use crate::simd::{self, Level};

/// Output pixels of one panel.
const PIXELS: usize = 32;
/// Neighbouring pixels that are copied at once; the last copy of a row may write, and read, this much too far.
const RUN: usize = 8;

/// `out` `[channels_out, out_height, out_width]` of `input` `[channels_in, height, width]` and
/// `weight` `[channels_out, channels_in / groups, kernel, kernel]`; exact if no sum of products can leave `i32`.
///
/// `scratch` is working memory that a caller keeps between calls; its content does not matter.
///
/// # Panics
/// If a slice does not have the length that `shape` gives, or [`Conv2dShape::check`] would fail.
pub fn conv2d(input: &[i16], weight: &[i16], shape: &Conv2dShape, scratch: &mut Vec<i16>, out: &mut [i32]) {
    conv2d_at(simd::level(), input, weight, shape, scratch, out);
}

fn conv2d_at(
    level: Level,
    input: &[i16],
    weight: &[i16],
    shape: &Conv2dShape,
    scratch: &mut Vec<i16>,
    out: &mut [i32],
) {
    assert!(level <= simd::level(), "this machine has no {level:?}");
    let lengths = [shape.input_len(), shape.weight_len(), shape.output_len()];
    assert_eq!([input.len(), weight.len(), out.len()], lengths, "slices must fit the shape");
    let windows = Windows::new(shape);
    let panel_len = windows.taps.len().div_ceil(2) * 2 * PIXELS + 2 * RUN;
    scratch.resize(windows.padded_len(shape) + RUN + panel_len, 0);
    let (padded, panel) = scratch.split_at_mut(windows.padded_len(shape) + RUN);
    windows.pad(input, shape, padded);

    let (pixels, patch) = (shape.out_pixels(), shape.patch_len());
    let (group_in, group_out) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
    for first in (0..pixels).step_by(PIXELS) {
        let positions = first..pixels.min(first + PIXELS);
        for group in 0..shape.groups {
            let padded = &padded[group * group_in * windows.plane..];
            windows.fill_panel(padded, shape, positions.clone(), panel);
            let weight = &weight[group * group_out * patch..][..group_out * patch];
            let out = &mut out[group * group_out * pixels..][..group_out * pixels];
            let panel = Panel { values: panel, first, count: positions.len(), patch, pixels };
            match level {
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                // SAFETY: the processor has AVX-512.
                Level::Avx512 => unsafe { avx512(panel, weight, out) },
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                // SAFETY: the processor has AVX2.
                Level::Avx2 => unsafe { avx2(panel, weight, out) },
                #[allow(unsafe_code)]
                // SAFETY: every processor has what `Portable` needs.
                _ => unsafe { channels::<Portable, 4>(panel, weight, out) },
            }
        }
    }
}

/// Where the windows of output pixels lie in the image with its padding.
struct Windows {
    padded_width: usize,
    /// Values of one channel with its padding.
    plane: usize,
    /// Distance of each tap of a window from the first one.
    taps: Vec<usize>,
}

impl Windows {
    fn new(shape: &Conv2dShape) -> Self {
        let padded_width = shape.width + 2 * shape.padding[1];
        let plane = (shape.height + 2 * shape.padding[0]) * padded_width;
        let mut taps = Vec::with_capacity(shape.patch_len());
        for channel in 0..shape.channels_in / shape.groups {
            for row in 0..shape.kernel[0] {
                for column in 0..shape.kernel[1] {
                    let offset = row * shape.dilation[0] * padded_width + column * shape.dilation[1];
                    taps.push(channel * plane + offset);
                }
            }
        }
        Self { padded_width, plane, taps }
    }

    fn padded_len(&self, shape: &Conv2dShape) -> usize {
        shape.channels_in * self.plane
    }

    fn pad(&self, input: &[i16], shape: &Conv2dShape, padded: &mut [i16]) {
        padded.fill(0);
        for (channel, input) in input.chunks(shape.height * shape.width).enumerate() {
            for (row, input) in input.chunks(shape.width).enumerate() {
                let start = channel * self.plane + (row + shape.padding[0]) * self.padded_width + shape.padding[1];
                padded[start..][..shape.width].copy_from_slice(input);
            }
        }
    }

    /// First tap of the window of output pixel `position`.
    fn start(&self, position: usize, shape: &Conv2dShape) -> usize {
        let (row, column) = (position / shape.out_width(), position % shape.out_width());
        row * shape.stride[0] * self.padded_width + column * shape.stride[1]
    }

    /// Lays out what the windows of `positions` see, one pair of taps after the other.
    fn fill_panel(&self, padded: &[i16], shape: &Conv2dShape, positions: std::ops::Range<usize>, panel: &mut [i16]) {
        let out_width = shape.out_width();
        let mut runs = [(0, 0); PIXELS];
        let mut count = 0;
        let mut position = positions.start;
        while position < positions.end {
            runs[count] = (2 * (position - positions.start), self.start(position, shape));
            count += 1;
            // With a step of 1, the windows of one output row see neighbouring values.
            let neighbours = if shape.stride[1] == 1 { RUN } else { 1 };
            position += neighbours.min(out_width - position % out_width);
        }
        let runs = &runs[..count];
        for (pair, taps) in self.taps.chunks(2).enumerate() {
            // An odd last tap is paired with itself and meets a weight of 0.
            let (first, second) = (&padded[taps[0]..], &padded[taps[taps.len() - 1]..]);
            let panel = &mut panel[pair * 2 * PIXELS..][..2 * (PIXELS + RUN)];
            if shape.stride[1] == 1 {
                // What a run writes too far, the next run or the next pair writes again.
                for &(to, from) in runs {
                    let (first, second) = (&first[from..][..RUN], &second[from..][..RUN]);
                    for (i, out) in panel[to..][..2 * RUN].chunks_exact_mut(2).enumerate() {
                        (out[0], out[1]) = (first[i], second[i]);
                    }
                }
            } else {
                for &(to, from) in runs {
                    (panel[to], panel[to + 1]) = (first[from], second[from]);
                }
            }
        }
    }
}

/// What the windows of `count` output pixels from `first` on see.
#[derive(Clone, Copy)]
struct Panel<'a> {
    values: &'a [i16],
    first: usize,
    count: usize,
    /// Taps of a window.
    patch: usize,
    /// Pixels of one output channel.
    pixels: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[allow(unsafe_code)]
// SAFETY: as `channels`.
unsafe fn avx512(panel: Panel, weight: &[i16], out: &mut [i32]) {
    unsafe { channels::<std::arch::x86_64::__m512i, 8>(panel, weight, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
// SAFETY: as `channels`.
unsafe fn avx2(panel: Panel, weight: &[i16], out: &mut [i32]) {
    unsafe { channels::<std::arch::x86_64::__m256i, 4>(panel, weight, out) }
}

/// All output channels of one group, `M` at a time.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn channels<L: Lanes, const M: usize>(panel: Panel, weight: &[i16], out: &mut [i32]) {
    let Panel { patch, pixels, .. } = panel;
    let count = out.len() / pixels;
    let mut channel = 0;
    while channel < count {
        let (weight, out) = (&weight[channel * patch..], &mut out[channel * pixels..]);
        let many = count - channel >= M;
        // SAFETY: as the caller promises.
        unsafe {
            if many {
                block::<L, M>(panel, weight, out);
            } else {
                block::<L, 1>(panel, weight, out);
            }
        }
        channel += if many { M } else { 1 };
    }
}

/// The first `M` rows of `weight` times the panel, two registers of pixels at a time.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn block<L: Lanes, const M: usize>(panel: Panel, weight: &[i16], out: &mut [i32]) {
    let Panel { values, first, count, patch, pixels } = panel;
    assert!(values.len() >= patch.div_ceil(2) * 2 * PIXELS && weight.len() >= M * patch);
    assert!(count <= PIXELS && PIXELS.is_multiple_of(2 * L::LANES));
    for left in (0..count).step_by(2 * L::LANES) {
        // SAFETY: as the caller promises; the panel holds 2 * PIXELS values a pair of taps and `weight` M rows of `patch`
        // values; both ways of storing have room for two registers.
        unsafe {
            let mut sums = [[L::zero(); 2]; M];
            for tap in (0..patch - patch % 2).step_by(2) {
                add_pair(&mut sums, &values[tap * PIXELS + 2 * left..], |m| {
                    let weight = weight.as_ptr().add(m * patch + tap);
                    i32::from(*weight as u16) | i32::from(*weight.add(1)) << 16
                });
            }
            if patch % 2 == 1 {
                let last = patch - 1;
                let pair = |m: usize| i32::from(weight[m * patch + last] as u16);
                add_pair(&mut sums, &values[last * PIXELS + 2 * left..], pair);
            }
            for (m, [one, two]) in sums.into_iter().enumerate() {
                let out = &mut out[m * pixels + first + left..][..(count - left).min(2 * L::LANES)];
                if out.len() == 2 * L::LANES {
                    one.store(out.as_mut_ptr());
                    two.store(out.as_mut_ptr().add(L::LANES));
                } else {
                    let mut whole = [0; PIXELS];
                    one.store(whole.as_mut_ptr());
                    two.store(whole.as_mut_ptr().add(L::LANES));
                    out.copy_from_slice(&whole[..out.len()]);
                }
            }
        }
    }
}

/// Adds one pair of taps, seen by two registers of pixels, times the pair of weights of each channel.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn add_pair<L: Lanes, const M: usize>(sums: &mut [[L; 2]; M], seen: &[i16], weights: impl Fn(usize) -> i32) {
    assert!(seen.len() >= 4 * L::LANES);
    // SAFETY: as the caller promises, and the length was checked.
    unsafe {
        let (one, two) = (L::load(seen.as_ptr()), L::load(seen.as_ptr().add(2 * L::LANES)));
        for (m, sums) in sums.iter_mut().enumerate() {
            let pair = L::pair(weights(m));
            *sums = [sums[0].add_products(pair, one), sums[1].add_products(pair, two)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::tests::{LEVELS, small_numbers};
    use proptest::prelude::*;

    fn naive(input: &[i16], weight: &[i16], shape: &Conv2dShape) -> Vec<i32> {
        let (group_in, group_out) = (shape.channels_in / shape.groups, shape.channels_out / shape.groups);
        let mut out = Vec::new();
        for o in 0..shape.channels_out {
            for y in 0..shape.out_height() {
                for x in 0..shape.out_width() {
                    let mut sum = 0;
                    for c in 0..group_in {
                        for i in 0..shape.kernel[0] {
                            for j in 0..shape.kernel[1] {
                                let row = (y * shape.stride[0] + i * shape.dilation[0]).checked_sub(shape.padding[0]);
                                let column =
                                    (x * shape.stride[1] + j * shape.dilation[1]).checked_sub(shape.padding[1]);
                                let (Some(row), Some(column)) = (row, column) else { continue };
                                if row < shape.height && column < shape.width {
                                    let channel = o / group_out * group_in + c;
                                    let tap = ((o * group_in + c) * shape.kernel[0] + i) * shape.kernel[1] + j;
                                    let value = input[(channel * shape.height + row) * shape.width + column];
                                    sum += i32::from(value) * i32::from(weight[tap]);
                                }
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    fn compare_levels(shape: &Conv2dShape, seed: u64) {
        shape.check().unwrap();
        let (input, weight) = (small_numbers(seed, shape.input_len()), small_numbers(!seed, shape.weight_len()));
        let expected = naive(&input, &weight, shape);
        // Left over from another call: whatever the scratch holds must not matter.
        let mut scratch = small_numbers(seed ^ 1, 5000);
        for level in LEVELS.into_iter().filter(|&level| level <= simd::level()) {
            let mut out = vec![-1; shape.output_len()];
            conv2d_at(level, &input, &weight, shape, &mut scratch, &mut out);
            assert_eq!(out, expected, "{level:?} {shape:?}");
        }
    }

    fn pair(range: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
        [range.clone(), range]
    }

    proptest! {
        #[test]
        fn every_level_equals_the_naive_loop(
            (groups, group_in, group_out) in (1usize..4, 1usize..4, 1usize..11),
            size in pair(1..14), kernel in pair(1..5), stride in pair(1..4), padding in pair(0..4), dilation in pair(1..3),
            seed: u64,
        ) {
            let (channels_in, channels_out, [height, width]) = (groups * group_in, groups * group_out, size);
            let shape =
                Conv2dShape { channels_in, channels_out, height, width, kernel, stride, padding, dilation, groups };
            prop_assume!(shape.check().is_ok());
            compare_levels(&shape, seed);
        }
    }

    #[test]
    fn layers_of_usual_networks() {
        let same = Conv2dShape {
            channels_in: 1,
            channels_out: 20,
            height: 28,
            width: 28,
            kernel: [5, 5],
            stride: [1, 1],
            padding: [2, 2],
            dilation: [1, 1],
            groups: 1,
        };
        compare_levels(&same, 1);
        let strided = Conv2dShape { channels_in: 16, channels_out: 9, kernel: [3, 3], stride: [2, 2], ..same };
        compare_levels(&strided, 2);
        compare_levels(&Conv2dShape { channels_in: 8, channels_out: 8, groups: 8, ..strided }, 3);
        compare_levels(&Conv2dShape { kernel: [28, 28], padding: [0, 0], ..same }, 4);
    }
}
