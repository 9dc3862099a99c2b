//! The sum of two values of one shape.

use serde::{Deserialize, Serialize};

use super::operator::{Operator, Signs};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};

/// An addition, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operator for Add {
    const KIND: &'static str = "add";
    const INPUTS: usize = 2;
    const SIGNS: Signs = Signs::Kept;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        match inputs[0] == inputs[1] {
            true => Ok(inputs[0].clone()),
            false => Err(Problem::Shapes { first: inputs[0].clone(), second: inputs[1].clone() }),
        }
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        Runner::Step(Box::new(Run { forms: [node.inputs[0].form(), node.inputs[1].form()] }))
    }
}

#[derive(Debug)]
struct Run {
    forms: [Form; 2],
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let [first, second] = &mut scratch.floats;
        let (a, b) = (self.forms[0].floats(inputs[0], first), self.forms[1].floats(inputs[1], second));
        output.floats.clear();
        output.floats.extend(a.iter().zip(b).map(|(a, b)| a + b));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Values, floats, run, whole};
    use super::*;

    #[test]
    fn codes_and_floats_are_added_as_floats() {
        let (a, b) = (whole(&[1, 2], 0.5), floats(&[10.0, 20.0]));
        let run = |a: &Values, b: &Values| run(&Add {}, &[(&[2], a.clone()), (&[2], b.clone())], &[]).unwrap().1;
        assert_eq!(run(&a, &b), floats(&[10.5, 21.0]));
        assert_eq!(run(&b, &a), floats(&[10.5, 21.0]));
        assert_eq!(run(&a, &a), floats(&[1.0, 2.0]));
    }
}
