//! Batch normalisation in the form that ships: a factor and a shift a channel.
//!
//! ```text
//! y = x * multiplier + offset, rounded after each of the two        [channels, height, width] or [features]
//! ```
//! Tensors: multiplier and offset `[channels]`.

use hardgrad_kernels::integer;
use serde::{Deserialize, Serialize};

use super::check::check_positive;
use super::operator::Operator;
use super::problem::Problem;
use super::sizes;
use super::step::{Elementwise, Packed, Runner, Scratch};
use super::tensor::TensorShape;

/// Settings of a batch normalisation, which matter in training only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Added to the variance; 1e-5.
    #[serde(with = "sizes::real", default = "sizes::epsilon", skip_serializing_if = "sizes::is_epsilon")]
    pub epsilon: f32,
    /// Share of each batch in the running statistics; 0.1.
    #[serde(with = "sizes::real", default = "sizes::momentum", skip_serializing_if = "sizes::is_momentum")]
    pub momentum: f32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { epsilon: sizes::epsilon(), momentum: sizes::momentum() }
    }
}

impl Operator for BatchNorm {
    const KIND: &'static str = "batch_norm";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        check_positive("epsilon", self.epsilon)?;
        check_positive("momentum", self.momentum)?;
        match inputs[0].len() {
            1 | 3 => Ok(inputs[0].clone()),
            _ => Err(Problem::Rank {
                expected: "an image [channels, height, width], or [features]",
                found: inputs[0].clone(),
            }),
        }
    }

    fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
        ["multiplier", "offset"].map(|name| TensorShape::new(name, [inputs[0][0]])).into()
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let plane = node.output[1..].iter().product();
        let [multiplier, offset] = ["multiplier", "offset"].map(|field| node.floats(field).to_vec());
        Runner::Elementwise(Box::new(Run { plane, multiplier, offset }))
    }
}

#[derive(Debug)]
struct Run {
    /// Values of a channel.
    plane: usize,
    multiplier: Vec<f32>,
    offset: Vec<f32>,
}

impl Elementwise for Run {
    fn run(&self, values: &mut [f32], _: &mut Scratch) {
        let Self { plane, multiplier, offset } = self;
        for item in values.chunks_mut(plane * multiplier.len()) {
            if *plane == 1 {
                integer::affine_features(item, multiplier, offset);
                continue;
            }
            for ((values, &multiplier), &offset) in item.chunks_mut(*plane).zip(multiplier).zip(offset) {
                integer::affine_plane(values, multiplier, offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, stored, whole};
    use super::*;

    #[test]
    fn each_channel_has_its_factor_and_shift() {
        let tensors = [("multiplier", stored(&[2.0, -1.0])), ("offset", stored(&[0.5, 0.0]))];
        let run = |shape: &[usize], x| run(&BatchNorm::default(), &[(shape, x)], &tensors).unwrap().1;
        assert_eq!(run(&[2, 1, 2], floats(&[1.0, 2.0, 3.0, 4.0])), floats(&[2.5, 4.5, -3.0, -4.0]));
        assert_eq!(run(&[2], whole(&[1, 2, 3, 4], 0.5)), floats(&[1.5, -1.0, 3.5, -2.0]));
    }
}
