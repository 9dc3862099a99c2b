//! Sums over shifted planes: the one loop behind the forward pass and the gradient of the input.
//!
//! ```text
//! out[o, p] = (sum_k weight[o, k] planes[offset[k] + p]) multiplier[o] + bias[o]
//! ```
//! A tile of outputs by pixels stays in registers while k runs; each load of pixels serves all outputs of the tile and each
//! weight all its pixels. The order of the sum is that of k, whatever the tile.

use crate::float_lanes::{FloatLanes, Rounded, for_each_level};
use crate::transpose::turn;

/// Numbers of outputs that a tile may have, the largest first.
const TILES: [usize; 3] = [8, 4, 1];
/// Registers of pixels that a tile may have.
const VECTORS: usize = 3;

/// Weights in the order in which [`sums`] reads them: tiles of outputs, for each tap one value an output.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedWeights {
    values: Vec<f32>,
    outputs: usize,
    taps: usize,
}

impl PackedWeights {
    /// `weight(output, tap)` for all outputs and taps.
    pub fn new(outputs: usize, taps: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = Vec::with_capacity(outputs * taps);
        for (first, count) in tiles(outputs) {
            values.extend(
                (0..taps)
                    .flat_map(|tap| (first..first + count).map(move |output| (output, tap)))
                    .map(|(output, tap)| weight(output, tap)),
            );
        }
        Self { values, outputs, taps }
    }

    /// The weights `[outputs, taps]`, row by row.
    pub fn of_rows(weight: &[f32], outputs: usize, taps: usize) -> Self {
        let mut packed = Self::default();
        packed.set_rows(weight, taps, outputs, taps);
        packed
    }

    /// Takes other weights in the same memory: rows of `taps` values that begin `stride` values apart.
    ///
    /// # Panics
    /// If `rows` is too short.
    pub fn set_rows(&mut self, rows: &[f32], stride: usize, outputs: usize, taps: usize) {
        (self.outputs, self.taps) = (outputs, taps);
        self.values.resize(outputs * taps, 0.0);
        if outputs == 0 || taps == 0 {
            return;
        }
        assert!((outputs - 1) * stride + taps <= rows.len(), "{} values for {outputs} rows of {taps}", rows.len());
        for (first, count) in tiles(outputs) {
            let (rows, tile) = (&rows[first * stride..], &mut self.values[first * taps..][..count * taps]);
            if count == 1 {
                tile.copy_from_slice(&rows[..taps]);
                continue;
            }
            // SAFETY: `count` more rows of `taps` values begin here, as was checked for all of them.
            #[allow(unsafe_code)]
            unsafe {
                turn(rows.as_ptr(), stride, count, taps, tile, count);
            }
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.taps
    }
}

/// First output and number of outputs of each tile.
fn tiles(outputs: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let count = TILES.into_iter().find(|&count| count <= outputs - first)?;
        first += count;
        Some((first - count, count))
    })
}

/// One value an output: what its sums are multiplied with, and what is added then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a> {
    pub multiplier: &'a [f32],
    pub bias: &'a [f32],
}

for_each_level! {
    /// Writes the sums of `pixels` neighbouring pixels of all outputs, which are `stride` values apart in `out`.
    ///
    /// # Safety
    /// `planes` holds `pixels` values, up to a whole register of 16, from each offset on, and there are as many offsets as taps;
    /// `finish` holds a value for each output; nothing else touches the places of `out`.
    pub(super) unsafe fn sums(
        planes: &[f32],
        offsets: &[u32],
        weights: &PackedWeights,
        finish: Finish<'_>,
        pixels: usize,
        out: *mut f32,
        stride: usize,
    ) = all_tiles
}

for_each_level! {
    /// The same with each product rounded before it is added: the same bits at every level.
    ///
    /// # Safety
    /// As [`sums`].
    pub(crate) unsafe fn rounded_sums(
        planes: &[f32],
        offsets: &[u32],
        weights: &PackedWeights,
        finish: Finish<'_>,
        pixels: usize,
        out: *mut f32,
        stride: usize,
    ) = all_rounded_tiles
}

