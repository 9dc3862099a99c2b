//! Images as rows of floats, and their batches.

use burn::tensor::Device;
use burn::tensor::{Tensor, TensorData};
use hardgrad_kernels::images::PixelScale;
use hardgrad_kernels::random::Random;
use rayon::prelude::*;

use crate::data::Images;

/// Images of mean 0 and variance 1, with their labels.
pub(super) struct Inputs {
    values: Vec<f32>,
    pixels: usize,
    /// The class of each image.
    pub labels: Vec<u8>,
}

/// Which part of an experiment draws which random numbers.
const ORDER: u32 = 120;

impl Inputs {
    /// The images on the scale that training images give.
    pub fn new(images: &Images, scale: PixelScale) -> Self {
        let values = images.pixels.par_iter().map(|&pixel| scale.apply(pixel)).collect();
        Self { values, pixels: images.height * images.width, labels: images.labels.clone() }
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The images `chosen`, plain, `[chosen, pixels]`, and their labels.
    pub fn chosen(&self, chosen: &[u32]) -> (Tensor<2>, Vec<u8>) {
        let rows = chosen.iter().flat_map(|&image| &self.values[image as usize * self.pixels..][..self.pixels]);
        (self.tensor(rows.copied().collect(), chosen.len()), chosen.iter().map(|&i| self.labels[i as usize]).collect())
    }

    /// The images `first..first + count`, as far as there are any.
    pub fn part(&self, first: usize, count: usize) -> (Tensor<2>, &[u8]) {
        let end = (first + count).min(self.len());
        (
            self.tensor(self.values[first * self.pixels..end * self.pixels].to_vec(), end - first),
            &self.labels[first..end],
        )
    }

    /// All images in the order of an epoch.
    pub fn order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        Random::new(seed, epoch as u32, ORDER).permutation(self.len())
    }

    fn tensor(&self, values: Vec<f32>, rows: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, self.pixels]), &Device::flex())
    }
}
