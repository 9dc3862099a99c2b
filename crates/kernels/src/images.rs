//! Pixels to network inputs, with the random changes that training makes.

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

/// Size of images with one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
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

/// Writes the inputs of the images `chosen` (indices into `pixels`) to `out` `[chosen, height, width]`.
///
/// Value `3 i` of `random` decides whether the image at place i is mirrored, `3 i + 1` and `3 i + 2` how far it is shifted.
pub fn inputs(
    pixels: &[u8],
    size: ImageSize,
    chosen: &[u32],
    scale: PixelScale,
    augmentation: Augmentation,
    random: Random,
    out: &mut [f32],
) {
    out.par_chunks_mut(size.pixels()).zip(chosen).enumerate().for_each(|(place, (out, &image))| {
        let image = &pixels[image as usize * size.pixels()..][..size.pixels()];
        let draw = |which: u64, bound: u32| random.below(3 * place as u64 + which, bound);
        let mirrored = augmentation.horizontal_flip && draw(0, 2) == 1;
        let shift = |which| draw(which, 2 * augmentation.shift + 1) as isize - augmentation.shift as isize;
        let (down, right) = (shift(1), shift(2));
        for (row, out) in out.chunks_mut(size.width).enumerate() {
            let source = row.checked_add_signed(-down).filter(|row| *row < size.height);
            for (column, out) in out.iter_mut().enumerate() {
                let column = if mirrored { size.width - 1 - column } else { column };
                let column = column.checked_add_signed(-right).filter(|column| *column < size.width);
                let pixel = source.zip(column).map_or(0, |(row, column)| image[row * size.width + column]);
                *out = scale.apply(pixel);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: ImageSize = ImageSize { height: 2, width: 3 };
    const PIXELS: [u8; 12] = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6];
    const PLAIN: PixelScale = PixelScale { scale: 1.0, zero_point: 0 };

    fn changed(augmentation: Augmentation, step: u32) -> [f32; 6] {
        let mut out = [0.0; 6];
        inputs(&PIXELS, SIZE, &[1], PLAIN, augmentation, Random::new(0, step, 0), &mut out);
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
        assert!(seen.contains(&[1., 2., 3., 4., 5., 6.]) && seen.contains(&[3., 2., 1., 6., 5., 4.]));
        assert!(seen.iter().all(|image| image[0] == 1.0 || image[0] == 3.0));
    }

    #[test]
    fn shifts_move_rows_and_columns_and_fill_with_background() {
        let seen: Vec<_> =
            (0..60).map(|step| changed(Augmentation { horizontal_flip: false, shift: 1 }, step)).collect();
        for expected in [[0., 0., 0., 0., 1., 2.], [1., 2., 3., 4., 5., 6.], [5., 6., 0., 0., 0., 0.]] {
            assert!(seen.contains(&expected), "{expected:?} not among {seen:?}");
        }
    }
}
