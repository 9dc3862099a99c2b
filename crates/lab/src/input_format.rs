//! What a network must know of its data, and the way from bytes to its inputs.

use hardgrad::coded::CodedTensor;
use hardgrad::network::Value;
use hardgrad_kernels::images::{self, Augmentation, ImageSize, PixelScale};
use hardgrad_kernels::random::Random;
use hardgrad_runtime::Pixels;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Images};

/// What the inputs of a network are, and what its outputs stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFormat {
    /// Shape of one input: `[channels, height, width]` of an image, `[features]` of a row of a table.
    pub shape: Vec<usize>,
    /// Real value of one step of a byte: x = (byte - zero_point) scale.
    pub scale: f32,
    /// The byte that becomes 0.
    pub zero_point: u8,
    /// Names of the classes, one an output.
    pub class_names: Vec<String>,
}

impl InputFormat {
    /// That of a data set: the scale gives its training data mean 0 and variance 1.
    pub(crate) fn of(data: &Dataset) -> Self {
        let PixelScale { scale, zero_point } = PixelScale::of(&data.train.pixels);
        Self { shape: data.train.shape.clone(), scale, zero_point, class_names: data.class_names.clone() }
    }

    /// How bytes become inputs.
    pub fn pixels(&self) -> Pixels {
        Pixels { scale: self.scale, zero_point: self.zero_point }
    }

    /// Bytes of one input.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether an input has no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Whether a model can have such a format: one that came from outside is not trusted.
    pub(crate) fn can_be(&self) -> bool {
        matches!(self.shape.len(), 1 | 3)
            && self.shape.iter().all(|&size| size > 0)
            && (1..=65_536).contains(&self.class_names.len())
            && self.scale > 0.0
            && self.scale.is_finite()
    }

    /// The inputs `[count, ...]` that these bytes are; plain, and codes still.
    ///
    /// # Panics
    /// If there are not `count` inputs of the shape, or the shape has neither one nor three axes.
    pub(crate) fn value(&self, bytes: Vec<u8>, count: usize) -> Value {
        match self.shape[..] {
            [features] => CodedTensor::from_bytes(bytes, [count, features], self.pixels()).into(),
            [channels, height, width] => {
                CodedTensor::from_bytes(bytes, [count, channels, height, width], self.pixels()).into()
            }
            _ => panic!("inputs of shape {:?}", self.shape),
        }
    }

    /// The chosen ones of a set as inputs, with random changes; rows of a table are not changed.
    pub(crate) fn chosen(&self, set: &Images, chosen: &[u32], augmentation: Augmentation, random: Random) -> Value {
        let (size, augmentation) = match set.shape[..] {
            [channels, height, width] => (ImageSize { channels, height, width }, augmentation),
            _ => (ImageSize { channels: 1, height: 1, width: self.len() }, Augmentation::NONE),
        };
        let mut bytes = vec![0; chosen.len() * self.len()];
        images::bytes(&set.pixels, size, chosen, augmentation, random, &mut bytes);
        self.value(bytes, chosen.len())
    }

    /// The first ones of a set as inputs, unchanged.
    pub(crate) fn first(&self, set: &Images, count: usize) -> Value {
        self.part(set, 0, count.min(set.len()))
    }

    /// `count` of a set as inputs, from `first` on, unchanged.
    pub(crate) fn part(&self, set: &Images, first: usize, count: usize) -> Value {
        let len = self.len();
        self.value(set.pixels[first * len..][..count * len].to_vec(), count)
    }
}

/// `28 x 28 x 3` for images (height, width, channels), `12 features` for tables.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    match shape {
        [channels, height, width] => {
            format!("{height} x {width} pixels with {channels} channel{}", if *channels == 1 { "" } else { "s" })
        }
        _ => format!("{} features", shape.iter().product::<usize>()),
    }
}

#[cfg(test)]
mod tests {
    use hardgrad::coded::Activation;

    use super::*;

    fn format(shape: &[usize]) -> InputFormat {
        InputFormat { shape: shape.to_vec(), scale: 0.5, zero_point: 1, class_names: vec!["a".into(), "b".into()] }
    }

    fn set(shape: &[usize], count: usize) -> Images {
        let pixels = (0..count * shape.iter().product::<usize>()).map(|value| value as u8).collect();
        Images { pixels, labels: vec![0; count], shape: shape.to_vec() }
    }

    #[test]
    fn bytes_become_codes_of_the_rank_of_their_shape() {
        let Value::Image(Activation::Coded(image)) = format(&[1, 1, 2]).value(vec![1, 3], 1) else {
            panic!("an image")
        };
        assert_eq!(image.dims(), [1, 1, 1, 2]);
        assert_eq!(image.decode().into_data().try_into_vec::<f32>().unwrap(), [0.0, 1.0]);
        let Value::Features(Activation::Coded(row)) = format(&[2]).value(vec![1, 3, 5, 0], 2) else { panic!("rows") };
        assert_eq!(row.decode().into_data().try_into_vec::<f32>().unwrap(), [0.0, 1.0, 2.0, -0.5]);
    }

    #[test]
    fn rows_of_a_table_are_chosen_and_not_mirrored() {
        let changes = Augmentation { horizontal_flip: true, shift: 2 };
        let rows = format(&[3]).chosen(&set(&[3], 4), &[2, 0], changes, Random::new(0, 0, 0));
        let Value::Features(Activation::Coded(rows)) = rows else { panic!("rows") };
        let found = rows.decode().into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(found, [2.5, 3.0, 3.5, -0.5, 0.0, 0.5]);
    }

    #[test]
    fn formats_that_cannot_be_are_seen() {
        assert!(format(&[1, 2, 3]).can_be() && format(&[4]).can_be());
        assert!(!format(&[1, 2]).can_be() && !format(&[]).can_be() && !format(&[0]).can_be());
        assert!(!InputFormat { scale: f32::NAN, ..format(&[4]) }.can_be());
        assert!(!InputFormat { class_names: Vec::new(), ..format(&[4]) }.can_be());
    }

    #[test]
    fn shapes_in_words() {
        assert_eq!(shape_text(&[3, 28, 32]), "28 x 32 pixels with 3 channels");
        assert_eq!(shape_text(&[1, 28, 28]), "28 x 28 pixels with 1 channel");
        assert_eq!(shape_text(&[12]), "12 features");
    }
}
