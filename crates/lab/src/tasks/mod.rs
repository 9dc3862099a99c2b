//! Tasks: what a network is trained for. A task gives batches, a loss, and an evaluation.

pub(crate) mod classify;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::LabError;
use crate::train::metrics::{Metric, Metrics};

/// Where in training a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Number of the stage, from 0.
    pub stage: usize,
    /// Steps done in it.
    pub step: u64,
}

/// What a network is trained for.
///
/// ```text
/// batch = f(seed, stage, step)        loss = f(network, batch)        validation = f(network)
/// ```
pub(crate) trait Task: Sync {
    /// The network, or the networks together.
    type Network: Module;
    /// What a step trains on.
    type Batch;

    /// Steps of an epoch.
    fn steps_an_epoch(&self) -> u64;

    /// The batch of a step: a function of the seed and of where the step is, and of nothing else.
    fn batch(&self, at: At) -> Self::Batch;

    /// The loss of a network on a batch. What else is known of it, such as the parts of the loss, goes into `metrics` where they
    /// are wanted; the loss itself does not.
    ///
    /// # Errors
    /// If there is none.
    fn loss(
        &self,
        network: &Self::Network,
        batch: &Self::Batch,
        metrics: Option<&mut Metrics>,
    ) -> Result<Tensor<1>, LabError>;

    /// What a network is worth on the validation data, with its loss as [`LOSS`](crate::train::metrics::LOSS); nothing where there
    /// are none.
    ///
    /// # Errors
    /// If it cannot be told.
    fn validate(&self, network: &Self::Network, metrics: &mut Metrics) -> Result<(), LabError>;

    /// The metrics that people are shown first, in their order.
    fn metrics(&self) -> &'static [Metric];
}
