//! Runs an operator by itself, for the tests beside the operators.

use std::collections::BTreeMap;

use super::operator::Operator;
use super::problem::Problem;
use super::step::{Buffer, Codes, Domain, Packed, Runner, Scratch, Typed};
use super::weight::{Stored, Weight};

/// The values of one item or more.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Floats(Vec<f32>),
    Codes(Vec<i16>, Codes),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Codes(values, _) => values.len(),
        }
    }
}

/// Floats.
pub fn floats(values: &[f32]) -> Values {
    Values::Floats(values.to_vec())
}

/// Whole numbers from -255 to 255, each of which stands for itself times `scale`.
pub fn whole(values: &[i16], scale: f32) -> Values {
    Values::Codes(values.to_vec(), Codes { lowest: -255, highest: 255, scale })
}

/// A tensor of floats.
pub fn stored(values: &[f32]) -> Stored {
    Stored::Float(values.to_vec())
}

/// Weights -1 for the code 0 and 1 for the code 1, times `scale`.
pub fn signs(codes: &[u8], scale: f32) -> Stored {
    Stored::Codes(Weight { bits: 1, first: vec![-1], step: 2, codes: codes.to_vec(), scale: vec![scale] })
}

/// What `op` gives for inputs, each with the shape of an item, and tensors; and the shape of an item of it.
pub fn run<O: Operator>(
    op: &O,
    inputs: &[(&[usize], Values)],
    tensors: &[(&str, Stored)],
) -> Result<(Vec<usize>, Values), Problem> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|(shape, _)| shape.to_vec()).collect();
    assert_eq!(inputs.len(), O::INPUTS);
    let output = op.output(&shapes)?;
    let expected: Vec<(&str, usize)> = op.tensors(&shapes).iter().map(|tensor| (tensor.name, tensor.len())).collect();
    let found: Vec<(&str, usize)> = tensors.iter().map(|(name, stored)| (*name, stored.len())).collect();
    assert_eq!(found, expected);
    let tensors: BTreeMap<String, Stored> =
        tensors.iter().map(|(name, stored)| (format!("node.{name}"), stored.clone())).collect();
    let (mut typed, mut buffers) = (Vec::new(), Vec::new());
    for (shape, values) in inputs {
        let (domain, buffer) = match values.clone() {
            Values::Floats(floats) => (Domain::Float, Buffer { floats, codes: Vec::new() }),
            Values::Codes(codes, kind) => (Domain::Codes(kind), Buffer { floats: Vec::new(), codes }),
        };
        typed.push(Typed { shape: shape.to_vec(), domain });
        buffers.push(buffer);
    }
    let items = inputs[0].1.len() / typed[0].len();
    let node = Packed { name: "node", inputs: &typed, output: &output, tensors: &tensors };
    let domain = op.check(&node)?;
    let (mut out, mut scratch) = (Buffer::default(), Scratch::default());
    match op.runner(&node) {
        Runner::Step(step) => step.run(items, &buffers.iter().collect::<Vec<_>>(), &mut out, &mut scratch),
        Runner::Elementwise(step) => {
            out.floats = typed[0].form().floats(&buffers[0], &mut Vec::new()).to_vec();
            step.run(&mut out.floats, &mut scratch);
        }
        Runner::Nothing => out = buffers.remove(0),
    }
    let values = match domain {
        Domain::Float => Values::Floats(out.floats),
        Domain::Codes(codes) => Values::Codes(out.codes, codes),
    };
    assert_eq!(values.len(), items * output.iter().product::<usize>());
    Ok((output, values))
}
