//! All values of an item in one row: `[...]` to `[features]`. Codes stay codes.

use serde::{Deserialize, Serialize};

use super::limits::count;
use super::operator::Operator;
use super::problem::Problem;
use super::step::{Packed, Runner};

/// A flatten, which has no sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operator for Flatten {
    const KIND: &'static str = "flatten";
    const PASSES_CODES: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        Ok(vec![count(&inputs[0])])
    }

    fn runner(&self, _: &Packed<'_>) -> Runner {
        Runner::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn values_and_codes_stay_as_they_are() {
        let run = |x| run(&Flatten {}, &[(&[1, 2, 2], x)], &[]).unwrap();
        assert_eq!(run(floats(&[1.0, 2.0, 3.0, 4.0])), (vec![4], floats(&[1.0, 2.0, 3.0, 4.0])));
        assert_eq!(run(whole(&[1, 2, 3, 4], 0.5)), (vec![4], whole(&[1, 2, 3, 4], 0.5)));
    }
}
