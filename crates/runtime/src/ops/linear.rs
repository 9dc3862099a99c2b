//! Weighted sums over the last axis.
//!
//! ```text
//! [features] -> [outputs]        [tokens, width] -> [tokens, outputs]
//! whole weight:  y = (sum of whole products as f32) * (input_scale * weight_scale), then + bias
//! float weight:  y = sum of products in the order of the inputs, then + bias
//! ```
//! Tensors: weight `[outputs, inputs]`, bias `[outputs]`.

use hardgrad_kernels::{integer, ordered};
use serde::{Deserialize, Serialize};

use super::check::check_size;
use super::operator::{Operator, product};
use super::problem::Problem;
use super::products::{self, Operand};
use super::sizes;
use super::step::{Buffer, Domain, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// Sizes of a linear layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Number of outputs.
    pub outputs: usize,
    /// Whether a value is added to each output; true.
    #[serde(default = "sizes::yes", skip_serializing_if = "sizes::is_yes")]
    pub bias: bool,
}

impl Linear {
    /// A layer with bias.
    pub fn new(outputs: usize) -> Self {
        Self { outputs, bias: true }
    }
}

/// Length of the last axis.
fn width(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(0)
}

impl Operator for Linear {
    const KIND: &'static str = "linear";
    const HAS_WEIGHTS: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let mut shape = inputs[0].clone();
        if !matches!(shape.len(), 1 | 2) {
            return Err(Problem::Rank {
                expected: "[features] or tokens [tokens, width] (flatten images first)",
                found: shape,
            });
        }
        check_size(&[self.outputs])?;
        // Float weights are laid out for 16 outputs at a time, or more.
        check_size(&[width(&shape), 16])?;
        if let Some(last) = shape.last_mut() {
            *last = self.outputs;
        }
        Ok(shape)
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        products::tensors(vec![self.outputs, width(&inputs[0])], self.bias)
    }

    fn multiply_accumulates(&self, inputs: &[Vec<usize>], output: &[usize]) -> u64 {
        product(&[width(&inputs[0])]).saturating_mul(product(output))
    }

    fn check(&self, node: &Packed<'_>) -> Result<Domain, Problem> {
        products::check(node, self.outputs)
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let inputs = width(&input.shape);
        let lay_out = |weight: &[f32], bias: Option<&[f32]>| ordered::Linear::new(weight, bias, self.outputs, inputs);
        let operand = Operand::new(node, self.outputs, lay_out);
        let rows = input.len() / inputs.max(1);
        Runner::Step(Box::new(Run { rows, inputs, outputs: self.outputs, operand, form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    /// Rows of one item.
    rows: usize,
    inputs: usize,
    outputs: usize,
    operand: Operand<ordered::Linear>,
    form: Form,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let &Self { inputs: depth, outputs, .. } = self;
        let rows = items * self.rows;
        output.floats.resize(rows * outputs, 0.0);
        match &self.operand {
            Operand::Whole { weight, scale, bias } => {
                scratch.sums.resize(rows * outputs, 0);
                integer::matmul(&inputs[0].codes, weight, rows, outputs, depth, &mut scratch.sums);
                for (sums, out) in scratch.sums.chunks(outputs).zip(output.floats.chunks_mut(outputs)) {
                    integer::scale_features(sums, scale, bias.as_deref(), out);
                }
            }
            Operand::Float(linear) => {
                let floats = self.form.floats(inputs[0], &mut scratch.floats[0]);
                linear.forward(floats, &mut output.floats);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, signs, stored, whole};
    use super::*;

    #[test]
    fn whole_and_float_weights_give_the_sums_of_features_and_tokens() {
        let (op, x) = (Linear::new(1), whole(&[1, 2, 3, -4], 0.5));
        let tensors = [("weight", signs(&[1, 0], 0.5)), ("bias", stored(&[10.0]))];
        let expected = floats(&[9.75, 11.75]);
        // Two items of two features, or one of two tokens.
        assert_eq!(run(&op, &[(&[2], x.clone())], &tensors).unwrap(), (vec![1], expected.clone()));
        assert_eq!(run(&op, &[(&[2, 2], x.clone())], &tensors).unwrap(), (vec![2, 1], expected));
        let tensors = [("weight", stored(&[1.0, -1.0])), ("bias", stored(&[10.0]))];
        assert_eq!(run(&op, &[(&[2], x)], &tensors).unwrap(), (vec![1], floats(&[9.5, 13.5])));
        let x = floats(&[3.0, 1.0]);
        assert_eq!(run(&op, &[(&[2], x)], &tensors).unwrap(), (vec![1], floats(&[12.0])));
    }

    #[test]
    fn whole_weights_do_not_read_floats() {
        let op = Linear { outputs: 1, bias: false };
        let result = run(&op, &[(&[2], floats(&[1.0, 2.0]))], &[("weight", signs(&[0, 1], 1.0))]);
        assert_eq!(result.unwrap_err(), Problem::FloatInput);
    }
}
