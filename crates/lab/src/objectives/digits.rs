use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::{Learner, Objective, ObjectiveEntry, Size, tensor};
use crate::data::digits::{self, CLASSES, Digits, PIXELS};

/// A classifier of handwritten digits whose hidden layer chooses: a linear encoder gives the logits, a linear decoder sees
/// the choices.
///
/// ```text
/// f(x) = cross-entropy of the decoder's output with the label, in nats
/// ```
struct DigitsNetwork {
    size: Size,
    digits: Digits,
}

pub(super) static ENTRY: ObjectiveEntry = ObjectiveEntry {
    name: "digits",
    summary: "cross-entropy of a small network on 8 x 8 digits whose hidden layer chooses",
    variables: 12,
    most: 1024,
    settings: &[],
    make: |size, _, _| Box::new(DigitsNetwork { size, digits: digits::load() }),
};

impl Objective for DigitsNetwork {
    fn size(&self) -> Size {
        self.size
    }

    fn learner(&self, seed: u64, _: f32) -> Learner {
        Learner::network(self.size, seed)
    }

    fn contexts(&self) -> usize {
        self.digits.labels.len()
    }

    fn logits(&self, learner: &Learner, contexts: &[u32]) -> Tensor<3> {
        let pixels = |image: &u32| &self.digits.pixels[*image as usize * PIXELS..][..PIXELS];
        let images: Tensor<2> = tensor(contexts.iter().flat_map(pixels).copied().collect(), [contexts.len(), PIXELS]);
        let Size { variables, categories } = self.size;
        (images - 0.3).matmul(learner.as_network().encoder.val()).reshape([contexts.len(), variables, categories])
    }

    fn cost(&self, learner: &Learner, choices: Tensor<3>, contexts: &[u32]) -> Tensor<1> {
        let [rows, variables, categories] = choices.dims();
        let network = learner.as_network();
        let outputs = choices.reshape([rows, variables * categories]).matmul(network.decoder.val());
        let outputs = outputs + network.bias.val().reshape([1, CLASSES]);
        let mut targets = vec![0.0; rows * CLASSES];
        for (row, image) in contexts.iter().enumerate() {
            targets[row * CLASSES + usize::from(self.digits.labels[*image as usize])] = -1.0;
        }
        (log_softmax(outputs, 1) * tensor(targets, [rows, CLASSES])).sum_dim(1).reshape([rows])
    }
}
