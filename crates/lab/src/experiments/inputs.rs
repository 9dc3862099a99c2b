//! Images of a set as inputs of a network, batch by batch; the set itself stays bytes.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::random::Random;
use hardgrad_kernels::images::PixelScale;
use rayon::prelude::*;

use crate::data::Images;
use crate::streams;

/// The first images of a set, with their labels; inputs have the mean 0 and the variance 1 that the scale gives.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    images: &'a Images,
    count: usize,
    scale: PixelScale,
}

impl<'a> Inputs<'a> {
    /// The first `count` images, all for 0.
    pub fn new(images: &'a Images, count: usize, scale: PixelScale) -> Self {
        let count = if count == 0 { images.len() } else { count.min(images.len()) };
        Self { images, count, scale }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// The images `chosen`, plain, `[chosen, pixels]`, and their labels.
    pub fn chosen(&self, chosen: &[u32]) -> (Tensor<2>, Vec<u8>) {
        let labels = chosen.iter().map(|&image| self.images.labels[image as usize]);
        (self.rows(chosen), labels.collect())
    }

    /// The images `first..first + count`, as far as there are any.
    pub fn part(&self, first: usize, count: usize) -> (Tensor<2>, &'a [u8]) {
        let end = first.saturating_add(count).min(self.count);
        let chosen: Vec<u32> = (first as u32..end as u32).collect();
        (self.rows(&chosen), &self.images.labels[first..end])
    }

    /// All images in the order of an epoch.
    pub fn order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        Random::new(seed, epoch as u32, streams::EXPERIMENT_ORDER).permutation(self.count)
    }

    fn rows(&self, chosen: &[u32]) -> Tensor<2> {
        let pixels = self.images.item_len();
        let mut values = vec![0.0; chosen.len() * pixels];
        values.par_chunks_mut(pixels).zip(chosen).for_each(|(row, &image)| {
            let bytes = &self.images.pixels[image as usize * pixels..][..pixels];
            row.iter_mut().zip(bytes).for_each(|(value, &pixel)| *value = self.scale.apply(pixel));
        });
        Tensor::from_data(TensorData::new(values, [chosen.len(), pixels]), &Device::flex())
    }
}
