//! One token of all: `[tokens, width]` to `[width]`. Codes stay codes.

use serde::{Deserialize, Serialize};

use super::operator::{Operator, tokens};
use super::problem::Problem;
use super::sizes;
use super::step::{Buffer, Domain, Packed, Runner, Scratch, Step};

/// Which token is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeToken {
    /// Its place; 0, where a class token stands.
    #[serde(default, skip_serializing_if = "sizes::is_zero")]
    pub index: usize,
}

impl Operator for TakeToken {
    const KIND: &'static str = "take_token";
    const PASSES_CODES: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let [count, width] = tokens(&inputs[0])?;
        match self.index < count {
            true => Ok(vec![width]),
            false => Err(Problem::Index { index: self.index, count }),
        }
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let width = input.shape[1];
        Runner::Step(Box::new(Run { item: input.len(), first: self.index * width, width, domain: input.domain }))
    }
}

#[derive(Debug)]
struct Run {
    /// Values of an item of the input.
    item: usize,
    first: usize,
    width: usize,
    domain: Domain,
}

impl Run {
    fn take<T: Copy>(&self, x: &[T], out: &mut Vec<T>) {
        out.clear();
        x.chunks(self.item).for_each(|item| out.extend_from_slice(&item[self.first..][..self.width]));
    }
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, _: &mut Scratch) {
        match self.domain {
            Domain::Float => self.take(&inputs[0].floats, &mut output.floats),
            Domain::Codes(_) => self.take(&inputs[0].codes, &mut output.codes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn codes_stay_codes() {
        let run = |x| run(&TakeToken { index: 1 }, &[(&[2, 2], x)], &[]).unwrap();
        assert_eq!(run(whole(&[1, 2, 3, 4, 5, 6, 7, 8], 0.5)), (vec![2], whole(&[3, 4, 7, 8], 0.5)));
        assert_eq!(run(floats(&[1.0, 2.0, 3.0, 4.0])).1, floats(&[3.0, 4.0]));
    }
}
