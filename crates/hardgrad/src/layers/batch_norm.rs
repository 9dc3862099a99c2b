use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::batch_norm::{fold, statistics};
use hardgrad_kernels::channels::Channels;
use hardgrad_runtime::{Stored, ops as nodes};

use super::QuantRelu;
use super::relu::fused_relu;
use crate::coded::Activation;
use crate::flex::{tensor, values};
use crate::ops::{BatchStatistics, batch_norm, batch_norm_folded, batch_norm_relu, batch_norm_relu_folded};
use crate::packing::{Edge, PackError, Packer};
use crate::quantize::{QuantizeError, Quantizer, sample_values};

/// Settings of a [`BatchNorm`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNormConfig {
    /// Channels of the input.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Share of each batch in the running statistics.
    pub momentum: f32,
}

impl BatchNormConfig {
    /// epsilon 1e-5, momentum 0.1.
    pub fn new(channels: usize) -> Self {
        Self { channels, epsilon: 1e-5, momentum: 0.1 }
    }

    /// What is added to the variance.
    pub fn with_epsilon(self, epsilon: f32) -> Self {
        Self { epsilon, ..self }
    }

    /// The share of each batch in the running statistics.
    pub fn with_momentum(self, momentum: f32) -> Self {
        Self { momentum, ..self }
    }

    /// gamma 1, beta 0, running mean 0 and variance 1.
    pub fn init(&self, device: &Device) -> BatchNorm {
        let shape = [self.channels];
        BatchNorm {
            gamma: Param::from_tensor(Tensor::ones(shape, device)),
            beta: Param::from_tensor(Tensor::zeros(shape, device)),
            running_mean: RunningState::new(Tensor::<1>::zeros(shape, device).inner()),
            running_variance: RunningState::new(Tensor::<1>::ones(shape, device).inner()),
            epsilon: self.epsilon,
            momentum: self.momentum,
        }
    }
}

/// Batch normalisation whose evaluation form is the one that ships.
///
/// ```text
/// multiplier = gamma / sqrt(variance + epsilon)      offset = beta - mean multiplier      y = x multiplier + offset
/// ```
/// Inputs on an autodiff device use (and move) the statistics of the batch, plain inputs the running ones.
/// x `[batch, channels, ...]`. Source: Ioffe and Szegedy, ICML 2015.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::layers::BatchNormConfig;
///
/// let layer = BatchNormConfig::new(3).init(&Device::flex());
/// assert_eq!(layer.forward(Tensor::<4>::zeros([2, 3, 4, 4], &Device::flex())).dims(), [2, 3, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Factor, one a channel.
    pub gamma: Param<Tensor<1>>,
    /// Shift, one a channel.
    pub beta: Param<Tensor<1>>,
    /// Running mean, one a channel.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance, one a channel.
    pub running_variance: RunningState<Tensor<1>>,
    epsilon: f32,
    momentum: f32,
}

impl BatchNorm {
    /// The normalised values.
    ///
    /// # Panics
    /// If the second axis of `x` does not have as many indices as there are channels.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !x.is_autodiff() {
            let (multiplier, offset) = self.folded();
            return batch_norm_folded(x, &multiplier, &offset);
        }
        let (y, batch) = batch_norm(x, self.gamma.val(), self.beta.val(), self.epsilon);
        self.follow(batch);
        y
    }

    /// The normalised values, to which `shortcut` is added, behind `relu`: all in one pass.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if the shortcut does not have the shape of `x`.
    pub fn forward_relu<const D: usize>(
        &self,
        x: Tensor<D>,
        shortcut: Option<Activation<D>>,
        relu: &QuantRelu,
    ) -> Activation<D> {
        self.forward_relu_then(x, shortcut, relu.quantizer.as_ref())
    }

    /// The same with the quantiser alone.
    pub(crate) fn forward_relu_then<const D: usize>(
        &self,
        x: Tensor<D>,
        shortcut: Option<Activation<D>>,
        quantizer: Option<&Quantizer>,
    ) -> Activation<D> {
        fused_relu(quantizer, |step| {
            if !x.is_autodiff() {
                let (multiplier, offset) = self.folded();
                return batch_norm_relu_folded(x, &multiplier, &offset, shortcut, step);
            }
            let (y, batch) = batch_norm_relu(x, self.gamma.val(), self.beta.val(), self.epsilon, shortcut, step);
            self.follow(batch);
            y
        })
    }

    /// Sets the running statistics to those of a sample of inputs `[batch, channels, ...]`, for weights before this
    /// layer whose scale has changed. Fails, and changes nothing, where the sample is empty or not finite.
    pub fn calibrate<const D: usize>(&self, sample: &Tensor<D>) -> Result<(), QuantizeError> {
        let channels = Channels::along(&sample.dims(), 1);
        let sample = sample_values(sample)?;
        let (mean, variance) = statistics(&sample, channels);
        let set = |running: &RunningState<Tensor<1>>, values: Vec<f32>| {
            running.update(tensor(values, [channels.channels]));
            let _ = running.value_sync();
        };
        set(&self.running_mean, mean);
        set(&self.running_variance, variance);
        Ok(())
    }

    /// Multiplier and offset a channel of the form that ships.
    pub fn folded(&self) -> (Vec<f32>, Vec<f32>) {
        let (mean, variance) = (self.running_mean.value_sync(), self.running_variance.value_sync());
        fold(&values(&self.gamma.val()), &values(&self.beta.val()), &values(&mean), &values(&variance), self.epsilon)
    }

    /// Adds the evaluation form to a packed model as the node `name` behind `x`; never fails.
    pub fn pack(&self, name: &str, x: &Edge, packer: &mut Packer) -> Result<Edge, PackError> {
        let (multiplier, offset) = self.folded();
        let op = nodes::BatchNorm { epsilon: self.epsilon, momentum: self.momentum };
        let tensors = vec![("multiplier", Stored::Float(multiplier)), ("offset", Stored::Float(offset))];
        Ok(packer.node(name, op, &[x], tensors))
    }

    /// Moves the running statistics towards those of a batch.
    fn follow(&self, batch: BatchStatistics) {
        let unbiased = batch.count as f32 / (batch.count.max(2) - 1) as f32;
        for (running, batch) in [(&self.running_mean, batch.mean), (&self.running_variance, batch.variance * unbiased)]
        {
            running.update(running.value_sync().inner() * (1.0 - self.momentum) + batch * self.momentum);
            // Settles the update now, so that a saved model never misses the last one.
            let _ = running.value_sync();
        }
    }
}
