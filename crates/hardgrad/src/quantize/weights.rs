use burn::module::{Param, Reparameterizer};
use burn::tensor::Tensor;
use hardgrad_kernels::fake_quant::Channels;
use hardgrad_kernels::reduce::best_scale;

use super::{QuantizeError, Quantizer, QuantizerConfig, Role, StepClock};
use crate::flex::values;

/// Attaches a [`Quantizer`] to every weight of a model, stock Burn layers included, in one call.
///
/// A weight is a parameter of rank 2 or more whose path ends in `weight`. Channels are outputs: the last axis at rank 2,
/// where Burn's `Linear` stores `[inputs, outputs]`, else the first. Learned scales begin at the least squared error.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::quantize::{QuantizeWeights, Quantizer, QuantizerConfig};
///
/// let layer = LinearConfig::new(8, 4).init(&Device::flex().autodiff());
/// let layer = layer.apply_reparameterization(QuantizeWeights::new(QuantizerConfig::weights(4)).unwrap());
/// assert!(layer.weight.reparameterization::<Quantizer>().is_some());
/// ```
#[derive(Clone, Debug)]
pub struct QuantizeWeights {
    config: QuantizerConfig,
    others: Vec<(String, Option<QuantizerConfig>)>,
    clock: StepClock,
}

impl QuantizeWeights {
    /// The same settings for all weights.
    pub fn new(config: QuantizerConfig) -> Result<Self, QuantizeError> {
        config.check(Role::Weight)?;
        Ok(Self { config, others: Vec::new(), clock: StepClock::default() })
    }

    /// Other settings (or, with `None`, no quantisation) for weights whose path begins with `prefix`.
    pub fn with_layer(mut self, prefix: &str, config: Option<QuantizerConfig>) -> Result<Self, QuantizeError> {
        config.iter().try_for_each(|config| config.check(Role::Weight))?;
        self.others.push((prefix.to_string(), config));
        Ok(self)
    }

    /// The clock that a delay waits on.
    pub fn with_clock(self, clock: StepClock) -> Self {
        Self { clock, ..self }
    }

    fn config_of(&self, path: &str) -> Option<&QuantizerConfig> {
        let within =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        match self.others.iter().rev().find(|(prefix, _)| within(prefix)) {
            Some((_, config)) => config.as_ref(),
            None => Some(&self.config),
        }
    }
}

impl Reparameterizer for QuantizeWeights {
    type Reparam = Quantizer;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        parameter: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Quantizer>) {
        if D < 2 || path.rsplit('.').next() != Some("weight") {
            return (parameter, None);
        }
        let Some(config) = self.config_of(path) else { return (parameter, None) };
        let base = parameter.base();
        let axis = (config.per_channel).then_some(if D == 2 { 1 } else { 0 });
        let scale = best_scales(&values(&base), &base.dims(), axis, config);
        let quantizer = config
            .init_at(Role::Weight, axis, &scale, self.clock.clone(), &parameter.lazy_device())
            .expect("checked when it was set");
        (parameter, Some(quantizer))
    }
}

/// The scale with the least squared error, one for all or one for each index along `axis`.
fn best_scales(values: &[f32], dims: &[usize], axis: Option<usize>, config: &QuantizerConfig) -> Vec<f32> {
    let bounds = config.levels().into();
    let Some(axis) = axis else { return vec![best_scale(values, bounds)] };
    let Channels { channels, inner, .. } = Channels::along(dims, axis);
    (0..channels)
        .map(|channel| {
            let rows = values.chunks(inner.max(1)).skip(channel).step_by(channels);
            best_scale(&rows.flatten().copied().collect::<Vec<_>>(), bounds)
        })
        .collect()
}
