//! Optimizers that update parameters in place, one pass a parameter.
//!
//! State is kept by parameter name, so that it can be stored and read back with the parameters. Each parameter has a method
//! and rates of its own. Burn's own optimizers work on the same modules; these need no new tensor a step. Gradient clipping by
//! the global norm, and the range in which values stay, are part of the same pass.
//!
//! ```
//! use burn::nn::LinearConfig;
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::optim::{Method, Optimizer, Update};
//! use hardgrad::parameters;
//!
//! let model = LinearConfig::new(4, 2).init(&Device::flex().autodiff());
//! let loss = model.forward(Tensor::<2>::ones([8, 4], &Device::flex().autodiff())).sum();
//! let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
//! let gradients = parameters::gradients(&model, &mut gradients);
//! let mut optimizer = Optimizer::new();
//! let model = optimizer.step(model, gradients, 1.0, |_| Update::new(Method::ADAM, 1e-3));
//! assert_eq!(optimizer.steps(), 1);
//! # let _ = model;
//! ```

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use hardgrad_kernels::optimizer::{self, Adam, Sgd, WeightDecay};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{parameters, profile};

/// Which optimizer, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Stochastic gradient descent with momentum; weight decay is added to the gradient. Source: Sutskever et al., ICML 2013.
    Sgd {
        /// Share of the last velocity, 0 for none.
        momentum: f32,
        /// Look ahead along the new velocity.
        nesterov: bool,
    },
    /// Adam; weight decay is added to the gradient. Source: Kingma and Ba, ICLR 2015.
    Adam {
        /// Decay of the mean of gradients.
        beta1: f32,
        /// Decay of the mean of squared gradients.
        beta2: f32,
        /// Added to the root of the latter.
        epsilon: f32,
    },
    /// Adam with decoupled weight decay. Source: Loshchilov and Hutter, ICLR 2019.
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f32,
        /// Decay of the mean of squared gradients.
        beta2: f32,
        /// Added to the root of the latter.
        epsilon: f32,
    },
}

impl Method {
    /// Adam with its usual settings: 0.9, 0.999, 1e-8.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    /// AdamW with the same settings.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// Vectors of state a parameter.
    pub fn moments(self) -> usize {
        match self {
            Self::Sgd { .. } => 1,
            Self::Adam { .. } | Self::AdamW { .. } => 2,
        }
    }
}

/// What a step does with one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// How it moves.
    pub method: Method,
    /// Learning rate; at 0 the parameter stays as it is, and so does its state.
    pub learning_rate: f32,
    /// Weight decay, 0 for none.
    pub weight_decay: f32,
    /// The lowest and the highest value that it may have after the step.
    pub clip: Option<(f32, f32)>,
}

impl Update {
    /// No weight decay, values of any size.
    pub fn new(method: Method, learning_rate: f32) -> Self {
        Self { method, learning_rate, weight_decay: 0.0, clip: None }
    }
}

/// The state of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The method that made it.
    pub method: Method,
    /// Steps that the parameter took with it.
    pub steps: u64,
    /// Velocity, or first and second moment, value by value.
    pub moments: Vec<Vec<f32>>,
}

impl State {
    fn new(method: Method, values: usize) -> Self {
        Self { method, steps: 0, moments: vec![vec![0.0; values]; method.moments()] }
    }
}

/// State that does not belong to the optimizer or the module that it is given to.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum OptimizerError {
    /// A parameter with another number of vectors than its method keeps.
    #[error(
        "parameter {parameter} comes with {found} moments, its method keeps {expected}; resume with the same method"
    )]
    Moments {
        /// Its name.
        parameter: String,
        /// Vectors that were given.
        found: usize,
        /// Vectors that the method keeps.
        expected: usize,
    },
    /// A parameter whose state another method made.
    #[error(
        "parameter {parameter} comes with the state of {found:?}, it moves by {expected:?}; resume with the same method"
    )]
    Method {
        /// Its name.
        parameter: String,
        /// The method that made the state.
        found: Method,
        /// The method that is to go on with it.
        expected: Method,
    },
}

/// An optimizer with its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Optimizer {
    steps: u64,
    states: BTreeMap<String, State>,
}

impl Optimizer {
    /// An optimizer before its first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// An optimizer that goes on after `steps` steps with these [`states`](Self::states).
    ///
    /// # Errors
    /// If a parameter has another number of moments than its method keeps.
    pub fn resume(steps: u64, states: BTreeMap<String, State>) -> Result<Self, OptimizerError> {
        match states.iter().find(|(_, state)| state.moments.len() != state.method.moments()) {
            Some((parameter, state)) => {
                let (found, expected) = (state.moments.len(), state.method.moments());
                Err(OptimizerError::Moments { parameter: parameter.clone(), found, expected })
            }
            None => Ok(Self { steps, states }),
        }
    }

