//! Scaled dot-product self-attention of several heads.
//!
//! ```text
//! [tokens, 3 * width] (of a token first q of all heads, then k, then v) -> [tokens, width]
//! y = softmax(q k^T / sqrt(width of a head)) v        for each head
//! ```

use hardgrad_kernels::ordered;
use serde::{Deserialize, Serialize};

use super::check::check_size;
use super::operator::{Operator, product, tokens};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};

/// Sizes of an attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Heads that attend independently.
    pub heads: usize,
}

impl Operator for Attention {
    const KIND: &'static str = "attention";

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let [count, width] = tokens(&inputs[0])?;
        check_size(&[self.heads])?;
        let divisor = self.heads.saturating_mul(3);
        if !width.is_multiple_of(divisor) {
            let what = "the width of a token (queries, keys and values of all heads)";
            return Err(Problem::Multiple { what, size: width, divisor });
        }
        check_size(&[count, count])?;
        Ok(vec![count, width / 3])
    }

    fn multiply_accumulates(&self, inputs: &[Vec<usize>], output: &[usize]) -> u64 {
        product(&[2, inputs[0][0]]).saturating_mul(product(output))
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let (tokens, width) = (input.shape[0], input.shape[1] / (3 * self.heads));
        Runner::Step(Box::new(Run { tokens, heads: self.heads, width, form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    tokens: usize,
    heads: usize,
    /// Values of a query of one head.
    width: usize,
    form: Form,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let &Self { tokens, heads, width, form } = self;
        let item = tokens * heads * width;
        output.floats.resize(items * item, 0.0);
        let qkv = form.floats(inputs[0], &mut scratch.floats[0]);
        for (qkv, out) in qkv.chunks(3 * item).zip(output.floats.chunks_mut(item)) {
            ordered::attention(qkv, tokens, heads, width, &mut scratch.room, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn equal_keys_give_the_mean_of_the_values() {
        // Two heads of width 1: a token is q, q, k, k, v, v. Two items of two tokens.
        let x: [i16; 24] = [1, 2, 0, 0, 4, 10, 3, 1, 0, 0, 8, 30, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 2, 4];
        let expected = floats(&[6.0, 20.0, 6.0, 20.0, 1.0, 2.0, 1.0, 2.0]);
        let run = |x| run(&Attention { heads: 2 }, &[(&[2, 6], x)], &[]).unwrap();
        assert_eq!(run(floats(&x.map(f32::from))), (vec![2, 2], expected.clone()));
        assert_eq!(run(whole(&x, 1.0)).1, expected);
        assert_eq!(Attention { heads: 2 }.multiply_accumulates(&[vec![2, 6]], &[2, 2]), 16);
    }
}
