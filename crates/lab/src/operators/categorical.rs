use burn::tensor::Tensor;
use hardgrad::categorical;

use super::{Call, Key, Operator, OperatorError};

const SHAPE: &str = "[n, categories]";

/// See [`hardgrad::categorical::gumbel_softmax`].
pub(super) static GUMBEL_SOFTMAX: Operator = Operator {
    name: "gumbel_softmax",
    summary: "relaxed choices by Gumbel noise, or hard ones with their gradient",
    inputs: &["logits", "uniform", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::positive("tau"), Key::flag("hard", false)],
    run: |call| {
        let (temperature, hard) = (call.number("tau")?, call.flag("hard")?);
        let shape = logits_shape(call)?;
        call.check_same_shape("uniform", "logits")?;
        call.check_uniform()?;
        call.rows("logits", |logits| {
            categorical::gumbel_softmax(logits, call.constant("uniform", shape), temperature, hard)
        })
    },
};

/// See [`hardgrad::categorical::straight_through_categorical`].
pub(super) static STRAIGHT_THROUGH: Operator = Operator {
    name: "straight_through_categorical",
    summary: "one-hot of a sample; gradient of the softmax",
    inputs: &["logits", "sample", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::positive("tau")],
    run: |call| {
        let temperature = call.number("tau")?;
        let sample = sample(call)?;
        call.rows("logits", |logits| categorical::straight_through_categorical(logits, sample.clone(), temperature))
    },
};

/// See [`hardgrad::categorical::reinmax`].
pub(super) static REINMAX: Operator = Operator {
    name: "reinmax",
    summary: "one-hot of a sample; gradient of second order",
    inputs: &["logits", "sample", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::number("tau", "a number that is at least 1", |tau| tau >= 1.0)],
    run: |call| {
        let temperature = call.number("tau")?;
        let sample = sample(call)?;
        call.rows("logits", |logits| categorical::reinmax(logits, sample.clone(), temperature))
    },
};

/// See [`hardgrad::categorical::gapped_straight_through`].
pub(super) static GAPPED: Operator = Operator {
    name: "gapped_straight_through",
    summary: "one-hot of a sample; gradient of a softmax in which it leads by a gap",
    inputs: &["logits", "sample", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::positive("tau"), Key::finite("gap").or("1")],
    run: |call| {
        let (temperature, gap) = (call.number("tau")?, call.number("gap")?);
        let sample = sample(call)?;
        call.rows("logits", |logits| categorical::gapped_straight_through(logits, sample.clone(), temperature, gap))
    },
};

/// Rows and categories; there must be something to choose.
fn logits_shape(call: &Call) -> Result<[usize; 2], OperatorError> {
    match call.shape("logits", SHAPE)? {
        [_, 0] => Err(call.wrong_shape("logits", "[n, categories] with at least one category")),
        shape => Ok(shape),
    }
}

/// The sampled categories, which must be some of those of the logits.
fn sample(call: &Call) -> Result<Tensor<1>, OperatorError> {
    let [rows, categories] = logits_shape(call)?;
    call.check_shape("sample", &[rows])?;
    let valid = |index: f32| index.fract() == 0.0 && index >= 0.0 && (index as usize) < categories;
    match call.input("sample").values.iter().find(|index| !valid(**index)) {
        None => Ok(call.constant("sample", [rows])),
        Some(index) => {
            let expected = format!("whole numbers from 0 to {}", categories as i64 - 1);
            Err(call.wrong("sample", &expected, &index.to_string()))
        }
    }
}
