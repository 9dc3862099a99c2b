use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param, Reparameterizer};
use burn::tensor::Tensor;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::reduce::{all_finite, best_scale};

use super::{QuantizeError, Quantizer, QuantizerConfig, RangeMethod, Role, StepClock};
use crate::flex::values;
use crate::parameters::{self, Path};

/// Attaches a [`Quantizer`] to every weight of a model, stock Burn layers included, in one call.
///
/// A weight is a parameter with that [`Role`](crate::parameters::Role), which also tells where its outputs are: the
/// channels of a scale each. Learned scales begin at the least squared error; a channel of zeros takes the largest
/// scale of the others, and a weight of zeros 1/sqrt(inputs)/qmax.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::quantize::{QuantizeWeights, Quantizer, QuantizerConfig};
///
/// let layer = LinearConfig::new(8, 4).init(&Device::flex().autodiff());
/// let weights = QuantizeWeights::new(QuantizerConfig::weights(4)).unwrap();
/// let layer = weights.apply(layer).unwrap();
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

    /// Other settings (or, with `None`, no quantisation) for weights whose name begins with `prefix`, a path of fields.
    pub fn with_layer(mut self, prefix: &str, config: Option<QuantizerConfig>) -> Result<Self, QuantizeError> {
        config.iter().try_for_each(|config| config.check(Role::Weight))?;
        self.others.push((prefix.to_string(), config));
        Ok(self)
    }

    /// The clock that a delay waits on.
    pub fn with_clock(self, clock: StepClock) -> Self {
        Self { clock, ..self }
    }

    /// The model with quantised weights.
    ///
    /// Fails where a prefix of [`with_layer`](Self::with_layer) is that of no weight, and where the model has no
    /// weight, one that is quantised already, or one that is not finite.
    pub fn apply<M: Module>(self, model: M) -> Result<M, QuantizeError> {
        let mut find = Find::default();
        model.visit(&mut find);
        if find.weights.is_empty() {
            return Err(QuantizeError::NoWeight);
        }
        for (prefix, _) in &self.others {
            if !find.weights.iter().any(|weight| is_within(&weight.name, prefix)) {
                return Err(unknown_layer(prefix, &find.weights));
            }
        }
        let mut plans = BTreeMap::new();
        for Found { path, name, outputs, taken } in find.weights {
            let Some(config) = self.config_of(&name).cloned() else { continue };
            if taken {
                return Err(QuantizeError::WeightTaken { name });
            }
            plans.insert(path, Plan { name, outputs, config });
        }
        let mut attach = Attach { plans, clock: self.clock, problem: None };
        let model = model.apply_reparameterization(&mut attach);
        let missed = attach.plans.into_values().next().map(|plan| QuantizeError::WeightMissed { name: plan.name });
        match attach.problem.or(missed) {
            Some(problem) => Err(problem),
            None => Ok(model),
        }
    }

    fn config_of(&self, name: &str) -> Option<&QuantizerConfig> {
        match self.others.iter().rev().find(|(prefix, _)| is_within(name, prefix)) {
            Some((_, config)) => config.as_ref(),
            None => Some(&self.config),
        }
    }
}

