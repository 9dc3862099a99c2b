//! Random numbers that are a function of where they are used: Philox 4x32-10.
//!
//! A value is addressed by (seed, step, stream, index): the seed is the cipher's key, the rest its counter. Nothing is
//! stored and nothing advances, so any thread can draw any value, a resumed run draws what the undisturbed one drew, and
//! noise can be made again instead of kept. Philox was chosen because its quality is proved by the usual test batteries
//! (BigCrush), its ten rounds are multiplications that vectorise, and published vectors allow a check against other code.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

use rayon::prelude::*;

use crate::CHUNK;
use crate::math::{ln, sin_cos_of_turn};
use crate::simd::multiversion;

/// Random values of one seed, step and stream.
///
/// ```
/// use hardgrad_kernels::random::Random;
/// let noise = Random::new(7, 100, 3);
/// assert_eq!(noise.uniform(5), Random::new(7, 100, 3).uniform(5));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Random {
    key: [u32; 2],
    step: u32,
    stream: u32,
}

impl Random {
    /// Values for `seed` at training step `step`; `stream` tells apart the places that draw (a layer, the shuffle, ...).
    pub fn new(seed: u64, step: u32, stream: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], step, stream }
    }

    /// Values of their own for one of several draws at the same place, `part` below 2^16; part 0 is this one.
    /// Streams below 2^16 keep apart from the parts of others.
    pub fn part(&self, part: u32) -> Self {
        assert!(part < 1 << 16, "part {part} is not below 2^16");
        Self { stream: self.stream ^ part << 16, ..*self }
    }

    /// Word `index`: 32 random bits.
    #[inline]
    pub fn word(&self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// Uniform value `index`, strictly between 0 and 1.
    #[inline]
    pub fn uniform(&self, index: u64) -> f32 {
        unit(self.word(index))
    }

    /// Whole number `index`, uniform in `0..bound`; `bound` must not be 0.
    #[inline]
    pub fn below(&self, index: u64, bound: u32) -> u32 {
        ((u64::from(self.word(index)) * u64::from(bound)) >> 32) as u32
    }

    /// The numbers `0..count` in random order (Fisher-Yates).
    pub fn permutation(&self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u64, i as u32 + 1) as usize);
        }
        order
    }

    /// Fills `out` with uniform values `0..out.len()`.
    pub fn fill_uniform(&self, out: &mut [f32]) {
        self.fill(out, uniform_tile);
    }

    /// Fills `out` with standard normal values (Box-Muller on pairs of words).
    pub fn fill_normal(&self, out: &mut [f32]) {
        self.fill(out, normal_tile);
    }

    /// Fills `out` with uniform values of 16 bits, two a word, from value `first` on, a multiple of [`TILE`].
    pub(crate) fn fill_short_uniform(&self, first: u64, out: &mut [f32; TILE]) {
        short_uniform_tile(self, first / 8, out);
    }

    fn fill(&self, out: &mut [f32], tile: impl Fn(&Self, u64, &mut [f32; TILE]) + Sync) {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            let (tiles, rest) = out.as_chunks_mut::<TILE>();
            let mut first = (chunk * CHUNK / 4) as u64;
            for out in tiles {
                tile(self, first, out);
                first += BLOCKS as u64;
            }
            if !rest.is_empty() {
                let mut last = [0.0; TILE];
                tile(self, first, &mut last);
                rest.copy_from_slice(&last[..rest.len()]);
            }
        });
    }

    #[inline(always)]
    fn block(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.step, self.stream], self.key)
    }

    /// The four words of each of `N` blocks from `first` on: word w of block b is `[w][b]`.
    #[inline(always)]
    fn words<const N: usize>(&self, first: u64) -> [[u32; N]; 4] {
        let mut words = [[0; N]; 4];
        for block in 0..N {
            let four = self.block(first + block as u64);
            for (words, word) in words.iter_mut().zip(four) {
                words[block] = word;
            }
        }
        words
    }
}

