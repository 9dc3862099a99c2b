use burn::tensor::Tensor;
use hardgrad_kernels::random::Random;

use super::estimator::{check, flatten};
use super::{CategoricalError, Entry, Estimator, sample, straight_through_categorical};
use crate::settings::Setting;

/// Straight-through with temperatures of their own for sampling and for the gradient.
///
/// ```text
/// y = one-hot(sample from softmax(logits / forward_temperature))        dlogits = G through softmax(logits / temperature)
/// ```
/// The forward temperature sets how random the choices are, the other how far the gradient is spread over categories.
/// Source: Shah, Yan, Mozer, Liu, "Improving discrete optimisation via decoupled straight-through estimator", 2024.
#[derive(Clone, Copy, Debug)]
pub struct Decoupled {
    /// Temperature of the sampling, above 0.
    pub forward_temperature: f32,
}

pub(super) static ENTRY: Entry = Entry {
    name: "decoupled",
    summary: "straight-through with a temperature for sampling and another for the gradient",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[Setting {
        key: "forward_temperature",
        default: 0.5,
        expected: "above 0",
        valid: |value| value > 0.0 && value.is_finite(),
    }],
    make: |settings| Box::new(Decoupled { forward_temperature: settings[0] as f32 }),
};

impl Estimator for Decoupled {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        check(self.name(), &logits, temperature, 0.0)?;
        let (dims, logits) = (logits.dims(), flatten(logits));
        let choice = sample(&(logits.clone().inner() / self.forward_temperature), random);
        Ok(Some(straight_through_categorical(logits, choice, temperature).reshape(dims)))
    }
}
