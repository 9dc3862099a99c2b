//! A learned token before all others: `[tokens, width]` to `[tokens + 1, width]`.
//!
//! Tensors: token `[width]`.

use serde::{Deserialize, Serialize};

use super::operator::{Operator, tokens};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// A class token, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassToken {}

impl Operator for ClassToken {
    const KIND: &'static str = "class_token";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let [count, width] = tokens(&inputs[0])?;
        Ok(vec![count + 1, width])
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        vec![TensorShape::new("token", [inputs[0][1]])]
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let token = node.floats("token").to_vec();
        Runner::Step(Box::new(Run { token, item: input.len(), form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    token: Vec<f32>,
    /// Values of an item of the input.
    item: usize,
    form: Form,
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        output.floats.clear();
        for item in x.chunks(self.item) {
            output.floats.extend_from_slice(&self.token);
            output.floats.extend_from_slice(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, stored, whole};
    use super::*;

    #[test]
    fn the_token_comes_first_in_each_item() {
        let run = |x| run(&ClassToken {}, &[(&[1, 2], x)], &[("token", stored(&[7.0, 8.0]))]).unwrap();
        let expected = floats(&[7.0, 8.0, 1.0, 2.0, 7.0, 8.0, 3.0, 4.0]);
        assert_eq!(run(floats(&[1.0, 2.0, 3.0, 4.0])), (vec![2, 2], expected.clone()));
        assert_eq!(run(whole(&[2, 4, 6, 8], 0.5)).1, expected);
    }
}