/// The middle of one of 2^23 equal parts of (0, 1): neither 0 nor 1 can appear.
#[inline(always)]
fn unit(word: u32) -> f32 {
    // From a signed number, because processors before AVX-512 convert no unsigned ones.
    ((word >> 9) as i32 as f32 + 0.5) * (1.0 / (1 << 23) as f32)
}

/// Blocks of the cipher that are computed side by side.
const BLOCKS: usize = 64;

/// Words of [`BLOCKS`] blocks. A chunk of an elementwise loop holds a whole number of them.
pub(crate) const TILE: usize = 4 * BLOCKS;

const _: () = assert!(CHUNK.is_multiple_of(TILE));

multiversion! {
    /// The uniform values of the blocks from `first` on.
    fn uniform_tile(random: &Random, first: u64, out: &mut [f32; TILE]) {
        let words = random.words::<BLOCKS>(first);
        for (block, four) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *four = [unit(words[0][block]), unit(words[1][block]), unit(words[2][block]), unit(words[3][block])];
        }
    }
}

/// The middle of one of 2^16 equal parts of (0, 1).
#[inline(always)]
fn short_unit(half: u32) -> f32 {
    (half as i32 as f32 + 0.5) * (1.0 / (1 << 16) as f32)
}

multiversion! {
    /// Values of 16 bits of the blocks from `first` on: the lower and the upper half of each word.
    fn short_uniform_tile(random: &Random, first: u64, out: &mut [f32; TILE]) {
        let words = random.words::<{ BLOCKS / 2 }>(first);
        // Word by word: any fixed order will do, and this one needs no shuffling.
        for (words, out) in words.iter().zip(out.as_chunks_mut::<BLOCKS>().0) {
            let (lower, upper) = out.split_at_mut(BLOCKS / 2);
            for ((word, lower), upper) in words.iter().zip(lower).zip(upper) {
                *lower = short_unit(word & 0xFFFF);
                *upper = short_unit(word >> 16);
            }
        }
    }
}

multiversion! {
    /// Normal values from the blocks from `first` on.
    fn normal_tile(random: &Random, first: u64, out: &mut [f32; TILE]) {
        let words = random.words::<BLOCKS>(first);
        for (block, four) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let (a, b) = normal_pair(words[0][block], words[1][block]);
            let (c, d) = normal_pair(words[2][block], words[3][block]);
            *four = [a, b, c, d];
        }
    }
}

#[inline(always)]
fn normal_pair(a: u32, b: u32) -> (f32, f32) {
    let radius = (-2.0 * ln(unit(a))).sqrt();
    let (sine, cosine) = sin_cos_of_turn(unit(b));
    (radius * cosine, radius * sine)
}

#[inline(always)]
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_values_never_touch_the_ends() {
        assert!(unit(0) > 0.0 && unit(u32::MAX) < 1.0);
        assert!(short_unit(0) > 0.0 && short_unit(0xFFFF) < 1.0);
    }

    #[test]
    fn filling_equals_addressing() {
        let random = Random::new(3, 9, 1);
        let mut out = vec![0.0; CHUNK + 7];
        random.fill_uniform(&mut out);
        for index in [0, 1, 5, TILE - 1, TILE, CHUNK - 1, CHUNK, CHUNK + 6] {
            assert_eq!(out[index], random.uniform(index as u64));
        }
    }

    #[test]
    fn normal_values_have_mean_0_and_variance_1() {
        let mut out = vec![0.0; 100_000];
        Random::new(1, 0, 0).fill_normal(&mut out);
        let mean = out.iter().map(|&x| f64::from(x)).sum::<f64>() / out.len() as f64;
        let variance = out.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / out.len() as f64;
        // Four standard errors of 100,000 samples.
        assert!(mean.abs() < 0.0127 && (variance - 1.0).abs() < 0.0179, "mean {mean}, variance {variance}");
    }

    #[test]
    fn a_permutation_holds_every_number_once_and_differs_by_step() {
        let order = Random::new(5, 0, 0).permutation(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_ne!(order, Random::new(5, 1, 0).permutation(1000));
    }
}