    /// Fails where the state of a parameter is not of the method by which it moves; none for parameters that stay.
    ///
    /// # Errors
    /// [`OptimizerError::Method`].
    pub fn check(&self, method: impl Fn(&str) -> Option<Method>) -> Result<(), OptimizerError> {
        self.states.iter().try_for_each(|(parameter, state)| match method(parameter) {
            Some(expected) if expected != state.method => {
                Err(OptimizerError::Method { parameter: parameter.clone(), found: state.method, expected })
            }
            _ => Ok(()),
        })
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state of each parameter that ever moved.
    pub fn states(&self) -> &BTreeMap<String, State> {
        &self.states
    }

    /// The module after one step along `gradients` (by parameter name) times `gradient_factor`, 1 or what [`clip_factor`] gives;
    /// `update` says what becomes of a parameter.
    ///
    /// Parameters are changed in place where nothing else holds them; those without a gradient, or with a rate of 0, stay. Adam's
    /// bias correction counts the steps of the parameter. A parameter that moves by another method than before begins anew.
    ///
    /// # Panics
    /// If the factor is not finite, a gradient has a name or a size that no parameter has, or resumed moments have another size.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: impl IntoIterator<Item = (String, Vec<f32>)>,
        gradient_factor: f32,
        update: impl Fn(&str) -> Update,
    ) -> M {
        assert!(gradient_factor.is_finite(), "the gradients are not finite: the factor is {gradient_factor}");
        self.steps += 1;
        let moving = |(name, gradient): (String, Vec<f32>)| {
            let update = update(&name);
            (update.learning_rate != 0.0).then_some((name, (gradient, update)))
        };
        let moves: BTreeMap<String, (Vec<f32>, Update)> = gradients.into_iter().filter_map(moving).collect();
        let mut strangers: BTreeSet<&str> = moves.keys().map(String::as_str).collect();
        let module = profile::update("optimizer", || {
            let wanted = |name: &str| moves.contains_key(name);
            parameters::update_some(module, wanted, |name, _, values| {
                strangers.remove(name);
                let (gradient, update) = &moves[name];
                let state =
                    self.states.entry(name.to_string()).or_insert_with(|| State::new(update.method, values.len()));
                if state.method != update.method {
                    *state = State::new(update.method, values.len());
                }
                let moments = &state.moments;
                let fits = gradient.len() == values.len() && moments.iter().all(|moment| moment.len() == values.len());
                assert!(fits, "gradient or moments of parameter {name} do not have its {} values", values.len());
                update.apply(state, gradient_factor, values, gradient);
            })
        });
        let stranger = strangers.first();
        assert!(stranger.is_none(), "there is a gradient for {stranger:?}, but the module has no such parameter");
        module
    }
}

impl Update {
    /// Moves the values of a parameter by one step of its state.
    fn apply(&self, state: &mut State, gradient_factor: f32, weight: &mut [f32], gradient: &[f32]) {
        let Self { method, learning_rate: rate, weight_decay, clip } = *self;
        state.steps += 1;
        let step = u32::try_from(state.steps).unwrap_or(u32::MAX);
        let moments = &mut state.moments;
        let mut adam = |beta1, beta2, epsilon, weight_decay| {
            let [first, second] = &mut moments[..] else { unreachable!("made or checked to be two") };
            let adam = Adam { rate, beta1, beta2, epsilon, weight_decay, gradient_factor, step };
            adam.update(weight, gradient, first, second);
        };
        match method {
            Method::Adam { beta1, beta2, epsilon } => adam(beta1, beta2, epsilon, WeightDecay::Coupled(weight_decay)),
            Method::AdamW { beta1, beta2, epsilon } => {
                adam(beta1, beta2, epsilon, WeightDecay::Decoupled(weight_decay));
            }
            Method::Sgd { momentum, nesterov } => {
                let [velocity] = &mut moments[..] else { unreachable!("made or checked to be one") };
                Sgd { rate, momentum, nesterov, weight_decay, gradient_factor }.update(weight, gradient, velocity);
            }
        }
        if let Some((lowest, highest)) = clip {
            weight.iter_mut().for_each(|value| *value = value.clamp(lowest, highest));
        }
    }
}

