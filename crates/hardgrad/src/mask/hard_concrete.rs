use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::hard_concrete;
use hardgrad_kernels::random::Random;

use crate::custom_gradient::custom_vjp;
use crate::flex::{on_flex, tensor, values};

pub use hardgrad_kernels::hard_concrete::HardConcrete;

/// Random gates between 0 and 1 that are exactly 0 or 1 with a positive probability.
///
/// ```text
/// z = sigmoid((ln u - ln(1 - u) + log_alpha) / beta)        y = clamp(z (zeta - gamma) + gamma, 0, 1)
/// dlog_alpha = G (zeta - gamma) z (1 - z) / beta where 0 < y < 1, else 0
/// ```
/// `log_alpha` and `uniform` (strictly between 0 and 1) of the same shape.
/// Source: Louizos, Welling, Kingma, "Learning sparse neural networks through L0 regularization", ICLR 2018.
///
/// # Panics
/// If the shapes differ.
pub fn hard_concrete<const D: usize>(log_alpha: Tensor<D>, uniform: Tensor<D>, shape: HardConcrete) -> Tensor<D> {
    if !on_flex(&log_alpha) {
        return composed(log_alpha, uniform, shape);
    }
    let dims = log_alpha.dims();
    let mut y = vec![0.0; dims.iter().product()];
    hard_concrete::hard_concrete(&values(&log_alpha), &values(&uniform), shape, &mut y);
    let y = tensor(y, dims);
    let gates = values(&y);
    custom_vjp(log_alpha, y, move |gradient| {
        let mut out = vec![0.0; gates.len()];
        hard_concrete::hard_concrete_backward(&gates, &values(&gradient), shape, &mut out);
        tensor(out, dims)
    })
}

/// [`hard_concrete()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(log_alpha: Tensor<D>, uniform: Tensor<D>, shape: HardConcrete) -> Tensor<D> {
    let uniform = uniform.inner();
    let noise = uniform.clone().log() - (-uniform + 1.0).log();
    let z = sigmoid((log_alpha + noise) / shape.beta);
    let stretched = z * (shape.zeta - shape.gamma) + shape.gamma;
    let constant = stretched.clone().inner();
    let inside = constant.clone().greater_scalar(0.0).float() * constant.clone().lower_scalar(1.0).float();
    let above = constant.greater_equal_scalar(1.0).float();
    stretched * inside + above
}

/// Settings of a [`HardConcreteGate`].
#[derive(Clone, Copy, Debug)]
pub struct HardConcreteGateConfig {
    /// Number of gates.
    pub gates: usize,
    /// log_alpha of all gates at the start; 0 opens half of them.
    pub log_alpha: f32,
    /// The shape of the distribution.
    pub shape: HardConcrete,
}

impl HardConcreteGateConfig {
    /// log_alpha 0, the paper's distribution.
    pub fn new(gates: usize) -> Self {
        Self { gates, log_alpha: 0.0, shape: HardConcrete::default() }
    }

    /// The layer.
    pub fn init(&self, device: &Device) -> HardConcreteGate {
        let log_alpha = Param::from_tensor(Tensor::full([self.gates], self.log_alpha, device));
        HardConcreteGate { log_alpha, shape: self.shape }
    }
}

/// [`hard_concrete()`] gates whose openness is learned.
///
/// ```
/// use burn::tensor::Device;
/// use hardgrad::mask::HardConcreteGateConfig;
/// use hardgrad::random::Random;
///
/// let layer = HardConcreteGateConfig::new(3).init(&Device::flex());
/// assert_eq!(layer.forward(&Random::new(0, 0, 0)).dims(), [3]);
/// assert_eq!(layer.expected().into_data().try_into_vec::<f32>().unwrap(), [0.5; 3]);
/// ```
#[derive(Module, Debug)]
pub struct HardConcreteGate {
    /// log_alpha `[gates]`: a logarithm, so that any value is a possible one.
    pub log_alpha: Param<Tensor<1>>,
    #[module(skip)]
    shape: HardConcrete,
}

impl HardConcreteGate {
    /// Gates `[gates]` for training.
    pub fn forward(&self, random: &Random) -> Tensor<1> {
        let log_alpha = self.log_alpha.val();
        let mut uniform = vec![0.0; log_alpha.dims()[0]];
        random.fill_uniform(&mut uniform);
        let uniform = Tensor::from_floats(uniform.as_slice(), &log_alpha.clone().inner().device());
        hard_concrete(log_alpha, uniform, self.shape)
    }

    /// Gates `[gates]` for evaluation: clamp(sigmoid(log_alpha) (zeta - gamma) + gamma, 0, 1).
    pub fn expected(&self) -> Tensor<1> {
        let HardConcrete { gamma, zeta, .. } = self.shape;
        (sigmoid(self.log_alpha.val()) * (zeta - gamma) + gamma).clamp(0.0, 1.0)
    }

    /// The probability `[gates]` that a gate is not 0: sigmoid(log_alpha - beta ln(-gamma / zeta)); its sum is the penalty.
    pub fn open_probability(&self) -> Tensor<1> {
        let HardConcrete { beta, gamma, zeta } = self.shape;
        sigmoid(self.log_alpha.val() - beta * (-gamma / zeta).ln())
    }
}
