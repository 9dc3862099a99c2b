//! Sums of products of gradients with shifted planes: the loop behind the gradient of the weight.
//!
//! ```text
//! out[k, o] = out[k, o] + sum_p gradient[p, o] planes[offset[k] + p]
//! ```
//! The gradient is turned to [pixels, outputs] first, so that a register holds neighbouring outputs and a pixel of a plane
//! is one broadcast; sums stay in registers while p runs.

use crate::float_lanes::{FloatLanes, for_each_level};

/// Outputs are padded to a multiple of this, the widest register.
pub(super) const WIDTH: usize = 16;

/// Outputs with their padding.
pub(super) fn padded(outputs: usize) -> usize {
    outputs.next_multiple_of(WIDTH)
}

for_each_level! {
    /// Adds the products of `pixels` pixels to `out` `[taps, padded outputs]`.
    ///
    /// # Safety
    /// `planes` holds `pixels` values from each offset on, `gradient` `[pixels, padded outputs]`.
    pub(super) unsafe fn products(
        planes: &[f32],
        offsets: &[u32],
        gradient: &[f32],
        outputs: usize,
        pixels: usize,
        out: &mut [f32],
    ) = all_tiles
}

#[inline(always)]
#[allow(unsafe_code)]
// SAFETY: as `products`.
unsafe fn all_tiles<L: FloatLanes>(
    planes: &[f32],
    offsets: &[u32],
    gradient: &[f32],
    outputs: usize,
    pixels: usize,
    out: &mut [f32],
) {
    let width = padded(outputs);
    assert!(out.len() >= offsets.len() * width && gradient.len() >= pixels * width);
    let vectors = width / L::LANES;
    let mut vector = 0;
    while vector < vectors {
        let run = Run { planes: planes.as_ptr(), gradient: gradient[vector * L::LANES..].as_ptr(), width, pixels };
        let out = out[vector * L::LANES..].as_mut_ptr();
        // Taps times registers of outputs fill two thirds of the registers; the rest holds gradients.
        // SAFETY: the taps and outputs of each call exist.
        unsafe {
            let many = L::REGISTERS == 32;
            match vectors - vector {
                1 => {
                    if many {
                        run.taps::<L, 16, 1, 8>(offsets, out)
                    } else {
                        run.taps::<L, 8, 1, 4>(offsets, out)
                    }
                    vector += 1;
                }
                2 | 3 => {
                    if many {
                        run.taps::<L, 8, 2, 4>(offsets, out)
                    } else {
                        run.taps::<L, 4, 2, 2>(offsets, out)
                    }
                    vector += 2;
                }
                _ => {
                    if many {
                        run.taps::<L, 4, 4, 2>(offsets, out)
                    } else {
                        run.taps::<L, 2, 4, 1>(offsets, out)
                    }
                    vector += 4;
                }
            }
        }
    }
}

/// What all taps share.
struct Run {
    planes: *const f32,
    gradient: *const f32,
    width: usize,
    pixels: usize,
}

