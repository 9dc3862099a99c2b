use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use super::estimator::of_sample;
use super::{CategoricalError, Entry, Estimator, one_hot};
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{on_flex, tensor, values};

/// One-hot vectors of sampled categories whose gradient is that of the probabilities.
///
/// ```text
/// y = one-hot(sample)        dlogits = G through s = softmax(logits / temperature): s (G - s.G) / temperature
/// ```
/// `logits` `[n, categories]`; `sample` `[n]`, indices as f32; `temperature` above 0.
/// Source: Bengio, Léonard, Courville, 2013.
pub fn straight_through_categorical(logits: Tensor<2>, sample: Tensor<1>, temperature: f32) -> Tensor<2> {
    if !on_flex(&logits) {
        return composed(logits, sample, temperature);
    }
    let (input, dims) = (values(&logits), logits.dims());
    let y = one_hot(&sample, dims[1]);
    custom_vjp(logits, y, move |gradient| {
        let mut out = vec![0.0; input.len()];
        categorical::straight_through_backward(&input, &values(&gradient), dims[1], temperature, &mut out);
        tensor(out, dims)
    })
}

/// [`straight_through_categorical`] as a composition of Burn's operators, for any device.
pub fn composed(logits: Tensor<2>, sample: Tensor<1>, temperature: f32) -> Tensor<2> {
    let hard = composed_one_hot(&logits, sample);
    exactly(hard, softmax(logits / temperature, 1))
}

/// One-hot rows by comparison with the column numbers, on the device of `logits`.
pub(super) fn composed_one_hot(logits: &Tensor<2>, sample: Tensor<1>) -> Tensor<2> {
    let [rows, categories] = logits.dims();
    let columns: Vec<f32> = (0..categories).map(|column| column as f32).collect();
    let columns = Tensor::<1>::from_floats(columns.as_slice(), &logits.clone().inner().device());
    let columns = columns.reshape([1, categories]).expand([rows, categories]);
    columns.equal(sample.inner().reshape([rows, 1]).expand([rows, categories])).float()
}

/// Sampled categories with [`straight_through_categorical`].
#[derive(Clone, Copy, Debug)]
pub struct StraightThrough;

pub(super) static ENTRY: Entry = Entry {
    name: "straight_through",
    summary: "one-hot sample forward, softmax backward",
    unbiased: false,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: false,
    settings: &[],
    make: |_| Box::new(StraightThrough),
};

impl Estimator for StraightThrough {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        of_sample(&ENTRY, logits, temperature, random, |logits, sample| {
            straight_through_categorical(logits, sample, temperature)
        })
    }
}
