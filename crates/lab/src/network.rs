use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use hardgrad::diagnose::{Vanishing, WeightCodes, vanishing, weight_codes};
use hardgrad::layers::{BatchNorm, BatchNormConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig};
use hardgrad::ops::{Conv2dOptions, max_pool2d};
use hardgrad::packing::{PackError, Packer};
use hardgrad::parameters;
use hardgrad::quantize::{QuantizeError, Quantizer, QuantizerConfig, RangeMethod, StepClock};
use hardgrad_kernels::images::PixelScale;
use hardgrad_kernels::random::Random;
use hardgrad_runtime::{PackedModel, Pixels, ops};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError, FLOAT_BITS, ModelConfig, QuantizationConfig};
use crate::train::stream;

/// What a network must know of its images and classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkShape {
    /// Height of an image in pixels.
    pub height: usize,
    /// Width of an image in pixels.
    pub width: usize,
    /// Real value of one step of a pixel: x = (pixel - zero_point) scale.
    pub scale: f32,
    /// The pixel value that becomes 0.
    pub zero_point: u8,
    /// Names of the classes, one an output.
    pub class_names: Vec<String>,
}

impl NetworkShape {
    /// How pixels become inputs.
    pub fn pixel_scale(&self) -> PixelScale {
        PixelScale { scale: self.scale, zero_point: self.zero_point }
    }
}

/// Most pixels of a side of an image.
const LARGEST_SIDE: usize = 4096;
/// Largest number of parameters: 1 GiB of float32.
const MAX_PARAMETERS: u64 = 1 << 28;
/// Largest number of values that one layer gives for a batch: 8 GiB of float32.
const MAX_VALUES: u64 = 1 << 31;

impl NetworkShape {
    /// Fails where a network of these settings would not fit into memory with so many training images, or a quantised sum not
    /// into 32 bits.
    pub(crate) fn check(&self, config: &Config, train_images: usize) -> Result<(), ConfigError> {
        if self.height.max(self.width) > LARGEST_SIDE {
            let expected = format!("a set of images of at most {LARGEST_SIDE} pixels a side");
            let found = format!("{} x {}", self.height, self.width);
            return Err(ConfigError::Range { key: "data.directory", expected, found });
        }
        let ModelConfig { channels, kernel_size, hidden } = &config.model;
        let quantization = &config.quantization;
        // Neither a batch nor a sample is larger than the set.
        let images = config.training.batch_size.max(quantization.calibration_images).min(train_images) as u64;
        let taps = (kernel_size * kernel_size) as u64;
        // For each layer: products of one output, outputs, values it gives for one image.
        let (mut height, mut width) = (self.height as u64, self.width as u64);
        let mut inputs = 1;
        let mut layers = Vec::new();
        for &outputs in channels {
            let outputs = outputs as u64;
            layers.push((inputs * taps, outputs, outputs * height * width));
            inputs = outputs;
            if height >= POOL[0] as u64 && width >= POOL[1] as u64 {
                (height, width) = (height / 2, width / 2);
            }
        }
        inputs *= height * width;
        for &outputs in hidden.iter().chain([&self.class_names.len()]) {
            layers.push((inputs, outputs as u64, outputs as u64));
            inputs = outputs as u64;
        }
        let parameters: u64 = layers.iter().map(|(products, outputs, _)| products * outputs).sum();
        let values = images * layers.iter().map(|(_, _, values)| *values).max().unwrap_or(0);
        let refuse =
            |expected: String, found: u64| Err(ConfigError::Range { key: "model", expected, found: found.to_string() });
        if parameters > MAX_PARAMETERS {
            return refuse(
                format!("of at most {MAX_PARAMETERS} parameters; lower model.channels or model.hidden"),
                parameters,
            );
        }
        if values > MAX_VALUES {
            let expected = "smaller: a layer must give at most 2147483648 values a batch; lower model.channels, \
                            training.batch_size or quantization.calibration_images";
            return refuse(expected.to_string(), values);
        }
        let last = layers.len() - 1;
        for (place, &(products, _, _)) in layers.iter().enumerate() {
            let weight_bits = match place {
                place if place == last => quantization.last_layer_bits,
                0 => quantization.first_layer_bits,
                _ => quantization.weight_bits,
            };
            let activation_bits = if place == 0 { 8 } else { quantization.activation_bits };
            let quantized = weight_bits != FLOAT_BITS && activation_bits != FLOAT_BITS;
            if quantized && products << (weight_bits + activation_bits) >= 1 << 31 {
                let expected = format!(
                    "smaller: {products} products of {weight_bits} by {activation_bits} bits in layer {place} can pass 2^31; \
                     use fewer bits or a smaller layer"
                );
                return refuse(expected, products);
            }
        }
        Ok(())
    }
}

/// Window and stride of the pooling after each block.
const POOL: [usize; 2] = [2, 2];

