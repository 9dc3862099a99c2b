use burn::module::{Module, Param};
use burn::tensor::Tensor;
use hardgrad::Surrogate;
use hardgrad::ops::{linear, sign};
use hardgrad::zeroth_order::{Perturbed, Smoothing};

use super::first_values::{CLASSES, first_values, uniform};
use crate::experiments::subject::Subject;

/// 784-128-128-10: weights are signs (surrogate tanh) over the root of their number, hidden values are signs (surrogate
/// clipped).
#[derive(Module, Debug)]
pub(in crate::experiments) struct BinaryMlp {
    weights: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
}

const WIDTHS: [usize; 4] = [784, 128, 128, CLASSES];

/// The surrogate of the weights' signs.
const SURROGATE: Surrogate = Surrogate::Tanh;

impl BinaryMlp {
    /// Weights uniform within 1, biases within 0.001.
    pub fn new(seed: u64) -> Self {
        let layers = || WIDTHS.windows(2).enumerate();
        let weights = layers().map(|(place, pair)| uniform([pair[0], pair[1]], 1.0, &first_values(seed, place)));
        let biases = layers().map(|(place, pair)| uniform([pair[1]], 1e-3, &first_values(seed, WIDTHS.len() + place)));
        Self { weights: weights.collect(), biases: biases.collect() }
    }
}

impl Subject for BinaryMlp {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        let last = self.weights.len() - 1;
        (0..=last).fold(images, |x, place| {
            let weight = sign(self.weights[place].val(), SURROGATE);
            let [inputs, _] = weight.dims();
            let y = linear(x, weight * (1.0 / (inputs as f32).sqrt()), Some(self.biases[place].val()));
            if place == last { y } else { sign(y, Surrogate::Clipped) }
        })
    }

    fn perturbed(&self) -> Vec<Perturbed> {
        let Some(smoothing) = Smoothing::sign(SURROGATE) else { return Vec::new() };
        let names = (0..self.weights.len()).map(|place| format!("weights.{place}"));
        names.map(|name| Perturbed { name, step: 1.0, smoothing }).collect()
    }

    fn code(value: f32, _: f32) -> i32 {
        i32::from(value >= 0.0)
    }
}
