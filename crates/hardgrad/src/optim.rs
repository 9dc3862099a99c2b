//! Optimizers that update parameters in place, one pass a parameter.
//!
//! State is kept by parameter name, so that it can be stored and read back with the parameters. Burn's own optimizers work on
//! the same modules; these need no new tensor a step. Gradient clipping by the global norm is part of the same pass.
//!
//! ```
//! use burn::nn::LinearConfig;
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::optim::{Method, Optimizer, Rates};
//! use hardgrad::parameters;
//!
//! let model = LinearConfig::new(4, 2).init(&Device::flex().autodiff());
//! let loss = model.forward(Tensor::<2>::ones([8, 4], &Device::flex().autodiff())).sum();
//! let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
//! let gradients = parameters::gradients(&model, &mut gradients);
//! let mut optimizer = Optimizer::new(Method::ADAM);
//! let model = optimizer.step(model, gradients, 1.0, |_| Rates { learning_rate: 1e-3, weight_decay: 0.0 });
//! assert_eq!(optimizer.steps(), 1);
//! # let _ = model;
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use hardgrad_kernels::optimizer::{self, Adam, Sgd, WeightDecay};
use thiserror::Error;

use crate::{parameters, profile};

/// Which optimizer, with what is the same for all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    fn moments(self) -> usize {
        match self {
            Self::Sgd { .. } => 1,
            Self::Adam { .. } | Self::AdamW { .. } => 2,
        }
    }
}

/// What may differ from parameter to parameter.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Learning rate.
    pub learning_rate: f32,
    /// Weight decay, 0 for none.
    pub weight_decay: f32,
}

/// State that does not belong to the optimizer it is given to.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum OptimizerError {
    /// A parameter with another number of vectors than the method keeps.
    #[error(
        "parameter {parameter} comes with {found} moments, this optimizer keeps {expected}; resume with the same method"
    )]
    Moments {
        /// Its name.
        parameter: String,
        /// Vectors that were given.
        found: usize,
        /// Vectors that the method keeps.
        expected: usize,
    },
}

/// An optimizer with its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    method: Method,
    steps: u64,
    moments: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Optimizer {
    /// An optimizer before its first step.
    pub fn new(method: Method) -> Self {
        Self { method, steps: 0, moments: BTreeMap::new() }
    }

    /// An optimizer that goes on after `steps` steps with these [`moments`](Self::moments).
    ///
    /// # Errors
    /// If a parameter has another number of moments than the method keeps.
    pub fn resume(
        method: Method,
        steps: u64,
        moments: BTreeMap<String, Vec<Vec<f32>>>,
    ) -> Result<Self, OptimizerError> {
        let expected = method.moments();
        match moments.iter().find(|(_, moments)| moments.len() != expected) {
            Some((parameter, moments)) => {
                Err(OptimizerError::Moments { parameter: parameter.clone(), found: moments.len(), expected })
            }
            None => Ok(Self { method, steps, moments }),
        }
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state of each parameter that ever had a gradient: velocity, or first and second moment.
    pub fn moments(&self) -> &BTreeMap<String, Vec<Vec<f32>>> {
        &self.moments
    }

    /// The module after one step along `gradients` (by parameter name) times `gradient_factor`, 1 or what [`clip_factor`] gives.
    ///
    /// Parameters are changed in place where nothing else holds them; those without a gradient stay. Adam's bias correction
    /// counts the steps of the optimizer, also for a parameter whose first gradient comes late.
    ///
    /// # Panics
    /// If the factor is not finite, a gradient has a name or a size that no parameter has, or resumed moments have another size.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: impl IntoIterator<Item = (String, Vec<f32>)>,
        gradient_factor: f32,
        rates: impl Fn(&str) -> Rates,
    ) -> M {
        assert!(gradient_factor.is_finite(), "the gradients are not finite: the factor is {gradient_factor}");
        self.steps += 1;
        let mut gradients: BTreeMap<String, Vec<f32>> = gradients.into_iter().collect();
        let module = profile::update("optimizer", || {
            parameters::update(module, |name, _, values| {
                let Some(gradient) = gradients.remove(name) else { return };
                let fresh = || vec![vec![0.0; values.len()]; self.method.moments()];
                let moments = self.moments.entry(name.to_string()).or_insert_with(fresh);
                let fits = gradient.len() == values.len() && moments.iter().all(|moment| moment.len() == values.len());
                assert!(fits, "gradient or moments of parameter {name} do not have its {} values", values.len());
                update(self.method, self.steps, rates(name), gradient_factor, values, &gradient, moments);
            })
        });
        let stranger = gradients.into_keys().next();
        assert!(stranger.is_none(), "there is a gradient for {stranger:?}, but the module has no such parameter");
        module
    }
}

