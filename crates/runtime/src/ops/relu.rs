//! y = x where x is above 0, otherwise 0.

use hardgrad_kernels::integer;
use serde::{Deserialize, Serialize};

use super::operator::{Operator, Signs};
use super::problem::Problem;
use super::step::{Elementwise, Packed, Runner, Scratch};

/// A ReLU, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl Operator for Relu {
    const KIND: &'static str = "relu";
    const SIGNS: Signs = Signs::NeverNegative;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        Ok(inputs[0].clone())
    }

    fn runner(&self, _: &Packed<'_>) -> Runner {
        Runner::Elementwise(Box::new(Run))
    }
}

#[derive(Debug)]
struct Run;

impl Elementwise for Run {
    fn run(&self, values: &mut [f32], _: &mut Scratch) {
        integer::relu(values);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn what_is_not_above_0_becomes_0() {
        let run = |x| run(&Relu {}, &[(&[2, 2], x)], &[]).unwrap();
        let (shape, y) = run(floats(&[-1.0, 0.5, f32::NAN, 2.0]));
        assert_eq!((shape, y), (vec![2, 2], floats(&[0.0, 0.5, 0.0, 2.0])));
        assert_eq!(run(whole(&[-3, 3, 0, 1], 0.5)).1, floats(&[0.0, 1.5, 0.0, 0.5]));
    }
}