/// The factor that brings the norm of all gradients together down to `max_norm`, or 1 where it is not above; `None` where a
/// gradient is not finite.
///
/// Source: Pascanu, Mikolov, Bengio, ICML 2013.
pub fn clip_factor<'a>(gradients: impl IntoIterator<Item = &'a Vec<f32>>, max_norm: f32) -> Option<f32> {
    let gradients: Vec<&[f32]> = gradients.into_iter().map(Vec::as_slice).collect();
    let norm = optimizer::global_norm(&gradients);
    norm.is_finite().then(|| optimizer::clip_factor(norm, max_norm))
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    fn gradients(size: f32) -> Vec<(String, Vec<f32>)> {
        vec![("weight".into(), vec![size, -size])]
    }

    /// The weights after steps with these gradients; the layer begins at 1.
    fn weights(update: Update, sizes: &[f32], factor: f32) -> Vec<f32> {
        let mut module = layer();
        let mut optimizer = Optimizer::new();
        for &size in sizes {
            module = optimizer.step(module, gradients(size), factor, |_| update);
        }
        parameters::read(&module)[0].values.clone()
    }

    fn layer() -> Linear {
        let module = LinearConfig::new(2, 1).with_bias(false).init(&Device::flex().autodiff());
        parameters::update(module, |_, _, values| values.fill(1.0))
    }

    const SGD: Method = Method::Sgd { momentum: 0.5, nesterov: false };

    fn decaying(method: Method, weight_decay: f32) -> Update {
        Update { weight_decay, ..Update::new(method, 0.1) }
    }

    #[test]
    fn hand_tables() {
        assert_eq!(weights(decaying(SGD, 0.0), &[1.0, 1.0], 1.0), [1.0 - 0.1 - 0.15, 1.0 + 0.1 + 0.15]);
        assert_eq!(weights(decaying(SGD, 0.5), &[0.0], 1.0), [0.95, 0.95]);
        let first = weights(decaying(Method::ADAM, 0.0), &[3.0], 1.0);
        assert!((first[0] - 0.9).abs() < 1e-6 && (first[1] - 1.1).abs() < 1e-6, "{first:?}");
        let decayed = weights(decaying(Method::ADAM_W, 0.5), &[0.0], 1.0);
        assert!(decayed.iter().all(|weight| (weight - 0.95).abs() < 1e-6), "{decayed:?}");
    }

    #[test]
    fn clipping_scales_the_gradient_of_the_same_pass() {
        let (small, large) = (vec![3.0], vec![0.0, 4.0]);
        let factor = clip_factor([&small, &large], 2.5).unwrap();
        assert!((factor - 0.5).abs() < 1e-6);
        assert_eq!(clip_factor([&small], 10.0), Some(1.0));
        let sgd = Update::new(Method::Sgd { momentum: 0.0, nesterov: false }, 0.1);
        assert_eq!(weights(sgd, &[2.0], 0.5), weights(sgd, &[1.0], 1.0));
        assert_eq!(clip_factor([&vec![f32::NAN]], 1.0), None);
    }

    #[test]
    fn values_stay_in_their_range() {
        let clipped = Update { clip: Some((-0.5, 1.0)), ..Update::new(SGD, 0.1) };
        assert_eq!(weights(clipped, &[20.0], 1.0), [-0.5, 1.0]);
    }

    #[test]
    fn a_rate_of_0_leaves_values_and_state_and_another_method_begins_anew() {
        let mut optimizer = Optimizer::new();
        let module = optimizer.step(layer(), gradients(1.0), 1.0, |_| Update::new(SGD, 0.0));
        assert_eq!((optimizer.steps(), optimizer.states().len()), (1, 0));
        assert_eq!(parameters::read(&module)[0].values, [1.0, 1.0]);
        let module = optimizer.step(module, gradients(1.0), 1.0, |_| Update::new(SGD, 0.1));
        assert_eq!(optimizer.states()["weight"].moments, [[1.0, -1.0]]);
        let module = optimizer.step(module, gradients(1.0), 1.0, |_| Update::new(Method::ADAM, 0.1));
        let state = &optimizer.states()["weight"];
        // Its first step has the size of the rate, whatever came before.
        assert_eq!((optimizer.steps(), state.steps, state.method), (3, 1, Method::ADAM));
        assert!((parameters::read(&module)[0].values[0] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn state_of_another_method_is_refused() {
        let state = State { method: Method::ADAM, steps: 3, moments: vec![vec![0.0; 2]] };
        let states = BTreeMap::from([("weight".to_string(), state.clone())]);
        let error = Optimizer::resume(3, states).unwrap_err();
        assert!(error.to_string().contains("weight comes with 1 moments, its method keeps 2"), "{error}");
        let states = BTreeMap::from([("weight".to_string(), State { method: SGD, ..state })]);
        let optimizer = Optimizer::resume(3, states).unwrap();
        assert_eq!(optimizer.check(|_| Some(SGD)), Ok(()));
        assert_eq!(optimizer.check(|_| None), Ok(()));
        let error = optimizer.check(|_| Some(Method::ADAM)).unwrap_err();
        assert!(matches!(error, OptimizerError::Method { ref parameter, .. } if parameter == "weight"), "{error}");
    }

    #[test]
    #[should_panic(expected = "no such parameter")]
    fn a_gradient_for_nothing_is_noticed() {
        let gradients = vec![("wieght".to_string(), vec![1.0, 1.0])];
        Optimizer::new().step(layer(), gradients, 1.0, |_| Update::new(Method::ADAM, 0.1));
    }
}
