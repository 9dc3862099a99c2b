//! One step of training: backward, guidance, clipping, an update by groups of parameters, and checks that all is finite.
//!
//! Recipes, experiments, comparisons and benchmarks train by [`step`]; this file is the only one that runs backward passes.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use hardgrad::optim::{Method, Optimizer, Update, clip_factor};
use hardgrad::parameters::{self, Role};
use hardgrad::zeroth_order::{Guidance, Moment, Perturbed, Probes, Report, quantized};
use hardgrad_kernels::reduce::all_finite;

use crate::LabError;

/// Parameters that move alike.
pub(crate) struct Group<'a> {
    /// Which parameters, by name and role, are its own; those that an earlier group owns are not asked for.
    pub owns: &'a dyn Fn(&str, Role) -> bool,
    /// How they move.
    pub method: Method,
    /// Their learning rate as a share of that of the step; at 0 they stay.
    pub rate_factor: f64,
    /// Their weight decay.
    pub weight_decay: f64,
    /// The lowest and the highest value that they may have.
    pub clip: Option<(f32, f32)>,
    /// They move at every so many steps of the optimizer, beginning with the first; at least 1.
    pub every: u64,
}

/// What a step takes.
pub(crate) struct Step<'a, M> {
    /// The loss of a network. It is called once with the network that trains, and with plain copies where guidance probes;
    /// inputs are plain always.
    pub loss: &'a dyn Fn(&M) -> Result<Tensor<1>, LabError>,
    /// What replaces gradients, and where in training the step is.
    pub guidance: Option<(&'a Guidance, Moment)>,
    /// The parameters that guidance probes; those that a quantiser quantises where nothing is given.
    pub perturbed: Option<&'a PerturbedOf<'a, M>>,
    /// The slopes of all directions of guidance at once; two passes each where it is not given, or gives nothing.
    pub slopes: Option<&'a Slopes<'a, M>>,
    /// The largest length of the gradient of all parameters that move together.
    pub clip_norm: Option<f64>,
    /// The groups; a parameter that none owns stays as it is.
    pub groups: &'a [Group<'a>],
    /// The learning rate.
    pub rate: f64,
}

/// The parameters of a network that guidance probes.
pub(crate) type PerturbedOf<'a, M> = dyn Fn(&M) -> Vec<Perturbed> + 'a;

/// The slopes of all directions of guidance at a network.
pub(crate) type Slopes<'a, M> = dyn Fn(&M, &Probes<'_>) -> Option<Vec<f64>> + 'a;

/// Gradients by the names of parameters.
pub(crate) type NamedGradients = BTreeMap<String, Vec<f32>>;

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taken {
    /// The loss before it.
    pub loss: f64,
    /// Forward passes of guidance.
    pub passes: u64,
    /// Directions of guidance that were left out because a loss was not finite.
    pub skipped: u64,
}

/// The network after a step.
///
/// # Errors
/// [`LabError::StepNotFinite`] where the loss or a gradient is not finite, and whatever the loss or guidance says.
pub(crate) fn step<M: Module>(network: M, optimizer: &mut Optimizer, at: &Step<'_, M>) -> Result<(M, Taken), LabError> {
    step_watched(network, optimizer, at, |network, _| network)
}

/// As [`step`]; `watch` sees the network before its update, which it gives back as it was, with the gradients after guidance.
///
/// # Errors
/// As [`step`].
pub(crate) fn step_watched<M: Module>(
    network: M,
    optimizer: &mut Optimizer,
    at: &Step<'_, M>,
    watch: impl FnOnce(M, &NamedGradients) -> M,
) -> Result<(M, Taken), LabError> {
    let (loss, mut gradients) = gradients(&network, (at.loss)(&network)?)?;
    let Report { passes, skipped } = guide(&network, &mut gradients, at)?;
    let network = watch(network, &gradients);

    let roles = parameters::roles(&network);
    let update = |name: &str| update(name, roles.get(name).copied().unwrap_or(Role::Other), at, optimizer.steps());
    let updates: BTreeMap<String, Update> = gradients.keys().map(|name| (name.clone(), update(name))).collect();
    gradients.retain(|name, _| updates[name].learning_rate != 0.0);
    let factor = match at.clip_norm {
        Some(longest) => clip_factor(gradients.values(), longest as f32)
            .ok_or_else(|| LabError::StepNotFinite { tensor: "the length of the gradient".to_string() })?,
        None => 1.0,
    };
    let network = optimizer.step(network, gradients, factor, |name| updates[name]);
    Ok((network, Taken { loss, passes, skipped }))
}

