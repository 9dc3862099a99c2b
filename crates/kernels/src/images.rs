//! Pixels, chosen and changed at random as training does, and what real values they stand for.

use rayon::prelude::*;

use crate::random::Random;

/// How pixels become inputs: x = (pixel - zero_point) scale, so that the integer behind each input is known exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelScale {
    /// Real value of one step of a pixel.
    pub scale: f32,
    /// The pixel value that becomes 0.
    pub zero_point: u8,
}

impl PixelScale {
    /// The scale that gives these pixels mean 0 (to half a step) and variance 1.
    pub fn of(pixels: &[u8]) -> Self {
        let (sum, squares) = pixels
            .par_chunks(crate::CHUNK)
            .map(|chunk| {
                chunk.iter().fold((0u64, 0u64), |(sum, squares), &pixel| {
                    (sum + u64::from(pixel), squares + u64::from(pixel) * u64::from(pixel))
                })
            })
            .reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let count = pixels.len().max(1) as f64;
        let mean = sum as f64 / count;
        let deviation = (squares as f64 / count - mean * mean).max(1.0).sqrt();
        Self { scale: (1.0 / deviation) as f32, zero_point: mean.round() as u8 }
    }

    /// The input value of a pixel.
    #[inline]
    pub fn apply(&self, pixel: u8) -> f32 {
        f32::from(i16::from(pixel) - i16::from(self.zero_point)) * self.scale
    }
}

/// Size of an image; a row of `features` values is `[features, 1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Channels, each a plane.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// Bytes of one image.
    pub fn bytes(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Random changes of training images; what an image shifts away from is filled with pixel 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Mirror half of the images left to right.
    pub horizontal_flip: bool,
    /// Shift by up to this many pixels in each direction.
    pub shift: u32,
}

impl Augmentation {
    /// No change.
    pub const NONE: Self = Self { horizontal_flip: false, shift: 0 };
}

/// Writes the images `chosen` (indices into `pixels`, `[images, channels, height, width]`) to `out`, changed at random.
///
/// Value `3 i` of `random` decides whether the image at place i is mirrored, `3 i + 1` and `3 i + 2` how far it is shifted down
/// and to the right; all channels of an image are changed alike.
///
/// ```
/// use hardgrad_kernels::images::{Augmentation, ImageSize, bytes};
/// use hardgrad_kernels::random::Random;
///
/// let (size, mut out) = (ImageSize { channels: 1, height: 1, width: 2 }, [0; 4]);
/// bytes(&[1, 2, 3, 4, 5, 6], size, &[2, 0], Augmentation::NONE, Random::new(0, 0, 0), &mut out);
/// assert_eq!(out, [5, 6, 1, 2]);
/// ```
///
/// # Panics
/// If `out` does not hold as many images as were chosen, or an index has no image.
pub fn bytes(
    pixels: &[u8],
    size: ImageSize,
    chosen: &[u32],
    augmentation: Augmentation,
    random: Random,
    out: &mut [u8],
) {
    let len = size.bytes();
    assert_eq!(out.len(), chosen.len() * len, "{} images of {size:?}", chosen.len());
    out.par_chunks_mut(len.max(1)).zip(chosen).enumerate().for_each(|(place, (out, &image))| {
        let image = &pixels[image as usize * len..][..len];
        if augmentation == Augmentation::NONE {
            return out.copy_from_slice(image);
        }
        let draw = |which: u64, bound: u32| random.below(3 * place as u64 + which, bound);
        let mirrored = augmentation.horizontal_flip && draw(0, 2) == 1;
        let shift = |which| draw(which, 2 * augmentation.shift + 1) as isize - augmentation.shift as isize;
        let (down, right) = (shift(1), shift(2));
        let plane = size.height * size.width;
        for (image, out) in image.chunks_exact(plane).zip(out.chunks_exact_mut(plane)) {
            change(image, size.width, mirrored, [down, right], out);
        }
    });
}

