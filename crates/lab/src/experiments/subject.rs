//! What an experiment asks of the network that it trains.

use burn::module::Module;
use burn::tensor::Tensor;
use hardgrad::parameters::Role;
use hardgrad::zeroth_order::{Perturbed, Probes, quantized};

/// A network that takes rows of 28 x 28 pixels.
pub(super) trait Subject: Module + 'static {
    /// Logits of images `[batch, 784]`.
    fn logits(&self, images: Tensor<2>) -> Tensor<2>;

    /// The parameters behind hard functions.
    fn perturbed(&self) -> Vec<Perturbed> {
        quantized(self)
    }

    /// The code of a perturbed value whose quantiser has this step.
    fn code(value: f32, step: f32) -> i32 {
        (value / step).round_ties_even().clamp(-2.0, 1.0) as i32
    }

    /// The slopes of all directions, computed many at a time; none where single passes are as good.
    fn slopes(&self, _probes: &Probes<'_>, _images: &Tensor<2>, _labels: &[u8]) -> Option<Vec<f64>> {
        None
    }

    /// Whether training changes parameters of this role.
    fn trains(_role: Role) -> bool {
        true
    }

    /// A copy that shares no running statistics with this network, which a clone does.
    fn valid_copy(&self) -> Self {
        self.valid().train()
    }
}