/// Convolution, batch norm, 2x2 max pooling (where the image is large enough), ReLU.
#[derive(Module, Debug)]
pub struct ConvBlock {
    convolution: QuantConv2d,
    norm: BatchNorm,
    pool: bool,
}

/// The small convolutional network of the recipes: blocks, then hidden linear layers with ReLU, then the output.
#[derive(Module, Debug)]
pub struct ConvNet {
    blocks: Vec<ConvBlock>,
    hidden: Vec<QuantLinear>,
    output: QuantLinear,
}

impl ConvNet {
    /// A float network whose weights are drawn from counters of `seed`.
    pub fn new(config: &ModelConfig, shape: &NetworkShape, seed: u64, device: &Device) -> Self {
        let (mut channels, mut height, mut width) = (1, shape.height, shape.width);
        // `draw` sets all weights at the end.
        let random = Random::new(seed, 0, stream::WEIGHTS);
        let kernel = [config.kernel_size; 2];
        let options = Conv2dOptions { padding: [config.kernel_size / 2; 2], ..Conv2dOptions::default() };
        let mut blocks = Vec::new();
        for &channels_out in &config.channels {
            let convolution = QuantConv2dConfig { options, ..QuantConv2dConfig::new([channels, channels_out], kernel) };
            let pool = height >= POOL[0] && width >= POOL[1];
            if pool {
                (height, width) = (height / POOL[0], width / POOL[1]);
            }
            let norm = BatchNormConfig::new(channels_out).init(device);
            blocks.push(ConvBlock { convolution: convolution.init(&random, device), norm, pool });
            channels = channels_out;
        }
        let mut inputs = channels * height * width;
        let mut hidden = Vec::new();
        for &outputs in &config.hidden {
            hidden.push(QuantLinearConfig::new(inputs, outputs).init(&random, device));
            inputs = outputs;
        }
        let output = QuantLinearConfig::new(inputs, shape.class_names.len()).init(&random, device);
        draw(Self { blocks, hidden, output }, seed)
    }

    /// The network with quantisers for all weights and activations; the first layer's input is the 8-bit image itself.
    pub fn quantize(
        self,
        config: &QuantizationConfig,
        shape: &NetworkShape,
        clock: &StepClock,
    ) -> Result<Self, QuantizeError> {
        let Self { blocks, hidden, output } = self;
        let last = blocks.len() + hidden.len();
        let image = QuantizerConfig {
            range: RangeMethod::Fixed,
            fixed_scale: shape.scale,
            fixed_zero_point: i32::from(shape.zero_point),
            ..QuantizerConfig::activations(8)
        };
        let activations = config.activations();
        let settings = |place: usize| {
            let bits = match place {
                place if place == last => config.last_layer_bits,
                0 => config.first_layer_bits,
                _ => config.weight_bits,
            };
            (config.weights(bits), if place == 0 { Some(image.clone()) } else { activations.clone() })
        };
        let mut place = 0;
        let mut next = || {
            place += 1;
            settings(place - 1)
        };
        let blocks = blocks.into_iter().map(|block| {
            let (weights, activations) = next();
            let convolution = block.convolution.quantize(weights.as_ref(), activations.as_ref(), clock)?;
            Ok(ConvBlock { convolution, ..block })
        });
        let blocks = blocks.collect::<Result<_, QuantizeError>>()?;
        let mut linear = |layer: QuantLinear| {
            let (weights, activations) = next();
            layer.quantize(weights.as_ref(), activations.as_ref(), clock)
        };
        let hidden = hidden.into_iter().map(&mut linear).collect::<Result<_, _>>()?;
        Ok(Self { blocks, hidden, output: linear(output)? })
    }