/// Shifts a plane, then mirrors it.
fn change(plane: &[u8], width: usize, mirrored: bool, [down, right]: [isize; 2], out: &mut [u8]) {
    // What stays of a row: `count` pixels from `from` on come to lie from `to` on.
    let (from, to) = (right.min(0).unsigned_abs().min(width), right.max(0).unsigned_abs().min(width));
    let count = width - from.max(to);
    let height = plane.len() / width;
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        out.fill(0);
        if let Some(row) = row.checked_add_signed(-down).filter(|row| *row < height) {
            out[to..][..count].copy_from_slice(&plane[row * width..][from..][..count]);
        }
        if mirrored {
            out.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: ImageSize = ImageSize { channels: 1, height: 2, width: 3 };
    const PIXELS: [u8; 12] = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6];

    fn changed(augmentation: Augmentation, step: u32) -> [u8; 6] {
        let mut out = [9; 6];
        bytes(&PIXELS, SIZE, &[1], augmentation, Random::new(0, step, 0), &mut out);
        out
    }

    #[test]
    fn pixels_keep_their_integers() {
        let scale = PixelScale { scale: 0.013, zero_point: 73 };
        for pixel in 0..=255u8 {
            assert_eq!((scale.apply(pixel) / scale.scale).round_ties_even(), f32::from(pixel) - 73.0);
        }
    }

    #[test]
    fn mean_and_deviation_set_the_scale() {
        let scale = PixelScale::of(&[10, 30, 10, 30]);
        assert_eq!((scale.zero_point, scale.scale), (20, 0.1));
    }

    #[test]
    fn flips_are_the_image_or_its_mirror_and_both_appear() {
        let seen: Vec<_> =
            (0..20).map(|step| changed(Augmentation { horizontal_flip: true, shift: 0 }, step)).collect();
        assert!(seen.contains(&[1, 2, 3, 4, 5, 6]) && seen.contains(&[3, 2, 1, 6, 5, 4]));
        assert!(seen.iter().all(|image| image[0] == 1 || image[0] == 3));
    }

    #[test]
    fn shifts_move_rows_and_columns_and_fill_with_background() {
        let seen: Vec<_> =
            (0..60).map(|step| changed(Augmentation { horizontal_flip: false, shift: 1 }, step)).collect();
        for expected in [[0, 0, 0, 0, 1, 2], [1, 2, 3, 4, 5, 6], [5, 6, 0, 0, 0, 0]] {
            assert!(seen.contains(&expected), "{expected:?} not among {seen:?}");
        }
    }

    #[test]
    fn rows_of_a_table_are_copied() {
        let size = ImageSize { channels: 3, height: 1, width: 1 };
        let mut out = [0; 6];
        bytes(&PIXELS, size, &[3, 2], Augmentation::NONE, Random::new(0, 0, 0), &mut out);
        assert_eq!(out, [4, 5, 6, 1, 2, 3]);
        bytes(&[], size, &[], Augmentation::NONE, Random::new(0, 0, 0), &mut []);
    }

    proptest! {
        /// Pixel by pixel, in all channels alike.
        #[test]
        fn every_pixel_comes_from_its_place(
            channels in 1usize..4, height in 1usize..6, width in 1usize..6, shift in 0u32..8, horizontal_flip: bool,
            seed in 0u64..1000,
        ) {
            let size = ImageSize { channels, height, width };
            let pixels: Vec<u8> = (0..3 * size.bytes()).map(|place| 1 + (place % 255) as u8).collect();
            let (chosen, random) = ([2, 0, 1, 1], Random::new(seed, 0, 0));
            let mut out = vec![9; 4 * size.bytes()];
            bytes(&pixels, size, &chosen, Augmentation { horizontal_flip, shift }, random, &mut out);
            for (place, found) in out.into_iter().enumerate() {
                let (image, rest) = (place / size.bytes(), place % size.bytes());
                let (channel, row, column) = (rest / (height * width), rest / width % height, rest % width);
                let draw = |which: u64, bound| i64::from(random.below(3 * image as u64 + which, bound));
                let mirrored = horizontal_flip && draw(0, 2) == 1;
                let [down, right] = [1, 2].map(|which| draw(which, 2 * shift + 1) - i64::from(shift));
                let column = if mirrored { width - 1 - column } else { column };
                let (row, column) = (row as i64 - down, column as i64 - right);
                let inside = (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
                let plane = (chosen[image] as usize * channels + channel) * height;
                let expected = if inside { pixels[(plane + row as usize) * width + column as usize] } else { 0 };
                prop_assert_eq!(found, expected);
            }
        }
    }
}
