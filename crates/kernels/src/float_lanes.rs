//! One vector register of floats, as the convolution loops see it.
//!
//! The loops are written once over [`FloatLanes`] and compiled for each instruction set inside a function that enables it
//! ([`for_each_level!`]). Products are added with one rounding where the processor can, so the last bits of a sum depend on
//! the level (sums of whole numbers below 2^24 are exact at all of them). Over [`Rounded`] they do not.

/// A register of floats.
///
/// # Safety
/// Every method must be called only where the instructions of the implementing type exist, and pointers must be valid for
/// the number of values that the method names; no alignment is needed.
#[allow(unsafe_code)]
pub(crate) trait FloatLanes: Copy {
    /// Number of floats.
    const LANES: usize;
    /// Number of registers that the processor has.
    const REGISTERS: usize;
    /// `value` in each lane.
    unsafe fn splat(value: f32) -> Self;
    /// `LANES` values.
    unsafe fn load(from: *const f32) -> Self;
    /// `count <= LANES` values, then zeros.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;
    /// Stores `LANES` values.
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `count <= LANES` values.
    unsafe fn store_part(self, to: *mut f32, count: usize);
    /// `self + a b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self other`.
    unsafe fn multiply(self, other: Self) -> Self;
    /// Turns a square of `LANES` rows: lane j of row i becomes lane i of row j.
    unsafe fn transpose(rows: &mut [Self; 16]);
}

/// Four lanes for every processor; the compiler turns the loops into what the target has.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

#[allow(unsafe_code)]
// SAFETY of all blocks: the caller promises valid pointers.
impl FloatLanes for Portable {
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut whole = [0.0; 4];
        whole[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
        Self(whole)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        for (lane, value) in self.0.into_iter().enumerate().take(count) {
            unsafe { to.add(lane).write(value) }
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + a.0[lane] * b.0[lane]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [Self; 16]) {
        let old: [Self; 4] = std::array::from_fn(|row| rows[row]);
        for (row, new) in rows.iter_mut().take(4).enumerate() {
            *new = Self(std::array::from_fn(|lane| old[lane].0[row]));
        }
    }
}

/// A register that rounds a product before it adds it: sums have the same bits at every level.
#[derive(Clone, Copy)]
pub(crate) struct Rounded<L>(L);

#[allow(unsafe_code)]
// SAFETY of all blocks: the caller promises to `L` what it promises here.
impl<L: FloatLanes> FloatLanes for Rounded<L> {
    const LANES: usize = L::LANES;
    const REGISTERS: usize = L::REGISTERS;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { L::splat(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { L::load(from) })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        Self(unsafe { L::load_part(from, count) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { self.0.store(to) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        unsafe { self.0.store_part(to, count) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Self(unsafe { self.0.add(a.0.multiply(b.0)) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { self.0.add(other.0) })
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        Self(unsafe { self.0.multiply(other.0) })
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [Self; 16]) {
        let mut turned = rows.map(|row| row.0);
        unsafe { L::transpose(&mut turned) }
        *rows = turned.map(Self);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::FloatLanes;
    use std::arch::x86_64::*;

    #[allow(unsafe_code)]
    // SAFETY of all blocks: the caller promises AVX2 with FMA and valid pointers.
    impl FloatLanes for __m256 {
        const LANES: usize = 8;
        const REGISTERS: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const f32, count: usize) -> Self {
            unsafe { _mm256_maskload_ps(from, first_lanes(count)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, count: usize) {
            unsafe { _mm256_maskstore_ps(to, first_lanes(count), self) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn multiply(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn transpose(rows: &mut [Self; 16]) {
            unsafe {
                let pairs: [__m256; 8] = std::array::from_fn(|i| {
                    let (a, b) = (rows[i / 2 * 2], rows[i / 2 * 2 + 1]);
                    if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
                });
                let fours: [__m256; 8] = std::array::from_fn(|i| {
                    let (a, b) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
                    if i % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xEE>(a, b) }
                });
                for i in 0..4 {
                    rows[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
                    rows[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
                }
            }
        }
    }

    /// A mask of the first `count` of 8 lanes.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn first_lanes(count: usize) -> __m256i {
        // SAFETY: called from methods that promise AVX2.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[allow(unsafe_code)]
    // SAFETY of all blocks: the caller promises AVX-512 F and valid pointers.
    impl FloatLanes for __m512 {
        const LANES: usize = 16;
        const REGISTERS: usize = 32;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const f32, count: usize) -> Self {
            unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as __mmask16, from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as __mmask16, self) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm512_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn multiply(self, other: Self) -> Self {
            unsafe { _mm512_mul_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn transpose(rows: &mut [Self; 16]) {
            unsafe {
                let pairs: [__m512; 16] = std::array::from_fn(|i| {
                    let (a, b) = (rows[i / 2 * 2], rows[i / 2 * 2 + 1]);
                    if i % 2 == 0 { _mm512_unpacklo_ps(a, b) } else { _mm512_unpackhi_ps(a, b) }
                });
                let fours: [__m512; 16] = std::array::from_fn(|i| {
                    let (a, b) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
                    if i % 2 == 0 { _mm512_shuffle_ps::<0x44>(a, b) } else { _mm512_shuffle_ps::<0xEE>(a, b) }
                });
                // fours[4 g + j] holds lane j of each quarter of rows 4 g to 4 g + 3.
                for j in 0..4 {
                    let low = _mm512_shuffle_f32x4::<0x88>(fours[j], fours[4 + j]);
                    let high = _mm512_shuffle_f32x4::<0xDD>(fours[j], fours[4 + j]);
                    let low_end = _mm512_shuffle_f32x4::<0x88>(fours[8 + j], fours[12 + j]);
                    let high_end = _mm512_shuffle_f32x4::<0xDD>(fours[8 + j], fours[12 + j]);
                    rows[j] = _mm512_shuffle_f32x4::<0x88>(low, low_end);
                    rows[8 + j] = _mm512_shuffle_f32x4::<0xDD>(low, low_end);
                    rows[4 + j] = _mm512_shuffle_f32x4::<0x88>(high, high_end);
                    rows[12 + j] = _mm512_shuffle_f32x4::<0xDD>(high, high_end);
                }
            }
        }
    }
}

/// Defines an unsafe function that calls a generic one with the widest [`FloatLanes`] of this processor.
///
/// The generic function must be `#[inline(always)]`, so that it is compiled anew inside the function that enables the
/// instructions.
macro_rules! for_each_level {
    ($(#[$attribute:meta])* $visibility:vis unsafe fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $generic:ident) => {
        $(#[$attribute])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $visibility unsafe fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            // SAFETY: the caller's promise to the generic function; the instructions are enabled here.
            unsafe fn avx2($($argument: $type),*) { unsafe { $generic::<std::arch::x86_64::__m256>($($argument),*) } }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            #[allow(clippy::too_many_arguments)]
            // SAFETY: as above.
            unsafe fn avx512($($argument: $type),*) { unsafe { $generic::<std::arch::x86_64::__m512>($($argument),*) } }

            // SAFETY: the caller's promise; `level` names only what the processor has.
            unsafe {
                match $crate::simd::level() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx512 => avx512($($argument),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx2 => avx2($($argument),*),
                    _ => $generic::<$crate::float_lanes::Portable>($($argument),*),
                }
            }
        }
    };
}
pub(crate) use for_each_level;
