//! The forward pass: what all images of a convolution share, and one image of it.

use super::planes::{Planes, gather};
use super::sums::{Finish, PackedWeights, rounded_sums, sums};
use super::{Images, input_planes, room};
use crate::geometry::Conv2dShape;

/// How a product is added to a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// With one rounding where the processor can: twice as fast, and the last bits depend on the level.
    Fused,
    /// First the product is rounded, then the sum: the same bits at every level.
    Each,
}

/// How a convolution sees its images.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub planes: Planes,
    /// Where each tap finds the first pixel of an output.
    offsets: Vec<u32>,
    rounding: Rounding,
}

impl View {
    pub fn new(planes: Planes, rounding: Rounding) -> Self {
        Self { offsets: planes.offsets(), planes, rounding }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.offsets.len()
    }

    /// One image (of one group) convolved, `out` `[outputs, pixels]`; the scratch is the [`room`] of the planes.
    pub fn convolve(
        &self,
        image: Images<'_>,
        weights: &PackedWeights,
        finish: Finish<'_>,
        scratch: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { planes, offsets, rounding } = self;
        let [rows, columns] = planes.out;
        assert!(out.len() >= finish.bias.len() * rows * columns && weights.taps() == offsets.len());
        for (first, count) in planes.bands() {
            gather(planes, image, first, scratch);
            // SAFETY: the scratch holds the planes and a register more; the band lies within each output, which are all there.
            #[allow(unsafe_code)]
            unsafe {
                let (out, pixels, stride) = (out.as_mut_ptr().add(first * columns), count * columns, rows * columns);
                match rounding {
                    Rounding::Fused => sums(scratch, offsets, weights, finish, pixels, out, stride),
                    Rounding::Each => rounded_sums(scratch, offsets, weights, finish, pixels, out, stride),
                }
            }
        }
    }
}

/// A convolution whose weights are laid out for its sums.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    shape: Conv2dShape,
    view: View,
    /// One a group.
    weights: Vec<PackedWeights>,
}

impl Forward {
    pub fn new(weight: &[f32], shape: &Conv2dShape, rounding: Rounding) -> Self {
        assert_eq!(weight.len(), shape.weight_len(), "weight of {shape:?}");
        let (outputs, taps) = (shape.channels_out / shape.groups, shape.patch_len());
        let weights = weight.chunks_exact(outputs * taps).map(|weight| PackedWeights::of_rows(weight, outputs, taps));
        Self { shape: *shape, weights: weights.collect(), view: View::new(input_planes(shape), rounding) }
    }

    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// One image; `finish` holds a value for each output channel, and the scratch is kept between images.
    pub fn image(&self, image: Images<'_>, finish: Finish<'_>, scratch: &mut Vec<f32>, y: &mut [f32]) {
        let shape = &self.shape;
        assert_eq!([image.len(), y.len()], [shape.input_len(), shape.output_len()], "one image of {shape:?}");
        assert_eq!([finish.multiplier.len(), finish.bias.len()], [shape.channels_out; 2]);
        let (group_len, outputs) = (shape.input_len() / shape.groups, shape.channels_out / shape.groups);
        let scratch = room(scratch, &self.view.planes);
        for (group, weights) in self.weights.iter().enumerate() {
            let (image, first) = (image.part(group * group_len, group_len), group * outputs);
            let range = first..first + outputs;
            let finish = Finish { multiplier: &finish.multiplier[range.clone()], bias: &finish.bias[range] };
            let y = &mut y[first * shape.out_pixels()..][..outputs * shape.out_pixels()];
            self.view.convolve(image, weights, finish, scratch, y);
        }
    }
}
