use burn::tensor::{Int, Tensor};
use hardgrad::select::{token_score, token_select, top_k_mask};

use super::call::{Array, floats, gradient};
use super::{Call, Key, Operator, OperatorError, Output, Outputs};
use crate::train::step::tensor_gradients;

/// See [`hardgrad::select::top_k_mask`].
pub(super) static TOP_K_MASK: Operator = Operator {
    name: "top_k_mask",
    summary: "1 on the k largest scores of each row; gradient of the softmax",
    inputs: &["scores", "grad"],
    optional_inputs: &["uniform"],
    keys,
    run: |call| {
        let shape @ [_, count] = call.shape("scores", "[batch, n]")?;
        let (k, temperature) = (k(call, count)?, call.number("tau")?);
        call.check_same_shape("grad", "scores")?;
        let uniform = call.uniform("scores", shape)?;
        let scores = call.leaf("scores", shape);
        let chosen = top_k_mask(scores.clone(), uniform, k, temperature);
        let gradients = call.backward(&chosen.mask);
        let mut outputs = call.outputs(chosen.mask, vec![("scores", gradient(&scores, &gradients))]);
        outputs.insert("indices".to_string(), index(chosen.indices));
        Ok(outputs)
    },
};

/// See [`hardgrad::select::token_select`].
pub(super) static TOKEN_SELECT: Operator = Operator {
    name: "token_select",
    summary: "the k tokens with the largest scores, and one extra token made of the others",
    inputs: &["tokens", "scores", "grad_selected", "grad_extra"],
    optional_inputs: &["uniform"],
    keys,
    run: |call| {
        let shape @ [batch, count, width] = call.shape("tokens", "[batch, n, width]")?;
        call.check_shape("scores", &[batch, count])?;
        let (k, temperature) = (k(call, count)?, call.number("tau")?);
        call.check_shape("grad_selected", &[batch, k, width])?;
        call.check_shape("grad_extra", &[batch, 1, width])?;
        let uniform = call.uniform("scores", [batch, count])?;
        let (tokens, scores) = (call.leaf("tokens", shape), call.leaf("scores", [batch, count]));
        let selection = token_select(tokens.clone(), scores.clone(), uniform, k, temperature);
        let upstream =
            [call.constant("grad_selected", [batch, k, width]), call.constant("grad_extra", [batch, 1, width])];
        let gradients = tensor_gradients((selection.tokens.clone() * Tensor::cat(upstream.to_vec(), 1)).sum());
        let kept = selection.tokens.inner();
        Ok(Outputs::from([
            ("selected".to_string(), float(kept.clone().slice([0..batch, 0..k, 0..width]))),
            ("extra".to_string(), float(kept.slice([0..batch, k..k + 1, 0..width]))),
            ("mask".to_string(), float(selection.mask)),
            ("indices".to_string(), index(selection.indices)),
            ("grad_tokens".to_string(), float(tokens.grad(&gradients).unwrap_or_else(|| tokens.inner().zeros_like()))),
            ("grad_scores".to_string(), float(scores.grad(&gradients).unwrap_or_else(|| scores.inner().zeros_like()))),
        ]))
    },
};

/// See [`hardgrad::select::token_score`].
pub(super) static TOKEN_SCORE: Operator = Operator {
    name: "token_score",
    summary: "a token's score from a learned score and three similarities",
    inputs: &["s_pred", "s_m2", "s_m3", "s_im", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::finite("beta")],
    run: |call| {
        let beta = call.number("beta")?;
        const NAMES: [&str; 4] = ["s_pred", "s_m2", "s_m3", "s_im"];
        for name in ["s_m2", "s_m3", "s_im", "grad"] {
            call.check_same_shape(name, "s_pred")?;
        }
        let leaves = NAMES.map(|name| call.leaf(name, [call.input(name).values.len()]));
        let [pred, m2, m3, im] = leaves.clone();
        let y = token_score(pred, m2, m3, im, beta);
        let gradients = call.backward(&y);
        let gradients = NAMES.into_iter().zip(&leaves).map(|(name, leaf)| (name, gradient(leaf, &gradients)));
        Ok(call.outputs(y, gradients.collect()))
    },
};

fn keys() -> Vec<Key> {
    vec![Key::number("k", "a whole number from 1 to the number of places of a row", |k| k >= 1.0), Key::positive("tau")]
}

/// How many of `count` stay.
fn k(call: &Call, count: usize) -> Result<usize, OperatorError> {
    let k = call.number::<u32>("k")? as usize;
    match k <= count {
        true => Ok(k),
        false => {
            Err(call.wrong("k", &format!("a whole number from 1 to {count}, the places of a row"), &k.to_string()))
        }
    }
}

fn float<const D: usize>(tensor: Tensor<D>) -> Output {
    Output::Float(Array { shape: tensor.dims().to_vec(), values: floats(tensor) })
}

/// An integer tensor as an output.
pub(super) fn index<const D: usize>(tensor: Tensor<D, Int>) -> Output {
    let shape = tensor.dims().to_vec();
    Output::Index(shape, tensor.into_data().try_into_vec().expect("indices are i64"))
}
