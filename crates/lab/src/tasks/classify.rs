//! Labelled inputs in classes: cross-entropy, accuracy.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use hardgrad::network::{Network, Value};
use hardgrad_kernels::images::Augmentation;
use hardgrad_kernels::random::Random;

use super::{At, Task};
use crate::config::Config;
use crate::data::Dataset;
use crate::outputs::{correct, logits, total_loss};
use crate::train::metrics::{LOSS, Metric, Metrics};
use crate::train::step::cross_entropy;
use crate::{InputFormat, LabError, streams};

/// The share that is classified correctly.
const ACCURACY: &str = "accuracy";

const METRICS: [Metric; 2] = [
    Metric { name: LOSS, axis: "cross-entropy (nats)", share: false },
    Metric { name: ACCURACY, axis: "classified correctly (%)", share: true },
];

/// Classification of a data set.
pub(crate) struct Classify {
    /// The data.
    pub data: Dataset,
    /// How its bytes become inputs.
    pub input: InputFormat,
    seed: u64,
    batch_size: usize,
    augmentation: Augmentation,
    smoothing: f32,
    /// The order of the epoch that was asked for last.
    order: Mutex<Option<Order>>,
}

/// The order of the images in an epoch.
struct Order {
    stage: usize,
    epoch: u64,
    images: Arc<Vec<u32>>,
}

/// Inputs and labels of a step.
pub(crate) struct Batch {
    /// The inputs, plain.
    pub inputs: Value,
    /// Their classes.
    pub labels: Vec<u8>,
}

impl Classify {
    /// Classification of these data with the settings of a run.
    pub fn new(config: &Config, data: Dataset) -> Self {
        Self {
            input: InputFormat::of(&data),
            seed: config.seed,
            batch_size: batch_size(config, &data),
            augmentation: Augmentation::from(&config.augmentation),
            smoothing: config.training.label_smoothing as f32,
            order: Mutex::new(None),
            data,
        }
    }

    /// The order of the images in an epoch: whole batches of it are taken, and what is left over is another rest each epoch.
    fn order(&self, stage: usize, epoch: u64) -> Arc<Vec<u32>> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = order.as_ref().filter(|order| (order.stage, order.epoch) == (stage, epoch)) {
            return order.images.clone();
        }
        let random = Random::new(self.seed, epoch as u32, streams::ORDER + stage as u32);
        let images = Arc::new(random.permutation(self.data.train.len()));
        *order = Some(Order { stage, epoch, images: images.clone() });
        images
    }

    /// A few inputs that stand for all: of the validation data, or of the training data where there are none.
    pub fn sample(&self) -> Value {
        let Dataset { train, validation, .. } = &self.data;
        self.input.first(if validation.is_empty() { train } else { validation }, self.batch_size)
    }
}

/// Images of a step: no more than there are.
fn batch_size(config: &Config, data: &Dataset) -> usize {
    config.training.batch_size.min(data.train.len())
}

/// Whole batches only.
pub(crate) fn steps_an_epoch(config: &Config, data: &Dataset) -> u64 {
    (data.train.len() / batch_size(config, data)) as u64
}

impl Task for Classify {
    type Network = Network;
    type Batch = Batch;

    fn steps_an_epoch(&self) -> u64 {
        (self.data.train.len() / self.batch_size) as u64
    }

    fn batch(&self, At { stage, step }: At) -> Batch {
        let (epoch, place) = (step / self.steps_an_epoch(), step % self.steps_an_epoch());
        let (order, first) = (self.order(stage, epoch), place as usize * self.batch_size);
        let chosen = &order[first..first + self.batch_size];
        let random = Random::new(self.seed, step as u32, streams::AUGMENTATION + stage as u32);
        let inputs = self.input.chosen(&self.data.train, chosen, self.augmentation, random);
        let labels = chosen.iter().map(|&image| self.data.train.labels[image as usize]).collect();
        Batch { inputs, labels }
    }

    fn loss(&self, network: &Network, batch: &Batch, metrics: Option<&mut Metrics>) -> Result<Tensor<1>, LabError> {
        let logits = network.forward(batch.inputs.clone());
        if let Some(metrics) = metrics {
            let values = logits.clone().inner().into_data().try_into_vec::<f32>().expect("logits are f32");
            let correct = correct(&values, &batch.labels, self.input.classes());
            metrics.add(ACCURACY, correct as f64, batch.labels.len() as u64);
        }
        Ok(cross_entropy(logits, &batch.labels, self.smoothing))
    }

    fn validate(&self, network: &Network, metrics: &mut Metrics) -> Result<(), LabError> {
        let images = &self.data.validation;
        let (logits, _) = logits(network, images, &self.input);
        let (classes, count) = (self.input.classes(), images.len() as u64);
        metrics.add(LOSS, total_loss(&logits, &images.labels, classes), count);
        metrics.add(ACCURACY, correct(&logits, &images.labels, classes) as f64, count);
        Ok(())
    }

    fn metrics(&self) -> &'static [Metric] {
        &METRICS
    }
}
