//! The mean over all pixels of a channel, or over all tokens: the sum in their order, divided by their number.
//!
//! `[channels, height, width]` to `[channels]`; `[tokens, width]` to `[width]`.

use hardgrad_kernels::ordered;
use serde::{Deserialize, Serialize};

use super::operator::{Operator, Signs};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};

/// A mean, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMean {}

impl Operator for GlobalMean {
    const KIND: &'static str = "global_mean";
    const SIGNS: Signs = Signs::Kept;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        match inputs[0][..] {
            [channels, _, _] => Ok(vec![channels]),
            [_, width] => Ok(vec![width]),
            _ => Err(Problem::Rank {
                expected: "an image [channels, height, width] or tokens [tokens, width]",
                found: inputs[0].clone(),
            }),
        }
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        Runner::Step(Box::new(Run { shape: input.shape.clone(), form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    shape: Vec<usize>,
    form: Form,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        match self.shape[..] {
            [tokens, width] => {
                output.floats.resize(items * width, 0.0);
                for (x, out) in x.chunks(tokens * width).zip(output.floats.chunks_mut(width)) {
                    ordered::mean_tokens(x, tokens, width, out);
                }
            }
            _ => {
                let planes = items * self.shape[0];
                output.floats.resize(planes, 0.0);
                ordered::mean_planes(x, planes, x.len() / planes.max(1), &mut output.floats);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn pixels_of_a_channel_or_tokens() {
        let run = |shape: &[usize], x| run(&GlobalMean {}, &[(shape, x)], &[]).unwrap();
        // Two images of two channels; one sequence of two tokens after the other.
        let x = [1.0, 3.0, 5.0, 6.0, 0.0, 1.0, 7.0, 7.0];
        assert_eq!(run(&[2, 1, 2], floats(&x)), (vec![2], floats(&[2.0, 5.5, 0.5, 7.0])));
        assert_eq!(run(&[2, 2], floats(&x)), (vec![2], floats(&[3.0, 4.5, 3.5, 4.0])));
        assert_eq!(run(&[2, 1], whole(&[1, 2], 0.5)), (vec![1], floats(&[0.75])));
    }
}
