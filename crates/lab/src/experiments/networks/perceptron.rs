use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::ops::{Bounds, Rule, fake_quant, linear};
use hardgrad::zeroth_order::{Perturbed, Probes, Smoothing};
use rayon::prelude::*;

use super::first_values::{CLASSES, first_values, uniform};
use crate::experiments::subject::Subject;

/// 784-10-10 with ReLU: all 7,960 weights and biases have 2 bits, on the fixed grid (-1.5, -0.5, 0.5, 1.5) times a scale a
/// layer, with the identity as surrogate.
#[derive(Module, Debug)]
pub(in crate::experiments) struct Perceptron {
    weights: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
}

/// The scales of the two layers.
const SCALES: [f32; 2] = [0.1, 0.5];

const WIDTHS: [usize; 3] = [784, 10, CLASSES];

/// A value on the four points of the grid.
fn on_grid<const D: usize>(x: Tensor<D>, scale: f32) -> Tensor<D> {
    let half = scale / 2.0;
    fake_quant(x - half, &[scale], &[Bounds::signed(2)], None, Rule::Identity) + half
}

impl Perceptron {
    /// Weights and biases uniform within 1/sqrt(inputs).
    pub fn new(seed: u64) -> Self {
        let layers = || WIDTHS.windows(2).enumerate().map(|(place, pair)| (place, pair[0], pair[1]));
        let bound = |inputs: usize| 1.0 / (inputs as f32).sqrt();
        let weights = layers()
            .map(|(place, inputs, outputs)| uniform([inputs, outputs], bound(inputs), &first_values(seed, place)));
        let biases = layers().map(|(place, inputs, outputs)| {
            uniform([outputs], bound(inputs), &first_values(seed, SCALES.len() + place))
        });
        Self { weights: weights.collect(), biases: biases.collect() }
    }
}

impl Subject for Perceptron {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let layer = |x: Tensor<2>, place: usize| {
            let scale = SCALES[place];
            linear(x, on_grid(self.weights[place].val(), scale), Some(on_grid(self.biases[place].val(), scale)))
        };
        layer(relu(layer(images, 0)), 1)
    }

    fn perturbed(&self) -> Vec<Perturbed> {
        let of = |field: &'static str| {
            SCALES.into_iter().enumerate().map(move |(place, step)| Perturbed {
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
        (probes.directions >= TOGETHER).then(|| {
            let blocks = (0..probes.directions).step_by(TOGETHER as usize);
            let block = |first| {
                let count = TOGETHER.min(probes.directions - first);
                block_of_slopes(probes, first..first + count, images, labels)
            };
            blocks.flat_map(block).collect()
        })
    }
}

/// Directions whose losses are computed in one pass.
const TOGETHER: u32 = 64;

/// The slopes of some directions: all networks side by side, one product for the first layers of all.
fn block_of_slopes(probes: &Probes<'_>, directions: Range<u32>, images: &Tensor<2>, labels: &[u8]) -> Vec<f64> {
    let networks: Vec<(u32, f64)> = directions.flat_map(|direction| [(direction, 1.0), (direction, -1.0)]).collect();
    let count = networks.len();
    let [inputs, hidden, outputs] = WIDTHS;
    // [network, values of the parameter]
    let hard = |name: &str, values: usize, scale: f32| -> Tensor<2> {
        let mut all = vec![0.0; count * values];
        all.par_chunks_mut(values).zip(&networks).for_each(|(out, &(direction, side))| {
            probes.values(name, direction, side, out);
        });
        on_grid(Tensor::from_data(TensorData::new(all, [count, values]), &Device::flex()), scale)
    };
    let [first, second] = SCALES;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hardgrad::parameters;
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
    fn it_has_7960_quantised_values() {
        let network = Perceptron::new(0);
        let names: Vec<String> = network.perturbed().into_iter().map(|perturbed| perturbed.name).collect();
        let found = parameters::read(&network).into_iter().map(|parameter| {
            assert!(names.contains(&parameter.name), "{}", parameter.name);
            parameter.values.len()
        });
        assert_eq!(found.sum::<usize>(), 7_960);
    }
}
