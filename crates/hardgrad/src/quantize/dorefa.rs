use burn::module::Module;
use burn::tensor::Tensor;

use super::quantizer::Format;
use super::{Grid, Levels, Role, ToCode};
use crate::ops::{dorefa_activation, dorefa_weight};

/// DoReFa: activations clipped to 0..1, weights squeezed to -1..1 by tanh; nothing is learned or observed.
///
/// Formulas at [`ops::dorefa_activation`](crate::ops::dorefa_activation) and
/// [`ops::dorefa_weight`](crate::ops::dorefa_weight). Source: Zhou et al., 2016.
#[derive(Module, Debug)]
pub struct DorefaRange {
    weights: bool,
}

impl DorefaRange {
    pub(super) fn new(role: Role) -> Self {
        Self { weights: role == Role::Weight }
    }

    pub(super) fn quantize<const D: usize>(&self, x: Tensor<D>, format: Format) -> Tensor<D> {
        if self.weights { dorefa_weight(x, format.bits) } else { dorefa_activation(x, format.bits) }
    }

    pub(super) fn grid(&self, format: Format) -> Grid {
        let steps = Levels::new(format.bits, false, false).qmax;
        let scale = vec![1.0 / steps as f32];
        match self.weights {
            // y = (2 n - L) / L: every second whole number from -L to L.
            true => Grid {
                bits: format.bits,
                lowest: vec![-steps],
                span: 2 * steps,
                spacing: 2,
                scale,
                to_code: ToCode::Divide,
            },
            false => Grid {
                bits: format.bits,
                lowest: vec![0],
                span: steps,
                spacing: 1,
                scale,
                to_code: ToCode::Multiply(steps as f32),
            },
        }
    }
}
