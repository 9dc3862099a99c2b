//! Real numbers to whole numbers that many nodes may read.
//!
//! ```text
//! whole = clamp(round(x / scale), lowest, highest)        halves to the even number; with multiply: round(x * factor)
//! ```
//! The whole number stands for itself times scale. Tensors: scale `[1]`, and factor `[1]` with multiply. Only packed models
//! have it: in other descriptions quantisers follow from rules.

use hardgrad_kernels::integer;
use serde::{Deserialize, Serialize};

use super::check::{check_bits, check_scales};
use super::limits::MAX_INTEGER;
use super::operator::Operator;
use super::problem::Problem;
use super::sizes;
use super::step::{Buffer, Codes, Domain, Form, Packed, Runner, Scratch, Step};
use super::tensor::TensorShape;

/// Levels of a quantiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// Bits that number the levels, 1 to 8.
    pub bits: u32,
    /// Smallest whole number.
    pub lowest: i32,
    /// Largest whole number.
    pub highest: i32,
    /// Whether a product with `factor` is rounded, in place of the quotient by `scale`; false.
    #[serde(default, skip_serializing_if = "sizes::is_no")]
    pub multiply: bool,
}

impl Operator for Quantize {
    const KIND: &'static str = "quantize";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let &Self { bits, lowest, highest, .. } = self;
        check_bits("quantize", bits)?;
        let (low, high) = (i64::from(lowest), i64::from(highest));
        if low > high || low < -MAX_INTEGER || high > MAX_INTEGER || high - low >= 1 << bits {
            return Err(Problem::Levels { bits, lowest, highest });
        }
        Ok(inputs[0].clone())
    }

    fn tensors(&self, _: &[Vec<usize>]) -> Vec<TensorShape> {
        let factor = self.multiply.then(|| TensorShape::new("factor", [1]));
        [TensorShape::new("scale", [1])].into_iter().chain(factor).collect()
    }

    fn check(&self, node: &Packed<'_>) -> Result<Domain, Problem> {
        let scale = node.floats("scale");
        check_scales("scale", scale)?;
        if self.multiply {
            check_scales("factor", node.floats("factor"))?;
        }
        Ok(Domain::Codes(Codes { lowest: self.lowest, highest: self.highest, scale: scale[0] }))
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let field = if self.multiply { "factor" } else { "scale" };
        let &Self { lowest, highest, multiply, .. } = self;
        let number = node.floats(field)[0];
        Runner::Step(Box::new(Run {
            lowest: lowest as i16,
            highest: highest as i16,
            number,
            multiply,
            form: node.inputs[0].form(),
        }))
    }
}

#[derive(Debug)]
struct Run {
    lowest: i16,
    highest: i16,
    /// The factor, or the scale.
    number: f32,
    multiply: bool,
    form: Form,
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        output.codes.resize(x.len(), 0);
        let quantize = if self.multiply { integer::quantize_multiply } else { integer::quantize_divide };
        quantize(x, self.number, self.lowest, self.highest, &mut output.codes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Values, floats, run, stored, whole};
    use super::*;

    #[test]
    fn halves_go_to_the_even_number_and_the_rest_to_the_bounds() {
        let op = Quantize { bits: 2, lowest: -1, highest: 2, multiply: false };
        let codes = |numbers: &[i16]| Values::Codes(numbers.to_vec(), Codes { lowest: -1, highest: 2, scale: 0.5 });
        let x = [0.25, 0.75, 9.0, -9.0, f32::NAN, 0.26];
        let (shape, y) = run(&op, &[(&[6], floats(&x))], &[("scale", stored(&[0.5]))]).unwrap();
        assert_eq!((shape, y), (vec![6], codes(&[0, 2, 2, -1, -1, 1])));
        // A product may differ from the quotient; codes are read as floats.
        let op = Quantize { multiply: true, ..op };
        let tensors = [("scale", stored(&[0.5])), ("factor", stored(&[4.0]))];
        let (_, y) = run(&op, &[(&[3], whole(&[1, 2, -1], 0.25))], &tensors).unwrap();
        assert_eq!(y, codes(&[1, 2, -1]));
    }

    #[test]
    fn scale_and_factor_must_be_above_0() {
        let op = Quantize { bits: 1, lowest: 0, highest: 1, multiply: true };
        for (scale, factor, field) in [(0.0, 1.0, "scale"), (1.0, -1.0, "factor")] {
            let tensors = [("scale", stored(&[scale])), ("factor", stored(&[factor]))];
            let problem = run(&op, &[(&[1], floats(&[1.0]))], &tensors).unwrap_err();
            assert!(matches!(problem, Problem::Scale { field: found, .. } if found == field), "{problem}");
        }
    }
}