#[inline(always)]
#[allow(unsafe_code)]
// SAFETY: as `sums`.
unsafe fn all_rounded_tiles<L: FloatLanes>(
    planes: &[f32],
    offsets: &[u32],
    weights: &PackedWeights,
    finish: Finish<'_>,
    pixels: usize,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { all_tiles::<Rounded<L>>(planes, offsets, weights, finish, pixels, out, stride) }
}

#[inline(always)]
#[allow(unsafe_code)]
// SAFETY: as `sums`.
unsafe fn all_tiles<L: FloatLanes>(
    planes: &[f32],
    offsets: &[u32],
    weights: &PackedWeights,
    finish: Finish<'_>,
    pixels: usize,
    out: *mut f32,
    stride: usize,
) {
    let vectors = pixels.div_ceil(L::LANES);
    let groups = vectors.div_ceil(VECTORS);
    for (first, count) in tiles(weights.outputs) {
        let tile = Tile {
            planes: planes.as_ptr(),
            offsets,
            weights: weights.values[first * weights.taps..].as_ptr(),
            multiplier: finish.multiplier[first..first + count].as_ptr(),
            bias: finish.bias[first..first + count].as_ptr(),
            // SAFETY: within the outputs.
            out: unsafe { out.add(first * stride) },
            stride,
            pixels,
        };
        // Registers are shared out evenly, so that no tile is left with a single one.
        let mut vector = 0;
        for group in 0..groups {
            let end = (group + 1) * vectors / groups;
            // SAFETY: the tile lies within the outputs and, but for its last register, within the pixels.
            unsafe {
                match (count, end - vector) {
                    (8, 3) => tile.run::<L, 8, 3>(vector),
                    (8, 2) => tile.run::<L, 8, 2>(vector),
                    (8, _) => tile.run::<L, 8, 1>(vector),
                    (4, 3) => tile.run::<L, 4, 3>(vector),
                    (4, 2) => tile.run::<L, 4, 2>(vector),
                    (4, _) => tile.run::<L, 4, 1>(vector),
                    (_, 3) => tile.run::<L, 1, 3>(vector),
                    (_, 2) => tile.run::<L, 1, 2>(vector),
                    _ => tile.run::<L, 1, 1>(vector),
                }
            }
            vector = end;
        }
    }
}

/// What all tiles of the same outputs share.
struct Tile<'a> {
    planes: *const f32,
    offsets: &'a [u32],
    weights: *const f32,
    multiplier: *const f32,
    bias: *const f32,
    out: *mut f32,
    stride: usize,
    pixels: usize,
}

impl Tile<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `sums`; the tile has `O` outputs and `V` registers of pixels from register `vector` on.
    unsafe fn run<L: FloatLanes, const O: usize, const V: usize>(&self, vector: usize) {
        let first = vector * L::LANES;
        // SAFETY: as above.
        unsafe {
            let mut sums = [[L::splat(0.0); V]; O];
            let planes = self.planes.add(first);
            let mut weights = self.weights;
            for &offset in self.offsets {
                let tap = planes.add(offset as usize);
                let pixels: [L; V] = std::array::from_fn(|v| L::load(tap.add(v * L::LANES)));
                for (o, sums) in sums.iter_mut().enumerate() {
                    let weight = L::splat(*weights.add(o));
                    for (sum, pixels) in sums.iter_mut().zip(pixels) {
                        *sum = sum.add_product(weight, pixels);
                    }
                }
                weights = weights.add(O);
            }
            for (o, sums) in sums.into_iter().enumerate() {
                let (multiplier, bias) = (L::splat(*self.multiplier.add(o)), L::splat(*self.bias.add(o)));
                let out = self.out.add(o * self.stride + first);
                for (v, sum) in sums.into_iter().enumerate() {
                    let value = sum.multiply(multiplier).add(bias);
                    let left = self.pixels - first - v * L::LANES;
                    if left >= L::LANES {
                        value.store(out.add(v * L::LANES));
                    } else {
                        value.store_part(out.add(v * L::LANES), left);
                    }
                }
            }
        }
    }
}
