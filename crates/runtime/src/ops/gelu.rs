//! The Gaussian error linear unit, y = x Phi(x), in its exact form.

use hardgrad_kernels::gelu;
use serde::{Deserialize, Serialize};

use super::operator::Operator;
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};

/// A GELU, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {}

impl Operator for Gelu {
    const KIND: &'static str = "gelu";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        Ok(inputs[0].clone())
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        Runner::Step(Box::new(Run { form: node.inputs[0].form() }))
    }
}

#[derive(Debug)]
struct Run {
    form: Form,
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        output.floats.resize(x.len(), 0.0);
        gelu::forward_into(x, &mut output.floats);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Values, floats, run, whole};
    use super::*;

    #[test]
    fn it_is_the_kernel() {
        let x = [-2.0, -0.5, 0.0, 1.0];
        let (_, y) = run(&Gelu {}, &[(&[4], floats(&x))], &[]).unwrap();
        assert_eq!(y, Values::Floats(gelu::forward(&x)));
        let (_, y) = run(&Gelu {}, &[(&[4], whole(&[-4, -1, 0, 2], 0.5))], &[]).unwrap();
        assert_eq!(y, Values::Floats(gelu::forward(&x)));
    }
}
