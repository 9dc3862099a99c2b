//! One vector register, as the integer loops see it.
//!
//! The loops are written once over [`Lanes`] and compiled for each instruction set inside a function that enables it. The
//! methods are `unsafe` because they may only run where the processor has those instructions.

/// A register that holds either pairs of `i16` factors or as many `i32` sums.
///
/// # Safety
/// Every method must be called only where the instructions of the implementing type exist, and pointers must be valid for
/// the number of values that the method names; no alignment is needed.
#[allow(unsafe_code)]
pub(super) trait Lanes: Copy {
    /// Number of `i32` sums, and of pairs of `i16`.
    const LANES: usize;
    /// All zero.
    unsafe fn zero() -> Self;
    /// `2 * LANES` factors.
    unsafe fn load(from: *const i16) -> Self;
    /// `count < 2 * LANES` factors, then zeros.
    unsafe fn load_part(from: *const i16, count: usize) -> Self;
    /// The same pair of factors in each lane; the first one in the low half.
    unsafe fn pair(pair: i32) -> Self;
    /// `self + a.0 * b.0 + a.1 * b.1` in each lane.
    unsafe fn add_products(self, a: Self, b: Self) -> Self;
    /// The sum over the lanes of each of four registers.
    unsafe fn sums(four: [Self; 4]) -> [i32; 4];
    /// Stores `LANES` sums.
    unsafe fn store(self, to: *mut i32);
}

/// Four lanes for every processor; the compiler turns the loops into what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable([i32; 4]);

#[allow(unsafe_code)]
impl Lanes for Portable {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        // SAFETY: the caller promises 8 values.
        let values = unsafe { from.cast::<[i16; 8]>().read_unaligned() };
        Self(std::array::from_fn(|i| i32::from(values[2 * i] as u16) | i32::from(values[2 * i + 1]) << 16))
    }

    #[inline(always)]
    unsafe fn load_part(from: *const i16, count: usize) -> Self {
        // SAFETY: the caller promises `count` values.
        let values = unsafe { std::slice::from_raw_parts(from, count) };
        let mut whole = [0; 8];
        whole[..count].copy_from_slice(values);
        // SAFETY: 8 values.
        unsafe { Self::load(whole.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn pair(pair: i32) -> Self {
        Self([pair; 4])
    }

    #[inline(always)]
    unsafe fn add_products(self, a: Self, b: Self) -> Self {
        let products: [i32; 4] = std::array::from_fn(|i| {
            let (a, b) = (a.0[i], b.0[i]);
            (i32::from(a as i16) * i32::from(b as i16))
                .wrapping_add(i32::from((a >> 16) as i16) * i32::from((b >> 16) as i16))
        });
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(products[i])))
    }

    #[inline(always)]
    unsafe fn sums(four: [Self; 4]) -> [i32; 4] {
        four.map(|register| register.0.into_iter().fold(0, i32::wrapping_add))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        // SAFETY: the caller promises room for 4 sums.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    #[allow(unsafe_code)]
    // SAFETY of all blocks: the caller promises AVX2 and valid pointers.
    impl Lanes for __m256i {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn load(from: *const i16) -> Self {
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const i16, count: usize) -> Self {
            let values = unsafe { std::slice::from_raw_parts(from, count) };
            let mut whole = [0; 16];
            whole[..count].copy_from_slice(values);
            unsafe { Self::load(whole.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn pair(pair: i32) -> Self {
            unsafe { _mm256_set1_epi32(pair) }
        }

        #[inline(always)]
        unsafe fn add_products(self, a: Self, b: Self) -> Self {
            unsafe { _mm256_add_epi32(self, _mm256_madd_epi16(a, b)) }
        }

        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [i32; 4] {
            unsafe {
                let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
                let sums = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
                std::mem::transmute::<__m128i, [i32; 4]>(sums)
            }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut i32) {
            unsafe { _mm256_storeu_si256(to.cast(), self) }
        }
    }

    #[allow(unsafe_code)]
    // SAFETY of all blocks: the caller promises AVX-512 (F, BW, VNNI) and valid pointers.
    impl Lanes for __m512i {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn load(from: *const i16) -> Self {
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const i16, count: usize) -> Self {
            // The processor does not touch what the mask leaves out.
            unsafe { _mm512_maskz_loadu_epi16((1 << count) - 1, from) }
        }

        #[inline(always)]
        unsafe fn pair(pair: i32) -> Self {
            unsafe { _mm512_set1_epi32(pair) }
        }

        #[inline(always)]
        unsafe fn add_products(self, a: Self, b: Self) -> Self {
            unsafe { _mm512_dpwssd_epi32(self, a, b) }
        }

        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [i32; 4] {
            unsafe {
                // Each step transposes and adds: two registers become one, with their sums side by side.
                let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
                let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
                let sums = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
                std::mem::transmute::<__m128i, [i32; 4]>(sums)
            }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut i32) {
            unsafe { _mm512_storeu_si512(to.cast(), self) }
        }
    }
}