fn update(
    method: Method,
    step: u64,
    Rates { learning_rate: rate, weight_decay }: Rates,
    gradient_factor: f32,
    weight: &mut [f32],
    gradient: &[f32],
    moments: &mut [Vec<f32>],
) {
    let mut adam = |beta1, beta2, epsilon, weight_decay| {
        let [first, second] = moments else { unreachable!("made or checked to be two") };
        let adam = Adam { rate, beta1, beta2, epsilon, weight_decay, gradient_factor, step: step as u32 };
        adam.update(weight, gradient, first, second);
    };
    match method {
        Method::Adam { beta1, beta2, epsilon } => adam(beta1, beta2, epsilon, WeightDecay::Coupled(weight_decay)),
        Method::AdamW { beta1, beta2, epsilon } => adam(beta1, beta2, epsilon, WeightDecay::Decoupled(weight_decay)),
        Method::Sgd { momentum, nesterov } => {
            let [velocity] = moments else { unreachable!("made or checked to be one") };
            Sgd { rate, momentum, nesterov, weight_decay, gradient_factor }.update(weight, gradient, velocity);
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
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    fn gradients(size: f32) -> Vec<(String, Vec<f32>)> {
        vec![("weight".into(), vec![size, -size])]
    }

    /// The weights after steps with these gradients; the layer begins at 0.
    fn weights(method: Method, sizes: &[f32], weight_decay: f32, factor: f32) -> Vec<f32> {
        let mut module = LinearConfig::new(2, 1).with_bias(false).init(&Device::flex().autodiff());
        module = parameters::update(module, |_, _, values| values.fill(1.0));
        let mut optimizer = Optimizer::new(method);
        for &size in sizes {
            module = optimizer.step(module, gradients(size), factor, |_| Rates { learning_rate: 0.1, weight_decay });
        }
        parameters::read(&module)[0].values.clone()
    }

    #[test]
    fn hand_tables() {
        let sgd = Method::Sgd { momentum: 0.5, nesterov: false };
        assert_eq!(weights(sgd, &[1.0, 1.0], 0.0, 1.0), [1.0 - 0.1 - 0.15, 1.0 + 0.1 + 0.15]);
        assert_eq!(weights(sgd, &[0.0], 0.5, 1.0), [0.95, 0.95]);
        let first = weights(Method::ADAM, &[3.0], 0.0, 1.0);
        assert!((first[0] - 0.9).abs() < 1e-6 && (first[1] - 1.1).abs() < 1e-6, "{first:?}");
        let decayed = weights(Method::ADAM_W, &[0.0], 0.5, 1.0);
        assert!(decayed.iter().all(|weight| (weight - 0.95).abs() < 1e-6), "{decayed:?}");
    }

    #[test]
    fn clipping_scales_the_gradient_of_the_same_pass() {
        let (small, large) = (vec![3.0], vec![0.0, 4.0]);
        let factor = clip_factor([&small, &large], 2.5).unwrap();
        assert!((factor - 0.5).abs() < 1e-6);
        assert_eq!(clip_factor([&small], 10.0), Some(1.0));
        let sgd = Method::Sgd { momentum: 0.0, nesterov: false };
        assert_eq!(weights(sgd, &[2.0], 0.0, 0.5), weights(sgd, &[1.0], 0.0, 1.0));
        assert_eq!(clip_factor([&vec![f32::NAN]], 1.0), None);
    }

    #[test]
    fn state_of_another_method_is_refused() {
        let moments = BTreeMap::from([("weight".to_string(), vec![vec![0.0; 2]])]);
        let error = Optimizer::resume(Method::ADAM, 3, moments.clone()).unwrap_err();
        assert!(error.to_string().contains("weight comes with 1 moments, this optimizer keeps 2"), "{error}");
        assert!(Optimizer::resume(Method::Sgd { momentum: 0.9, nesterov: false }, 3, moments).is_ok());
    }

    #[test]
    #[should_panic(expected = "no such parameter")]
    fn a_gradient_for_nothing_is_noticed() {
        let module = LinearConfig::new(2, 1).init(&Device::flex().autodiff());
        let gradients = vec![("wieght".to_string(), vec![1.0, 1.0])];
        let rates = |_: &str| Rates { learning_rate: 0.1, weight_decay: 0.0 };
        Optimizer::new(Method::ADAM).step(module, gradients, 1.0, rates);
    }
}
