//! Runs a packed model.
//!
//! The layers run in order over a few images at a time, so that the weights of a linear layer are fetched once for all of
//! them; rayon spreads such groups over threads. Whole-number sums are exact and every real operation concerns one value, so
//! neither the size of a group nor the number of threads can change a bit.

use hardgrad_kernels::geometry::{Conv2dShape, Pool2dShape};
use hardgrad_kernels::{integer, pooling};
use rayon::prelude::*;

use crate::model::Shape;
use crate::{Input, InputQuantizer, LayerKind, PackedError, PackedModel, QuantizeRule, Weight};

/// A model ready to run: weights unpacked, scales multiplied.
#[derive(Clone, Debug)]
pub struct Executor {
    input: Input,
    classes: usize,
    steps: Vec<Step>,
    /// Whether the first step takes whole pixels.
    whole_pixels: bool,
    /// Most images of one group.
    group: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Conv2d { shape: Conv2dShape, products: Products },
    Linear { inputs: usize, outputs: usize, products: Products },
    BatchNorm { plane: usize, multiplier: Vec<f32>, offset: Vec<f32> },
    Relu,
    MaxPool2d(Pool2dShape),
    AvgPool2d(Pool2dShape),
}

/// What a convolution and a linear layer have in common.
#[derive(Clone, Debug)]
struct Products {
    weight: Vec<i16>,
    input: InputQuantizer,
    /// `input_scale * weight_scale` of each output channel.
    scale: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// Working memory of one thread.
#[derive(Default)]
struct Buffers {
    values: Vec<f32>,
    next: Vec<f32>,
    integers: Vec<i16>,
    sums: Vec<i32>,
    scratch: Vec<i16>,
}

impl PackedModel {
    /// Checks the model and lays out its weights for running.
    pub fn plan(&self) -> Result<Executor, PackedError> {
        let shapes = self.check()?;
        let first = Shape::Image([self.input.channels, self.input.height, self.input.width]);
        let before = [&[first], &shapes[..]].concat();
        let steps = self.layers.iter().zip(before).filter_map(|(layer, shape)| self.step(&layer.kind, shape)).collect();
        let first_products = self.layers.iter().find(|layer| layer.kind != LayerKind::Flatten);
        let whole_pixels = first_products
            .and_then(|layer| layer.kind.products())
            .is_some_and(|(_, input, _)| *input == InputQuantizer::Pixels);
        // A megabyte of the largest activation: more images would only leave the cache.
        let largest = shapes.iter().map(|shape| shape.len()).max().unwrap_or(1);
        let group = ((1 << 18) / largest).clamp(1, 16);
        Ok(Executor { input: self.input.clone(), classes: self.class_names.len(), steps, whole_pixels, group })
    }

    /// The step of a layer whose input has the given shape; a flatten layer has none.
    fn step(&self, kind: &LayerKind, shape: Shape) -> Option<Step> {
        let [height, width] = match shape {
            Shape::Image([_, height, width]) => [height, width],
            Shape::Features(_) => [1, 1],
        };
        let pool = kind.pool2d_shape(height, width);
        Some(match kind {
            LayerKind::Conv2d { weight, input, bias, channels_out, .. } => {
                let products = self.products(weight, input, bias, *channels_out);
                Step::Conv2d { shape: kind.conv2d_shape(height, width)?, products }
            }
            LayerKind::Linear { weight, input, bias, inputs, outputs } => {
                let products = self.products(weight, input, bias, *outputs);
                Step::Linear { inputs: *inputs, outputs: *outputs, products }
            }
            LayerKind::BatchNorm { multiplier, offset } => {
                Step::BatchNorm { plane: height * width, multiplier: multiplier.clone(), offset: offset.clone() }
            }
            LayerKind::Relu => Step::Relu,
            LayerKind::MaxPool2d { .. } => Step::MaxPool2d(pool?),
            LayerKind::AvgPool2d { .. } => Step::AvgPool2d(pool?),
            LayerKind::Flatten => return None,
        })
    }

    fn products(&self, weight: &Weight, input: &InputQuantizer, bias: &Option<Vec<f32>>, channels: usize) -> Products {
        let input_scale = input.scale_in(&self.input);
        Products {
            weight: weight.integers().collect(),
            input: input.clone(),
            scale: (0..channels).map(|channel| input_scale * weight.scale_of(channel)).collect(),
            bias: bias.clone(),
        }
    }
}

impl Executor {
    /// Logits `[count, classes]` of `pixels` `[count, channels, height, width]`, on all threads of the current rayon pool.
    ///
    /// Fails where the pixels are not whole images, and with the first image whose logits are not all finite: they could
    /// neither be compared nor turned into probabilities.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>, PackedError> {
        let image = self.input.channels * self.input.height * self.input.width;
        if !pixels.len().is_multiple_of(image) {
            return Err(PackedError::Pixels { found: pixels.len(), image });
        }
        let count = pixels.len() / image;
        let group = count.div_ceil(rayon::current_num_threads()).clamp(1, self.group);
        let mut logits = vec![0.0; count * self.classes];
        logits
            .par_chunks_mut(group * self.classes)
            .zip(pixels.par_chunks(group * image))
            .for_each_init(Buffers::default, |buffers, (logits, pixels)| self.run(pixels, logits, buffers));
        match logits.iter().position(|logit| !logit.is_finite()) {
            Some(place) => {
                let (image, class) = (place / self.classes, place % self.classes);
                Err(PackedError::NotFinite { image, class, value: logits[place] })
            }
            None => Ok(logits),
        }
    }

