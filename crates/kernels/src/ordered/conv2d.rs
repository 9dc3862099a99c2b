//! Convolution of one image.

use crate::convolution::{Finish, Forward, Images, Rounding};
use crate::geometry::Conv2dShape;

/// `out` `[channels_out, out_height, out_width]` of one image `x`, `weight` `[channels_out, channels_in / groups, kernel,
/// kernel]` and `bias`, one value an output channel; padding counts as 0.
///
/// `scratch` is working memory that a caller keeps between calls; its content does not matter.
///
/// # Panics
/// If a slice does not have the length that `shape` gives, or [`Conv2dShape::check`] would fail.
pub fn conv2d(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    shape: &Conv2dShape,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) {
    Conv2d::new(weight, bias, shape).forward(x, scratch, out);
}

/// A convolution whose weights are laid out for its sums: [`conv2d`] for weights that are used again.
///
/// ```
/// use hardgrad_kernels::geometry::Conv2dShape;
/// use hardgrad_kernels::ordered::Conv2d;
///
/// let shape = Conv2dShape {
///     channels_in: 1, channels_out: 1, height: 1, width: 3,
///     kernel: [1, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1,
/// };
/// let mut y = [0.0; 2];
/// Conv2d::new(&[1.0, 10.0], Some(&[0.5]), &shape).forward(&[1.0, 2.0, 3.0], &mut Vec::new(), &mut y);
/// assert_eq!(y, [21.5, 32.5]);
/// ```
#[derive(Clone, Debug)]
pub struct Conv2d {
    forward: Forward,
    /// What the sums are multiplied with: nothing.
    ones: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv2d {
    /// A convolution with these weights and biases.
    ///
    /// # Panics
    /// If a slice does not have the length that `shape` gives, or [`Conv2dShape::check`] would fail.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, shape: &Conv2dShape) -> Self {
        assert!(bias.is_none_or(|bias| bias.len() == shape.channels_out), "one bias an output channel");
        Self {
            forward: Forward::new(weight, shape, Rounding::Each),
            ones: vec![1.0; shape.channels_out],
            // A sum that began at 0 is never -0, so that adding 0 leaves it as it is.
            bias: bias.map_or_else(|| vec![0.0; shape.channels_out], <[f32]>::to_vec),
        }
    }

    /// The sizes.
    pub fn shape(&self) -> &Conv2dShape {
        self.forward.shape()
    }

    /// `out` for one image `x`; `scratch` is working memory as for [`conv2d`].
    ///
    /// # Panics
    /// If a slice does not have the length that the shape gives.
    pub fn forward(&self, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        let finish = Finish { multiplier: &self.ones, bias: &self.bias };
        self.forward.image(Images::Float(x), finish, scratch, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::matmul::tests::{bits, normal};
    use super::*;
    use crate::convolution::tests::{each_product, large_shapes, shapes};

    /// One product after another.
    fn plain(x: &[f32], weight: &[f32], bias: Option<&[f32]>, shape: &Conv2dShape) -> Vec<f32> {
        let mut out = vec![0.0f32; shape.output_len()];
        each_product(shape, |i, k, o| {
            let product = x[i] * weight[k];
            out[o] += product;
        });
        if let Some(bias) = bias {
            out.iter_mut().enumerate().for_each(|(o, y)| *y += bias[o / shape.out_pixels()]);
        }
        out
    }

    fn check(shape: &Conv2dShape, with_bias: bool) {
        let (x, weight, bias) =
            (normal(shape.input_len(), 0), normal(shape.weight_len(), 1), normal(shape.channels_out, 2));
        let bias = with_bias.then_some(bias.as_slice());
        // What an earlier call left in the working memory does not matter.
        let (mut scratch, mut out) = (vec![f32::NAN; 777], vec![9.0; shape.output_len()]);
        conv2d(&x, &weight, bias, shape, &mut scratch, &mut out);
        assert!(bits(&out) == bits(&plain(&x, &weight, bias, shape)), "{shape:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn every_bit_is_that_of_the_plain_sum(shape in shapes(), bias: bool, depthwise: bool) {
            let channels = shape.channels_in;
            let by_channel = Conv2dShape { groups: channels, channels_out: 2 * channels, ..shape };
            check(if depthwise { &by_channel } else { &shape }, bias);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(3) })]
        #[test]
        fn several_bands_of_a_large_image_have_the_bits_of_the_plain_sum(shape in large_shapes()) {
            check(&shape, true);
        }
    }
}