    /// Logits `[batch, classes]` of images `[batch, 1, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.blocks.iter().fold(images, |x, block| block.forward(x));
        let x: Tensor<2> = self.hidden.iter().fold(x.flatten(1, 3), |x, layer| relu(layer.forward(x)));
        self.output.forward(x)
    }

    /// Sets the activation ranges from a sample of images `[batch, 1, height, width]`, layer by layer: each sees what the
    /// quantised layers before it give. `weights` tells whether the weights still have the scale that batch norm knows. Gives the
    /// layers whose range stays as it was, with the reason.
    pub fn calibrate(&mut self, images: Tensor<4>, weights: RangeMethod) -> Vec<(String, QuantizeError)> {
        let mut problems = Vec::new();
        let mut note = |layer: String, result: Result<(), QuantizeError>| {
            problems.extend(result.err().map(|problem| (layer, problem)));
        };
        let mut x = images;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            note(format!("blocks.{index}.convolution"), block.convolution.calibrate(&x));
            if weights == RangeMethod::Dorefa {
                // DoReFa stretches weights to -1..1.
                note(format!("blocks.{index}.norm"), block.norm.calibrate(&block.convolution.forward(x.clone())));
            }
            x = block.forward(x);
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (index, layer) in self.hidden.iter_mut().enumerate() {
            note(format!("hidden.{index}"), layer.calibrate(&x));
            x = relu(layer.forward(x));
        }
        note("output".to_string(), self.output.calibrate(&x));
        problems
    }

    /// The codes of all quantised weights.
    pub(crate) fn weight_codes(&self) -> Vec<WeightCodes> {
        self.of_weights(weight_codes, weight_codes)
    }

    /// The weights that have channels whose quantised values say nothing any more of the weights.
    pub(crate) fn vanishing(&self) -> Vec<Vanishing> {
        self.of_weights(vanishing, vanishing)
    }

    /// What a function gives for the weights of all layers, by their names.
    fn of_weights<T>(
        &self,
        of_convolution: impl Fn(&str, &Param<Tensor<4>>) -> Option<T>,
        of_linear: impl Fn(&str, &Param<Tensor<2>>) -> Option<T>,
    ) -> Vec<T> {
        let blocks = self.blocks.iter().enumerate().map(|(index, block)| {
            of_convolution(&format!("blocks.{index}.convolution.weight"), &block.convolution.weight)
        });
        let hidden = self
            .hidden
            .iter()
            .enumerate()
            .map(|(index, layer)| of_linear(&format!("hidden.{index}.weight"), &layer.weight));
        blocks.chain(hidden).chain([of_linear("output.weight", &self.output.weight)]).flatten().collect()
    }

    /// Calls `visit` with the name of each layer, the quantiser of its input and that input, in the network's order; the images
    /// are plain.
    pub(crate) fn visit_inputs(&self, images: Tensor<4>, visit: &mut dyn FnMut(&str, &Quantizer, Tensor<1>)) {
        let plain = self.clone().valid();
        let mut see = |layer: &str, quantizer: &Option<Quantizer>, x: Tensor<1>| {
            if let Some(quantizer) = quantizer.as_ref().filter(|quantizer| quantizer.is_active()) {
                visit(layer, quantizer, x);
            }
        };
        let mut x = images;
        for (index, block) in plain.blocks.iter().enumerate() {
            let layer = format!("blocks.{index}.convolution");
            see(&layer, &block.convolution.input_quantizer, x.clone().flatten(0, 3));
            x = block.forward(x);
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (index, layer) in plain.hidden.iter().enumerate() {
            see(&format!("hidden.{index}"), &layer.input_quantizer, x.clone().flatten(0, 1));
            x = relu(layer.forward(x));
        }
        see("output", &plain.output.input_quantizer, x.flatten(0, 1));
    }

    /// The packed model, which takes images of this shape.
    pub fn pack(&self, shape: &NetworkShape) -> Result<PackedModel, PackError> {
        let NetworkShape { height, width, scale, zero_point, .. } = *shape;
        let mut packer = Packer::new([1, height, width], Pixels { scale, zero_point });
        let mut x = packer.input();
        for (index, block) in self.blocks.iter().enumerate() {
            let name = |part: &str| format!("blocks.{index}.{part}");
            x = block.convolution.pack(&name("convolution"), &x, &mut packer)?;
            x = block.norm.pack(&name("norm"), &x, &mut packer)?;
            if block.pool {
                x = packer.op(&name("pool"), ops::MaxPool2d::new(POOL), &[&x]);
            }
            x = packer.op(&name("relu"), ops::Relu {}, &[&x]);
        }
        x = packer.op("flatten", ops::Flatten {}, &[&x]);
        for (index, layer) in self.hidden.iter().enumerate() {
            let name = format!("hidden.{index}");
            x = layer.pack(&name, &x, &mut packer)?;
            x = packer.op(&format!("{name}.relu"), ops::Relu {}, &[&x]);
        }
        x = self.output.pack("output", &x, &mut packer)?;
        packer.finish(&x, shape.class_names.clone())
    }
}

impl ConvBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(self.convolution.forward(x));
        relu(if self.pool { max_pool2d(x, POOL, POOL).values() } else { x })
    }
}

/// Draws every weight uniformly within 1/sqrt(inputs of one output), and sets biases to 0.
fn draw(network: ConvNet, seed: u64) -> ConvNet {
    let shapes: Vec<(String, Vec<usize>)> =
        parameters::read(&network).into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
    let mut place = 0;
    parameters::update(network, |name, _, values| {
        let (expected, shape) = &shapes[place];
        assert_eq!(expected, name, "parameters are visited and changed in the same order");
        if name.ends_with("weight") {
            let inputs: usize = if shape.len() == 2 { shape[0] } else { shape[1..].iter().product() };
            let bound = 1.0 / (inputs as f32).sqrt();
            Random::new(seed, place as u32, stream::WEIGHTS).fill_uniform(values);
            values.iter_mut().for_each(|value| *value = (2.0 * *value - 1.0) * bound);
        } else if name.ends_with("bias") {
            values.fill(0.0);
        }
        place += 1;
    })
}