/// What becomes of a parameter after so many steps.
fn update<M>(name: &str, role: Role, at: &Step<'_, M>, steps: u64) -> Update {
    match at.groups.iter().find(|group| (group.owns)(name, role)) {
        Some(group) => {
            let turn = steps.is_multiple_of(group.every.max(1));
            let learning_rate = if turn { (at.rate * group.rate_factor) as f32 } else { 0.0 };
            Update { method: group.method, learning_rate, weight_decay: group.weight_decay as f32, clip: group.clip }
        }
        None => Update::new(Method::ADAM_W, 0.0),
    }
}

/// The method by which a parameter moves, if it moves at all.
pub(crate) fn method_of(groups: &[Group<'_>], name: &str, role: Role) -> Option<Method> {
    groups.iter().find(|group| (group.owns)(name, role)).map(|group| group.method)
}

/// Replaces the gradients of the parameters that guidance probes by those of its method.
fn guide<M: Module>(network: &M, gradients: &mut NamedGradients, at: &Step<'_, M>) -> Result<Report, LabError> {
    let Some((guidance, moment)) = at.guidance else { return Ok(Report::default()) };
    let perturbed = at.perturbed.map_or_else(|| quantized(network), |perturbed| perturbed(network));
    let mut problem = None;
    // A loss that fails counts as one that is not finite until the step ends with its error.
    let mut loss = |probe: &M| match (at.loss)(probe) {
        Ok(loss) => f64::from(loss.inner().into_scalar::<f32>()),
        Err(failure) => {
            problem.get_or_insert(failure);
            f64::NAN
        }
    };
    let report = guidance.guide_by_slopes(network, &perturbed, gradients, moment, |probes| {
        let at_once = at.slopes.and_then(|slopes| slopes(network, probes));
        at_once.unwrap_or_else(|| probes.slopes(network, &mut loss))
    })?;
    problem.map_or(Ok(report), Err)
}

/// The loss and its gradients by the names of parameters.
///
/// # Errors
/// [`LabError::StepNotFinite`] where one of them is not finite.
pub(crate) fn gradients<M: Module>(network: &M, loss: Tensor<1>) -> Result<(f64, NamedGradients), LabError> {
    let value = loss.clone().inner().into_scalar::<f32>();
    if !value.is_finite() {
        return Err(LabError::StepNotFinite { tensor: "the loss".to_string() });
    }
    let mut gradients = GradientsParams::from_grads(tensor_gradients(loss), network);
    let gradients: NamedGradients = parameters::gradients(network, &mut gradients).into_iter().collect();
    match gradients.iter().find(|(_, values)| !all_finite(values)) {
        Some((name, _)) => Err(LabError::StepNotFinite { tensor: format!("the gradient of {name}") }),
        None => Ok((f64::from(value), gradients)),
    }
}

/// All gradients of a loss, for [`Tensor::grad`].
pub(crate) fn tensor_gradients(loss: Tensor<1>) -> Gradients {
    loss.backward()
}

/// The gradient of a loss with respect to a leaf, plain; zeros where the loss does not depend on it.
pub(crate) fn tensor_gradient<const D: usize>(loss: Tensor<1>, leaf: &Tensor<D>) -> Tensor<D> {
    leaf.grad(&tensor_gradients(loss)).unwrap_or_else(|| leaf.clone().inner().zeros_like())
}

/// Frees the graph of forward passes that have no backward pass: any backward pass does.
pub(crate) fn sweep() {
    let one = Tensor::<1>::ones([1], &Device::flex().autodiff()).require_grad();
    drop(tensor_gradients(one * 2.0));
}

/// Mean cross-entropy in nats of logits `[batch, classes]`; `smoothing` is the share of each target that is spread over all
/// classes.
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u8], smoothing: f32) -> Tensor<1> {
    let [count, classes] = logits.dims();
    let mut targets = vec![smoothing / classes as f32; count * classes];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * classes + usize::from(label)] += 1.0 - smoothing;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [count, classes]), &Device::flex());
    // Rows first: a long sum over everything would depend on the number of threads.
    (log_softmax(logits, 1) * targets).sum_dim(1).sum() * (-1.0 / count as f32)
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    fn layer() -> Linear {
        let layer = LinearConfig::new(2, 1).init(&Device::flex().autodiff());
        parameters::update(layer, |_, _, values| values.fill(1.0))
    }

    /// Weights and bias after steps of SGD along the gradients (3, 4) and 1.
    fn after(steps: usize, clip_norm: Option<f64>, groups: &[Group<'_>]) -> [Vec<f32>; 2] {
        let loss = |layer: &Linear| -> Result<Tensor<1>, LabError> {
            let x = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
            Ok(layer.forward(x).sum())
        };
        let step = Step { loss: &loss, guidance: None, perturbed: None, slopes: None, clip_norm, groups, rate: 0.5 };
        let (mut network, mut optimizer) = (layer(), Optimizer::new());
        for _ in 0..steps {
            network = super::step(network, &mut optimizer, &step).unwrap().0;
        }
        let values = parameters::read(&network).into_iter().map(|parameter| parameter.values);
        values.collect::<Vec<_>>().try_into().unwrap()
    }

    const SGD: Method = Method::Sgd { momentum: 0.0, nesterov: false };

    fn group(owns: &dyn Fn(&str, Role) -> bool) -> Group<'_> {
        Group { owns, method: SGD, rate_factor: 1.0, weight_decay: 0.0, clip: None, every: 1 }
    }

    #[test]
    fn parameters_move_by_their_group_and_stay_without_one() {
        let weights = |_: &str, role: Role| matches!(role, Role::Weight { .. });
        let all = |_: &str, _: Role| true;
        assert_eq!(after(1, None, &[group(&weights)]), [vec![-0.5, -1.0], vec![1.0]]);
        // The first that owns them counts; at every second step the bias moves, beginning with the first.
        let groups = [Group { rate_factor: 0.5, ..group(&weights) }, Group { every: 2, ..group(&all) }];
        assert_eq!(after(1, None, &groups), [vec![0.25, 0.0], vec![0.5]]);
        assert_eq!(after(2, None, &groups), [vec![-0.5, -1.0], vec![0.5]]);
        assert_eq!(after(3, None, &groups)[1], [0.0]);
        let clipped = Group { clip: Some((0.0, 0.75)), ..group(&all) };
        assert_eq!(after(1, None, &[clipped]), [vec![0.0, 0.0], vec![0.5]]);
    }

    #[test]
    fn gradients_that_move_together_are_clipped_together() {
        let weights = |_: &str, role: Role| matches!(role, Role::Weight { .. });
        let [found, _] = after(1, Some(1.0), &[group(&weights)]);
        // (3, 4) has the length 5; the bias stays and does not count.
        for (found, expected) in found.iter().zip([1.0 - 0.3, 1.0 - 0.4]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(after(1, Some(100.0), &[group(&weights)]), after(1, None, &[group(&weights)]));
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let named = |factor: f32, of_weights: bool| {
            let loss = |layer: &Linear| -> Result<Tensor<1>, LabError> {
                let x = Tensor::<2>::from_floats([[1.0, 1.0]], &Device::flex());
                let y = layer.forward(x).sum() * factor;
                // A finite value whose slope is not.
                let root = (y.clone() - y.clone().inner().into_scalar::<f32>()).sqrt();
                Ok(if of_weights { root } else { y })
            };
            let step = Step {
                loss: &loss,
                guidance: None,
                perturbed: None,
                slopes: None,
                clip_norm: None,
                groups: &[],
                rate: 0.5,
            };
            let problem = super::step(layer(), &mut Optimizer::new(), &step).unwrap_err();
            assert!(problem.is_not_finite());
            problem.to_string()
        };
        assert!(named(f32::INFINITY, false).starts_with("the loss is not finite"));
        assert!(named(1.0, true).starts_with("the gradient of "));
    }

    #[test]
    fn cross_entropy_by_hand() {
        let logits = Tensor::<2>::from_floats([[0.0, 0.0], [2.0, 0.0]], &Device::flex());
        let value = |smoothing| cross_entropy(logits.clone(), &[0, 1], smoothing).into_scalar::<f32>();
        let log = |x: f32| (x.exp() + 1.0).ln();
        let (equal, wrong, right) = (2f32.ln(), log(2.0), log(2.0) - 2.0);
        assert!((value(0.0) - (equal + wrong) / 2.0).abs() < 1e-6);
        assert!((value(0.2) - (equal + 0.9 * wrong + 0.1 * right) / 2.0).abs() < 1e-6);
    }
}
