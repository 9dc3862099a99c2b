//! Images cut into patches, which are the tokens of a vision transformer.
//!
//! ```text
//! y[i columns + j, (c, a, b)] = x[c, i height + a, j width + b]        patch (i, j) of `height` by `width` pixels
//! ```
//! Patches go row by row of the image, the values of a patch by channel, row and column. It is a permutation: the gradient of x
//! is the gradient of y put together again. Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.

use rayon::prelude::*;

use crate::memory::Fresh;

/// Sizes of images and of their patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchShape {
    /// Channels of an image.
    pub channels: usize,
    /// Height of an image in pixels.
    pub height: usize,
    /// Width of an image in pixels.
    pub width: usize,
    /// Height and width of a patch.
    pub size: [usize; 2],
}

impl PatchShape {
    /// Whether whole patches fill an image.
    pub fn fits(&self) -> bool {
        let [height, width] = self.size;
        height > 0 && width > 0 && self.height.is_multiple_of(height) && self.width.is_multiple_of(width)
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.height / self.size[0] * (self.width / self.size[1])
    }

    /// Values of a patch.
    pub fn patch_len(&self) -> usize {
        self.channels * self.size[0] * self.size[1]
    }

    /// Values of an image.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Calls `visit` with the places of neighbouring values, in the image and among the patches.
    fn each_run(&self, mut visit: impl FnMut(usize, usize)) {
        let ([height, width], columns) = (self.size, self.width / self.size[1]);
        for line in 0..self.channels * self.height {
            let (channel, row) = (line / self.height, line % self.height);
            let first = row / height * columns * self.patch_len() + (channel * height + row % height) * width;
            for column in 0..columns {
                visit(line * self.width + column * width, first + column * self.patch_len());
            }
        }
    }
}

/// Patches `[images, patches, values]` of images `[images, channels, height, width]`.
///
/// ```
/// use hardgrad_kernels::patches::{PatchShape, join, split};
///
/// let shape = PatchShape { channels: 1, height: 2, width: 4, size: [2, 2] };
/// let patches = split(&[1, 2, 3, 4, 5, 6, 7, 8], &shape);
/// assert_eq!(patches, [1, 2, 5, 6, 3, 4, 7, 8]);
/// assert_eq!(join(&patches, &shape), [1, 2, 3, 4, 5, 6, 7, 8]);
/// ```
///
/// # Panics
/// If the values are not whole images, or the patches do not fit.
pub fn split<T: Copy + Default + Send + Sync>(images: &[T], shape: &PatchShape) -> Vec<T> {
    each_image(images, shape, split_image)
}

/// Images of patches: what [`split`] took apart.
///
/// # Panics
/// If the values are not whole images, or the patches do not fit.
pub fn join<T: Copy + Default + Send + Sync>(patches: &[T], shape: &PatchShape) -> Vec<T> {
    each_image(patches, shape, |patches, shape, image| {
        let width = shape.size[1];
        shape.each_run(|to, from| image[to..][..width].copy_from_slice(&patches[from..][..width]));
    })
}

/// Patches of one image, on this thread.
///
/// # Panics
/// If the lengths are not those of an image, or the patches do not fit.
pub fn split_image<T: Copy>(image: &[T], shape: &PatchShape, patches: &mut [T]) {
    assert!(shape.fits(), "patches of {shape:?}");
    assert_eq!([image.len(), patches.len()], [shape.image_len(); 2], "one image of {shape:?}");
    let width = shape.size[1];
    shape.each_run(|from, to| patches[to..][..width].copy_from_slice(&image[from..][..width]));
}

fn each_image<T: Copy + Default + Send + Sync>(
    values: &[T],
    shape: &PatchShape,
    convert: impl Fn(&[T], &PatchShape, &mut [T]) + Sync,
) -> Vec<T> {
    let len = shape.image_len();
    assert!(shape.fits() && len > 0 && values.len().is_multiple_of(len), "{} values for {shape:?}", values.len());
    let mut out = Fresh::new(values.len());
    out.pieces(len).zip(values.par_chunks(len)).for_each(|(out, values)| convert(values, shape, out.open()));
    out.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::threads::same_for_threads;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_value_finds_its_place(
            batch in 0usize..4, channels in 1usize..4, grid in [1usize..5, 1..5], size in [1usize..5, 1..5],
        ) {
            let shape = PatchShape { channels, height: grid[0] * size[0], width: grid[1] * size[1], size };
            let images: Vec<u32> = (0..(batch * shape.image_len()) as u32).collect();
            let patches = same_for_threads(|| split(&images, &shape));
            for (place, found) in patches.iter().enumerate() {
                let (token, value) = (place / shape.patch_len(), place % shape.patch_len());
                let (image, patch) = (token / shape.patches(), token % shape.patches());
                let (channel, row, column) = (value / (size[0] * size[1]), value / size[1] % size[0], value % size[1]);
                let (row, column) = (patch / grid[1] * size[0] + row, patch % grid[1] * size[1] + column);
                let from = ((image * channels + channel) * shape.height + row) * shape.width + column;
                prop_assert_eq!(*found, from as u32);
            }
            prop_assert_eq!(join(&patches, &shape), images);
        }
    }

    #[test]
    fn patches_must_fill_the_image() {
        let shape = PatchShape { channels: 1, height: 4, width: 6, size: [2, 3] };
        assert!(shape.fits());
        for size in [[3, 3], [2, 4], [0, 3], [8, 3]] {
            assert!(!PatchShape { size, ..shape }.fits(), "{size:?}");
        }
    }
}
