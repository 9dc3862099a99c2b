//! The networks that experiments train, each by name.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use hardgrad::Surrogate;
use hardgrad::ops::{Bounds, Rule, fake_quant, linear, sign};
use hardgrad::parameters;
use hardgrad::quantize::QuantizerConfig;
use hardgrad::zeroth_order::{Perturbed, Probes, Smoothing, quantized};

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::networks::{CLASSES, FirstWeights, LeNet, Mlp, Quantizers, Vit};

/// A network that takes rows of 28 x 28 pixels.
pub(super) trait Subject: Module + 'static {
    /// A network whose weights follow from the seed.
    fn new(seed: u64) -> Self;

    /// Logits of images `[batch, 784]`.
    fn logits(&self, images: Tensor<2>) -> Tensor<2>;

    /// The parameters behind hard functions.
    fn perturbed(&self) -> Vec<Perturbed> {
        quantized(self)
    }

    /// The code of a perturbed value whose quantiser has this step.
    fn code(value: f32, step: f32) -> i32 {
        (value / step).round_ties_even().clamp(-2.0, 1.0) as i32
    }

    /// The slopes of all directions, computed many at a time; none where single passes are as good.
    fn slopes(&self, _probes: &Probes<'_>, _images: &Tensor<2>, _labels: &[u8]) -> Option<Vec<f64>> {
        None
    }

    /// Whether training leaves a parameter as it is.
    fn is_frozen(_name: &str) -> bool {
        false
    }

    /// A copy that shares no running statistics with this network, which a clone does.
    fn valid_copy(&self) -> Self {
        self.valid().train()
    }
}

/// Runs `$body` with `$subject` standing for the network of this name.
macro_rules! with_subject {
    ($name:expr, $subject:ident => $body:expr) => {
        with_subject!(
            $name, $subject => $body,
            "perceptron" = $crate::experiments::subject::Perceptron,
            "two_bit_mlp" = $crate::networks::Mlp,
            "two_bit_lenet" = $crate::networks::LeNet,
            "binary_mlp" = $crate::experiments::subject::BinaryMlp,
            "two_bit_transformer" = $crate::networks::Vit
        )
    };
    ($name:expr, $subject:ident => $body:expr, $($word:literal = $network:ty),+) => {
        match $name {
            $($word => {
                type $subject = $network;
                $body
            })+
            other => Err(LabError::Usage(format!("network must be one of {}, got {other}", [$($word),+].join(", ")))),
        }
    };
}
pub(super) use with_subject;

/// Burn draws first weights from one generator for all threads.
static GENERATOR: Mutex<()> = Mutex::new(());

