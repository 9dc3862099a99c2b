//! Inputs with their labels.

use rayon::prelude::*;

use super::picture;

/// Inputs of one shape with their labels: one part of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Values from 0 to 255, input by input, `[count, shape]`: pixels of an image channel by channel and row by row.
    pub pixels: Vec<u8>,
    /// The class of each input, `[count]`.
    pub labels: Vec<u8>,
    /// Shape of one input: `[channels, height, width]` of an image, `[features]` of a row of a table.
    pub shape: Vec<usize>,
}

impl Images {
    /// No inputs of this shape.
    pub fn none(shape: &[usize]) -> Self {
        Self { pixels: Vec::new(), labels: Vec::new(), shape: shape.to_vec() }
    }

    /// Number of inputs.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no inputs.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Values of one input.
    pub fn item_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Values of one input, in the order of its shape; panics unless `index < len()`.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.item_len();
        &self.pixels[index * size..][..size]
    }

    /// The inputs that are not held out and those that are, in their order.
    pub(super) fn split(self, held: &[bool]) -> [Self; 2] {
        if !held.contains(&true) {
            let none = Self::none(&self.shape);
            return [self, none];
        }
        [false, true].map(|wanted| {
            let mut part = Self::none(&self.shape);
            let count = held.iter().filter(|&&held| held == wanted).count();
            part.pixels.reserve_exact(count * self.item_len());
            part.labels.reserve_exact(count);
            for index in (0..self.len()).filter(|&index| held[index] == wanted) {
                part.pixels.extend_from_slice(self.image(index));
                part.labels.push(self.labels[index]);
            }
            part
        })
    }

    /// Images with these channels, height and width; from one channel to three or back, if the channels change.
    pub(super) fn fitted(self, to: [usize; 3]) -> Self {
        let Ok(from) = <[usize; 3]>::try_from(self.shape.as_slice()) else { return self };
        if from == to {
            return self;
        }
        let (item, wanted): (usize, usize) = (from.iter().product(), to.iter().product());
        let mut pixels = vec![0; self.len() * wanted];
        pixels.par_chunks_mut(wanted).zip(self.pixels.par_chunks(item)).for_each(|(out, image)| {
            out.copy_from_slice(&picture::fit(image, from, to));
        });
        Self { pixels, labels: self.labels, shape: to.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order() {
        let images = Images { pixels: (0..8).collect(), labels: vec![3, 4, 5, 6], shape: vec![2] };
        let [kept, held] = images.clone().split(&[false, true, false, true]);
        assert_eq!((kept.pixels, kept.labels), (vec![0, 1, 4, 5], vec![3, 5]));
        assert_eq!((held.pixels, held.labels, held.shape), (vec![2, 3, 6, 7], vec![4, 6], vec![2]));
        let [kept, held] = images.clone().split(&[false; 4]);
        assert_eq!((kept, held), (images, Images::none(&[2])));
    }

    #[test]
    fn images_of_another_size_and_other_channels() {
        let images = Images { pixels: vec![10, 30, 20, 40, 0, 0, 0, 0], labels: vec![0, 1], shape: vec![1, 2, 2] };
        assert_eq!(images.clone().fitted([1, 2, 2]), images);
        let small = images.fitted([3, 1, 1]);
        assert_eq!((small.pixels, small.labels), (vec![25, 25, 25, 0, 0, 0], vec![0, 1]));
        assert_eq!(small.shape, [3, 1, 1]);
        let table = Images { pixels: vec![1, 2], labels: vec![0], shape: vec![2] };
        assert_eq!(table.clone().fitted([1, 2, 2]), table);
    }
}