fn is_within(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A weight of the model.
struct Found {
    /// What Burn calls it: as its name, with the variants of enums.
    path: String,
    name: String,
    /// The axis of its outputs.
    outputs: usize,
    /// Has a reparameterization already.
    taken: bool,
}

/// Finds the weights of a model.
#[derive(Default)]
struct Find {
    path: Vec<String>,
    name: Path,
    weights: Vec<Found>,
}

impl ModuleVisitor for Find {
    fn enter_module(&mut self, name: &str, container: &str) {
        // Burn shows a parameter first, then what reparameterizes it.
        if container == "Reparameterization" {
            let path = self.path.join(".");
            self.weights.iter_mut().filter(|weight| weight.path == path).for_each(|weight| weight.taken = true);
        }
        self.path.push(name.to_string());
        self.name.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.name.exit();
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        // A frozen weight is one too.
        if let parameters::Role::Weight { output_axis: outputs } = self.name.role(D, true) {
            self.weights.push(Found { path: self.path.join("."), name: self.name.name(), outputs, taken: false });
        }
    }
}

/// How many names an error lists.
const LISTED: usize = 6;

fn unknown_layer(prefix: &str, weights: &[Found]) -> QuantizeError {
    let names: Vec<&str> = weights.iter().map(|weight| weight.name.as_str()).collect();
    // Every path to a weight could have been meant, not only that of the weight itself.
    let mut paths = BTreeSet::new();
    for name in names.iter().copied() {
        paths.extend(name.match_indices('.').map(move |(end, _)| &name[..end]).chain([name]));
    }
    let nearest = paths.into_iter().min_by_key(|path| strsim::damerau_levenshtein(prefix, path)).unwrap_or_default();
    let mut known = names[..names.len().min(LISTED)].join(", ");
    if names.len() > LISTED {
        known += &format!(" and {} more", names.len() - LISTED);
    }
    QuantizeError::UnknownLayer { prefix: prefix.to_string(), nearest: nearest.to_string(), known }
}

struct Plan {
    name: String,
    outputs: usize,
    config: QuantizerConfig,
}

/// Burn's way to attach something to parameters.
struct Attach {
    /// By Burn's path.
    plans: BTreeMap<String, Plan>,
    clock: StepClock,
    /// The first that was met.
    problem: Option<QuantizeError>,
}

impl Reparameterizer for &mut Attach {
    type Reparam = Quantizer;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        parameter: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Quantizer>) {
        let Some(plan) = self.plans.remove(path) else { return (parameter, None) };
        match plan.quantizer(&parameter, &self.clock) {
            Ok(quantizer) => (parameter, Some(quantizer)),
            Err(problem) => {
                self.problem = self.problem.take().or(Some(problem));
                (parameter, None)
            }
        }
    }
}

impl Plan {
    fn quantizer<const D: usize>(
        self,
        parameter: &Param<Tensor<D>>,
        clock: &StepClock,
    ) -> Result<Quantizer, QuantizeError> {
        let Self { name, outputs, config } = self;
        let base = parameter.base();
        let (latent, dims) = (values(&base), base.dims());
        if !all_finite(&latent) {
            return Err(QuantizeError::WeightNotFinite { name });
        }
        let scales = match config.range {
            RangeMethod::Lsq => {
                let inputs = latent.len() / dims[outputs].max(1);
                let channels = config.per_channel.then(|| Channels::along(&dims, outputs));
                first_scales(&latent, channels, inputs, config.levels().into())
            }
            // They find theirs, or are told.
            RangeMethod::Fixed
            | RangeMethod::MinMax
            | RangeMethod::MovingAverage
            | RangeMethod::Pact
            | RangeMethod::Dorefa => Vec::new(),
        };
        config.init_at(Role::Weight, Some(outputs), &scales, clock.clone(), &parameter.lazy_device())
    }
}

/// The scale with the least squared error, one for all or one a channel; zeros get one that others have, or usual
/// weights would.
fn first_scales(latent: &[f32], channels: Option<Channels>, inputs: usize, bounds: Bounds) -> Vec<f32> {
    let found: Vec<Option<f32>> = match channels {
        None => vec![best_scale(latent, bounds)],
        Some(Channels { channels, inner, .. }) => (0..channels)
            .map(|channel| {
                let rows = latent.chunks(inner.max(1)).skip(channel).step_by(channels);
                best_scale(&rows.flatten().copied().collect::<Vec<_>>(), bounds)
            })
            .collect(),
    };
    let largest = found.iter().flatten().copied().reduce(f32::max);
    let of_zeros = largest.unwrap_or_else(|| 1.0 / (inputs.max(1) as f32).sqrt() / bounds.highest);
    found.into_iter().map(|scale| scale.unwrap_or(of_zeros)).collect()
}