/// A network drawn from `seed`, whatever other threads draw.
pub(super) fn drawn<M: Module>(seed: u64, make: impl FnOnce() -> M + Send) -> M {
    let alone = || {
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        Device::flex().seed(seed);
        let network = make();
        // Reads, and so draws, all that is still to be drawn.
        let _ = parameters::read(&network);
        network
    };
    // On a thread with a pool of its own: a worker of the common pool that waits for its part of the work may begin another
    // experiment's network, and would wait for the generator that it holds itself.
    thread::scope(|scope| {
        let drawn = scope.spawn(|| {
            let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
            pool.install(alone)
        });
        drawn.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A trainable parameter, uniform within `bound` of 0.
fn uniform<const D: usize>(shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
    let values = Tensor::<D>::random(shape, Distribution::Uniform(-bound, bound), &Device::flex());
    Param::from_tensor(Tensor::from_data(values.into_data(), &Device::flex().autodiff()))
}

/// 784-10-10 with ReLU: all 7,960 weights and biases have 2 bits, on the fixed grid (-1.5, -0.5, 0.5, 1.5) times a scale a
/// layer, with the identity as surrogate.
#[derive(Module, Debug)]
pub(super) struct Perceptron {
    weights: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
}

/// The scales of the two layers of a [`Perceptron`].
pub(super) const PERCEPTRON_SCALES: [f32; 2] = [0.1, 0.5];

/// The widths of a [`Perceptron`].
pub(super) const PERCEPTRON_WIDTHS: [usize; 3] = [784, 10, CLASSES];

/// A value on the four points of a [`Perceptron`]'s grid.
pub(super) fn on_perceptron_grid<const D: usize>(x: Tensor<D>, scale: f32) -> Tensor<D> {
    let half = scale / 2.0;
    fake_quant(x - half, &[scale], &[Bounds::signed(2)], None, Rule::Identity) + half
}

impl Subject for Perceptron {
    fn new(seed: u64) -> Self {
        drawn(seed, || {
            let pairs = || PERCEPTRON_WIDTHS.windows(2).map(|pair| (pair[0], pair[1], 1.0 / (pair[0] as f64).sqrt()));
            let weights = pairs().map(|(inputs, outputs, bound)| uniform([inputs, outputs], bound));
            let biases = pairs().map(|(_, outputs, bound)| uniform([outputs], bound));
            Self { weights: weights.collect(), biases: biases.collect() }
        })
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let layer = |x: Tensor<2>, place: usize| {
            let scale = PERCEPTRON_SCALES[place];
            let weight = on_perceptron_grid(self.weights[place].val(), scale);
            linear(x, weight, Some(on_perceptron_grid(self.biases[place].val(), scale)))
        };
        layer(relu(layer(images, 0)), 1)
    }

    fn perturbed(&self) -> Vec<Perturbed> {
        let of = |field: &'static str| {
            PERCEPTRON_SCALES.into_iter().enumerate().map(move |(place, step)| Perturbed {
                name: format!("{field}.{place}"),
                step,
                smoothing: Smoothing::round(),
            })
        };
        of("weights").chain(of("biases")).collect()
    }

    fn code(value: f32, step: f32) -> i32 {
        // The thresholds are -1, 0 and 1 steps.
        (value / step).floor().clamp(-2.0, 1.0) as i32
    }

    fn slopes(&self, probes: &Probes<'_>, images: &Tensor<2>, labels: &[u8]) -> Option<Vec<f64>> {
        (probes.directions >= DIRECTIONS_TOGETHER).then(|| {
            let blocks = (0..probes.directions).step_by(DIRECTIONS_TOGETHER as usize);
            let block = |first| {
                let count = DIRECTIONS_TOGETHER.min(probes.directions - first);
                block_of_slopes(probes, first..first + count, images, labels)
            };
            blocks.flat_map(block).collect()
        })
    }
}

/// Directions of a [`Perceptron`] whose losses are computed in one pass.
const DIRECTIONS_TOGETHER: u32 = 64;

/// The slopes of some directions: all networks side by side, one product for the first layers of all.
fn block_of_slopes(probes: &Probes<'_>, directions: Range<u32>, images: &Tensor<2>, labels: &[u8]) -> Vec<f64> {
    let networks: Vec<(u32, f64)> = directions.flat_map(|direction| [(direction, 1.0), (direction, -1.0)]).collect();
    let count = networks.len();
    let [inputs, hidden, outputs] = PERCEPTRON_WIDTHS;
    // [network, values of the parameter]
    let hard = |name: &str, values: usize, scale: f32| -> Tensor<2> {
        let mut all = vec![0.0; count * values];
        all.par_chunks_mut(values).zip(&networks).for_each(|(out, &(direction, side))| {
            probes.values(name, direction, side, out);
        });
        on_perceptron_grid(Tensor::from_data(TensorData::new(all, [count, values]), &Device::flex()), scale)
    };
    let [first, second] = PERCEPTRON_SCALES;
    let [batch, _] = images.dims();
    let weight: Tensor<2> = hard("weights.0", inputs * hidden, first)
        .reshape([count, inputs, hidden])
        .permute([1, 0, 2])
        .reshape([inputs, count * hidden]);
    let x = images.clone().matmul(weight) + hard("biases.0", hidden, first).reshape([1, count * hidden]);
    let x: Tensor<3> = relu(x).reshape([batch, count, hidden]).permute([1, 0, 2]);
    let weight: Tensor<3> = hard("weights.1", hidden * outputs, second).reshape([count, hidden, outputs]);
    let logits: Tensor<3> = x.matmul(weight) + hard("biases.1", outputs, second).reshape([count, 1, outputs]);
    let log_probabilities = log_softmax(logits, 2).into_data().try_into_vec::<f32>().expect("logits are f32");
    let losses: Vec<f64> = log_probabilities
        .chunks(batch * outputs)
        .map(|rows| {
            let right = rows.chunks(outputs).zip(labels).map(|(row, &label)| f64::from(row[usize::from(label)]));
            -right.sum::<f64>() / batch as f64
        })
        .collect();
    losses.chunks(2).map(|pair| (pair[0] - pair[1]) / 2.0).collect()
}

/// 784-64-64-10 with ReLU: 2-bit weights with a learned step a layer, float activations.
impl Subject for Mlp {
    fn new(seed: u64) -> Self {
        let weights = QuantizerConfig { per_channel: false, ..QuantizerConfig::weights(2) };
        let quantizers = Quantizers { weights: Some(weights), activations: None };
        Mlp::new(&[784, 64, 64, CLASSES], &quantizers, &FirstWeights::new(seed))
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        self.forward(images)
    }
}

/// Two convolutions with 4 and 8 channels, 64 hidden values: 2-bit weights and activations with learned steps.
impl Subject for LeNet {
    fn new(seed: u64) -> Self {
        let weights = QuantizerConfig { per_channel: false, ..QuantizerConfig::weights(2) };
        let quantizers = Quantizers { weights: Some(weights), activations: Some(QuantizerConfig::activations(2)) };
        LeNet::new([4, 8], 64, &quantizers, &FirstWeights::new(seed))
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let [batch, _] = images.dims();
        self.forward(images.reshape([batch, 1, 28, 28]))
    }
}

/// 784-128-128-10: weights are signs (surrogate tanh) over the root of their number, hidden values are signs (surrogate
/// clipped).
#[derive(Module, Debug)]
pub(super) struct BinaryMlp {
    weights: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
}

/// The surrogate of the weights' signs.
const BINARY_SURROGATE: Surrogate = Surrogate::Tanh;

impl Subject for BinaryMlp {
    fn new(seed: u64) -> Self {
        drawn(seed, || {
            let widths = [784, 128, 128, CLASSES];
            let weights = widths.windows(2).map(|pair| uniform([pair[0], pair[1]], 1.0));
            let biases = widths[1..].iter().map(|&outputs| uniform([outputs], 1e-3));
            Self { weights: weights.collect(), biases: biases.collect() }
        })
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let last = self.weights.len() - 1;
        (0..=last).fold(images, |x, place| {
            let weight = sign(self.weights[place].val(), BINARY_SURROGATE);
            let [inputs, _] = weight.dims();
            let y = linear(x, weight * (1.0 / (inputs as f32).sqrt()), Some(self.biases[place].val()));
            if place == last { y } else { sign(y, Surrogate::Clipped) }
        })
    }

    fn perturbed(&self) -> Vec<Perturbed> {
        let Some(smoothing) = Smoothing::sign(BINARY_SURROGATE) else { return Vec::new() };
        let names = (0..self.weights.len()).map(|place| format!("weights.{place}"));
        names.map(|name| Perturbed { name, step: 1.0, smoothing }).collect()
    }

    fn code(value: f32, _: f32) -> i32 {
        i32::from(value >= 0.0)
    }
}

/// A vision transformer of two layers, 32 wide, over 16 patches of 7 x 7 pixels: 2-bit weights with a learned step a channel.
impl Subject for Vit {
    fn new(seed: u64) -> Self {
        let quantizers = Quantizers { weights: Some(QuantizerConfig::weights(2)), activations: None };
        Vit::new(49, [32, 2, 2], &quantizers, &FirstWeights::new(seed))
    }

    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let [batch, _] = images.dims();
        // Rows of 4 x 4 patches of 7 x 7 pixels.
        let patches = images.reshape([batch, 4, 7, 4, 7]).permute([0, 1, 3, 2, 4]).reshape([batch, 16, 49]);
        self.forward(patches)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hardgrad::random::Random;
    use hardgrad::zeroth_order::{GradientConfig, Guidance, MethodName, Moment};

    use super::*;
    use crate::experiments::training::loss;

    #[test]
    fn many_directions_at_once_have_the_slopes_of_single_passes() {
        let network = Perceptron::new(3);
        let mut pixels = vec![0.0; 9 * 784];
        Random::new(4, 0, 0).fill_uniform(&mut pixels);
        let images = Tensor::<2>::from_data(TensorData::new(pixels, [9, 784]), &Device::flex());
        let labels = [0, 1, 2, 3, 4, 5, 6, 7, 8];
        let config = GradientConfig { method: MethodName::Spsa, directions: 70, ..GradientConfig::default() };
        let guidance = Guidance::new(&config).unwrap().unwrap();
        let moment = Moment { seed: 1, step: 2, progress: 0.0 };
        let (mut together, mut single) = (BTreeMap::new(), BTreeMap::new());
        let slopes = |probes: &Probes<'_>| network.slopes(probes, &images, &labels).unwrap();
        guidance.guide_by_slopes(&network, &network.perturbed(), &mut together, moment, slopes).unwrap();
        let one = |probe: &Perceptron| loss(probe.logits(images.clone()), &labels);
        guidance.guide(&network, &network.perturbed(), &mut single, moment, one).unwrap();
        for (name, values) in &together {
            let most = single[name].iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(most > 0.0);
            for (a, b) in values.iter().zip(&single[name]) {
                assert!((a - b).abs() < 1e-4 * most, "{name}: {a}, {b}");
            }
        }
    }

    #[test]
    fn the_perceptron_has_7960_quantised_values() {
        let network = Perceptron::new(0);
        let names: Vec<String> = network.perturbed().into_iter().map(|perturbed| perturbed.name).collect();
        let found = parameters::read(&network).into_iter().map(|parameter| {
            assert!(names.contains(&parameter.name), "{}", parameter.name);
            parameter.values.len()
        });
        assert_eq!(found.sum::<usize>(), 7_960);
    }
}
