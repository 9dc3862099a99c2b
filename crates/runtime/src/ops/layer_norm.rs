//! Layer normalisation over the last axis.
//!
//! ```text
//! y = (x - mean) / sqrt(variance + epsilon) gamma + beta
//! ```
//! `[features]` or `[tokens, width]`. Tensors: gamma and beta, as long as the last axis.

use hardgrad_kernels::layer_norm;
use serde::{Deserialize, Serialize};

use super::check::check_positive;
use super::operator::Operator;
use super::problem::Problem;
use super::sizes;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// Settings of a layer normalisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Added to the variance; 1e-5.
    #[serde(with = "sizes::real", default = "sizes::epsilon", skip_serializing_if = "sizes::is_epsilon")]
    pub epsilon: f32,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { epsilon: sizes::epsilon() }
    }
}

impl Operator for LayerNorm {
    const KIND: &'static str = "layer_norm";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        check_positive("epsilon", self.epsilon)?;
        match inputs[0].len() {
            1 | 2 => Ok(inputs[0].clone()),
            _ => Err(Problem::Rank { expected: "[features] or tokens [tokens, width]", found: inputs[0].clone() }),
        }
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        let width = inputs[0].last().copied().unwrap_or(0);
        ["gamma", "beta"].map(|name| TensorShape::new(name, [width])).into()
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let [gamma, beta] = ["gamma", "beta"].map(|field| node.floats(field).to_vec());
        Runner::Step(Box::new(Run { gamma, beta, epsilon: self.epsilon, form: node.inputs[0].form() }))
    }
}

#[derive(Debug)]
struct Run {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
    form: Form,
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        output.floats.resize(x.len(), 0.0);
        layer_norm::forward_rows(x, &self.gamma, &self.beta, self.epsilon, &mut output.floats);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Values, floats, run, stored, whole};
    use super::*;

    #[test]
    fn it_is_the_kernel_over_each_token() {
        let (gamma, beta) = ([1.0, 2.0, 0.5], [0.0, 1.0, -1.0]);
        let tensors = [("gamma", stored(&gamma)), ("beta", stored(&beta))];
        let x = [1.0, 2.0, 4.5, -1.0, 0.0, 3.0];
        let (expected, _) = layer_norm::forward(&x, &gamma, &beta, 1e-3);
        let run = |x| run(&LayerNorm { epsilon: 1e-3 }, &[(&[2, 3], x)], &tensors).unwrap().1;
        assert_eq!(run(floats(&x)), Values::Floats(expected.clone()));
        assert_eq!(run(whole(&[2, 4, 9, -2, 0, 6], 0.5)), Values::Floats(expected));
    }
}