impl Run {
    /// All taps, `T` at once, with `V` registers of outputs and `U` pixels a turn.
    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products`.
    unsafe fn taps<L: FloatLanes, const T: usize, const V: usize, const U: usize>(
        &self,
        offsets: &[u32],
        out: *mut f32,
    ) {
        let (tiles, rest) = offsets.as_chunks::<T>();
        // SAFETY: as above.
        unsafe {
            for (tile, offsets) in tiles.iter().enumerate() {
                self.tile::<L, T, V, U>(*offsets, out.add(tile * T * self.width));
            }
            for (tap, offset) in rest.iter().enumerate() {
                self.tile::<L, 1, V, U>([*offset], out.add((tiles.len() * T + tap) * self.width));
            }
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products`.
    unsafe fn tile<L: FloatLanes, const T: usize, const V: usize, const U: usize>(
        &self,
        offsets: [u32; T],
        out: *mut f32,
    ) {
        // SAFETY: as above.
        unsafe {
            let place = |t: usize, v: usize| out.add(t * self.width + v * L::LANES);
            let mut sums: [[L; V]; T] = std::array::from_fn(|t| std::array::from_fn(|v| L::load(place(t, v))));
            let mut pixel = 0;
            while pixel + U <= self.pixels {
                self.add::<L, T, V, U>(offsets, pixel, &mut sums);
                pixel += U;
            }
            while pixel < self.pixels {
                self.add::<L, T, V, 1>(offsets, pixel, &mut sums);
                pixel += 1;
            }
            for (t, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(place(t, v));
                }
            }
        }
    }

    /// Adds the products of `U` pixels.
    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products`.
    unsafe fn add<L: FloatLanes, const T: usize, const V: usize, const U: usize>(
        &self,
        offsets: [u32; T],
        pixel: usize,
        sums: &mut [[L; V]; T],
    ) {
        // SAFETY: as above.
        unsafe {
            let gradient = self.gradient.add(pixel * self.width);
            let gradients: [[L; V]; U] =
                std::array::from_fn(|u| std::array::from_fn(|v| L::load(gradient.add(u * self.width + v * L::LANES))));
            for (offset, sums) in offsets.into_iter().zip(sums) {
                let pixels = self.planes.add(offset as usize + pixel);
                for (u, gradients) in gradients.iter().enumerate() {
                    let value = L::splat(*pixels.add(u));
                    for (sum, gradient) in sums.iter_mut().zip(gradients) {
                        *sum = sum.add_product(value, *gradient);
                    }
                }
            }
        }
    }
}

for_each_level! {
    /// As [`products`] for few outputs: adds the products of `pixels` pixels to `out` `[taps, outputs, WIDTH]`, spread over the
    /// lanes of a register, which the caller adds up in the end.
    ///
    /// # Safety
    /// `planes` holds `pixels` values from each offset on; `gradient` holds `outputs` rows of them, `stride` apart.
    pub(super) unsafe fn products_by_pixel(
        planes: &[f32],
        offsets: &[u32],
        gradient: *const f32,
        stride: usize,
        outputs: usize,
        pixels: usize,
        out: &mut [f32],
    ) = all_pairs
}

#[inline(always)]
#[allow(unsafe_code)]
// SAFETY: as `products_by_pixel`.
unsafe fn all_pairs<L: FloatLanes>(
    planes: &[f32],
    offsets: &[u32],
    gradient: *const f32,
    stride: usize,
    outputs: usize,
    pixels: usize,
    out: &mut [f32],
) {
    assert!(out.len() >= offsets.len() * outputs * WIDTH);
    let mut output = 0;
    while output < outputs {
        let out = out[output * WIDTH..].as_mut_ptr();
        // SAFETY: the outputs of each call exist.
        unsafe {
            let pairs =
                Pairs { planes: planes.as_ptr(), gradient: gradient.add(output * stride), stride, outputs, pixels };
            if outputs - output >= 4 {
                if L::REGISTERS == 32 {
                    pairs.taps::<L, 4, 6>(offsets, out)
                } else {
                    pairs.taps::<L, 4, 2>(offsets, out)
                }
                output += 4;
            } else {
                if L::REGISTERS == 32 {
                    pairs.taps::<L, 1, 9>(offsets, out)
                } else {
                    pairs.taps::<L, 1, 5>(offsets, out)
                }
                output += 1;
            }
        }
    }
}

/// What all pairs of outputs and taps share.
struct Pairs {
    planes: *const f32,
    gradient: *const f32,
    stride: usize,
    outputs: usize,
    pixels: usize,
}

impl Pairs {
    /// All taps, `T` at once, with `O` outputs.
    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products_by_pixel`.
    unsafe fn taps<L: FloatLanes, const O: usize, const T: usize>(&self, offsets: &[u32], out: *mut f32) {
        let (tiles, rest) = offsets.as_chunks::<T>();
        let row = self.outputs * WIDTH;
        // SAFETY: as above.
        unsafe {
            for (tile, offsets) in tiles.iter().enumerate() {
                self.tile::<L, O, T>(*offsets, out.add(tile * T * row));
            }
            for (tap, offset) in rest.iter().enumerate() {
                self.tile::<L, O, 1>([*offset], out.add((tiles.len() * T + tap) * row));
            }
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products_by_pixel`.
    unsafe fn tile<L: FloatLanes, const O: usize, const T: usize>(&self, offsets: [u32; T], out: *mut f32) {
        // SAFETY: as above; the last register loads only what exists.
        unsafe {
            let place = |t: usize, o: usize| out.add((t * self.outputs + o) * WIDTH);
            let mut sums: [[L; O]; T] = std::array::from_fn(|t| std::array::from_fn(|o| L::load(place(t, o))));
            let whole = self.pixels / L::LANES * L::LANES;
            for pixel in (0..whole).step_by(L::LANES) {
                self.add(offsets, pixel, |from| L::load(from), &mut sums);
            }
            if whole < self.pixels {
                self.add(offsets, whole, |from| L::load_part(from, self.pixels - whole), &mut sums);
            }
            for (t, sums) in sums.into_iter().enumerate() {
                for (o, sum) in sums.into_iter().enumerate() {
                    sum.store(place(t, o));
                }
            }
        }
    }

    /// Adds the products of one register of pixels.
    #[inline(always)]
    #[allow(unsafe_code)]
    // SAFETY: as `products_by_pixel`.
    unsafe fn add<L: FloatLanes, const O: usize, const T: usize>(
        &self,
        offsets: [u32; T],
        pixel: usize,
        load: impl Fn(*const f32) -> L,
        sums: &mut [[L; O]; T],
    ) {
        // SAFETY: as above.
        unsafe {
            let gradients: [L; O] = std::array::from_fn(|o| load(self.gradient.add(o * self.stride + pixel)));
            for (offset, sums) in offsets.into_iter().zip(sums) {
                let pixels = load(self.planes.add(offset as usize + pixel));
                for (sum, gradient) in sums.iter_mut().zip(gradients) {
                    *sum = sum.add_product(pixels, gradient);
                }
            }
        }
    }
}