    /// Probabilities `[count, classes]`: softmax of [`logits`](Self::logits), computed in `f64`; fails as they do.
    pub fn predict(&self, pixels: &[u8]) -> Result<Vec<f32>, PackedError> {
        let mut probabilities = self.logits(pixels)?;
        for row in probabilities.chunks_mut(self.classes) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f64> = row.iter().map(|&logit| (f64::from(logit) - f64::from(largest)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            row.iter_mut().zip(powers).for_each(|(probability, power)| *probability = (power / sum) as f32);
        }
        Ok(probabilities)
    }

    /// Logits of the images of one group.
    fn run(&self, pixels: &[u8], logits: &mut [f32], buffers: &mut Buffers) {
        let count = logits.len() / self.classes;
        if !self.whole_pixels {
            buffers.integers.resize(pixels.len(), 0);
            integer::pixels(pixels, self.input.zero_point, &mut buffers.integers);
            buffers.values.clear();
            buffers.values.extend(buffers.integers.iter().map(|&value| f32::from(value) * self.input.scale));
        }
        for step in &self.steps {
            step.run(count, pixels, self.input.zero_point, buffers);
        }
        logits.copy_from_slice(&buffers.values);
    }
}

impl Step {
    /// Replaces the values of `count` images by what this step makes of them.
    fn run(&self, count: usize, pixels: &[u8], zero_point: u8, buffers: &mut Buffers) {
        match self {
            Self::Conv2d { shape, products } => {
                products.quantize(pixels, zero_point, buffers);
                let Buffers { values, integers, sums, scratch, .. } = buffers;
                sums.resize(shape.output_len(), 0);
                values.resize(count * shape.output_len(), 0.0);
                for (input, out) in integers.chunks(shape.input_len()).zip(values.chunks_mut(shape.output_len())) {
                    integer::conv2d(input, &products.weight, shape, scratch, sums);
                    let planes = sums.chunks(shape.out_pixels()).zip(out.chunks_mut(shape.out_pixels()));
                    for (channel, (sums, out)) in planes.enumerate() {
                        let bias = products.bias.as_ref().map(|bias| bias[channel]);
                        integer::scale_plane(sums, products.scale[channel], bias, out);
                    }
                }
            }
            Self::Linear { inputs, outputs, products } => {
                products.quantize(pixels, zero_point, buffers);
                let Buffers { values, integers, sums, .. } = buffers;
                sums.resize(count * outputs, 0);
                values.resize(count * outputs, 0.0);
                integer::matmul(integers, &products.weight, count, *outputs, *inputs, sums);
                for (sums, out) in sums.chunks(*outputs).zip(values.chunks_mut(*outputs)) {
                    integer::scale_features(sums, &products.scale, products.bias.as_deref(), out);
                }
            }
            Self::BatchNorm { plane, multiplier, offset } => {
                for image in buffers.values.chunks_mut(plane * multiplier.len()) {
                    if *plane == 1 {
                        integer::affine_features(image, multiplier, offset);
                        continue;
                    }
                    for ((values, &multiplier), &offset) in image.chunks_mut(*plane).zip(multiplier).zip(offset) {
                        integer::affine_plane(values, multiplier, offset);
                    }
                }
            }
            Self::Relu => integer::relu(&mut buffers.values),
            Self::MaxPool2d(shape) => pool(shape, buffers, pooling::max_pool2d),
            Self::AvgPool2d(shape) => pool(shape, buffers, pooling::avg_pool2d),
        }
    }
}

fn pool(shape: &Pool2dShape, buffers: &mut Buffers, function: fn(&[f32], &Pool2dShape, &mut [f32])) {
    let planes = buffers.values.len() / (shape.height * shape.width);
    buffers.next.resize(planes * shape.out_height() * shape.out_width(), 0.0);
    function(&buffers.values, shape, &mut buffers.next);
    std::mem::swap(&mut buffers.values, &mut buffers.next);
}

impl Products {
    /// Fills `integers` from the values, or from the pixels.
    fn quantize(&self, pixels: &[u8], zero_point: u8, buffers: &mut Buffers) {
        let Buffers { values, integers, .. } = buffers;
        match self.input {
            InputQuantizer::Pixels => {
                integers.resize(pixels.len(), 0);
                integer::pixels(pixels, zero_point, integers);
            }
            InputQuantizer::Levels { lowest, highest, scale, rule, .. } => {
                integers.resize(values.len(), 0);
                let (lowest, highest) = (lowest as i16, highest as i16);
                match rule {
                    QuantizeRule::Divide => integer::quantize_divide(values, scale, lowest, highest, integers),
                    QuantizeRule::Multiply { factor } => {
                        integer::quantize_multiply(values, factor, lowest, highest, integers);
                    }
                }
            }
        }
    }
}
