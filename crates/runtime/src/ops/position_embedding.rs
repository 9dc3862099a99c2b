//! A learned value added to each value of each token: y = x + embedding.
//!
//! `[tokens, width]`. Tensors: embedding `[tokens, width]`.

use serde::{Deserialize, Serialize};

use super::operator::{Operator, tokens};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// A position embedding, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionEmbedding {}

impl Operator for PositionEmbedding {
    const KIND: &'static str = "position_embedding";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        Ok(tokens(&inputs[0])?.to_vec())
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        vec![TensorShape::new("embedding", inputs[0].clone())]
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let embedding = node.floats("embedding").to_vec();
        Runner::Step(Box::new(Run { embedding, form: node.inputs[0].form() }))
    }
}

#[derive(Debug)]
struct Run {
    embedding: Vec<f32>,
    form: Form,
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        output.floats.clear();
        for item in x.chunks(self.embedding.len()) {
            output.floats.extend(item.iter().zip(&self.embedding).map(|(x, embedding)| x + embedding));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, stored, whole};
    use super::*;

    #[test]
    fn it_is_added_to_each_item() {
        let embedding = stored(&[10.0, 20.0, 30.0, 40.0]);
        let run = |x| run(&PositionEmbedding {}, &[(&[2, 2], x)], &[("embedding", embedding.clone())]).unwrap();
        let x = floats(&[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 5.0]);
        assert_eq!(run(x), (vec![2, 2], floats(&[11.0, 22.0, 33.0, 44.0, 10.0, 20.0, 30.0, 45.0])));
        assert_eq!(run(whole(&[1, 0, 0, 2], 0.5)).1, floats(&[10.5, 20.0, 30.0, 41.0]));
    }
}
