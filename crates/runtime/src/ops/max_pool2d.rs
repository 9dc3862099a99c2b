//! The largest value of each window; codes stay codes.
//!
//! What does not fill a window at the right and bottom edges is left out. `[channels, height, width]` to
//! `[channels, out_height, out_width]`.

use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::{integer, pooling};

use super::operator::Operator;
use super::problem::Problem;
use super::step::{Buffer, Domain, Packed, Runner, Scratch, Step};
use super::window::{pooled, windowed};

windowed!(
    /// Sizes of max pooling.
    MaxPool2d
);

impl Operator for MaxPool2d {
    const KIND: &'static str = "max_pool2d";
    const PASSES_CODES: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        pooled(inputs, |size| self.shape(size))
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let shape = self.shape([input.shape[0], input.shape[1], input.shape[2]]);
        Runner::Step(Box::new(Run { shape, planes: input.shape[0], domain: input.domain }))
    }
}

#[derive(Debug)]
struct Run {
    shape: Pool2dShape,
    /// Channels of an item.
    planes: usize,
    domain: Domain,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, _: &mut Scratch) {
        let len = items * self.planes * self.shape.out_height() * self.shape.out_width();
        match self.domain {
            Domain::Float => {
                output.floats.resize(len, 0.0);
                pooling::max_pool2d(&inputs[0].floats, &self.shape, &mut output.floats);
            }
            Domain::Codes(_) => {
                output.codes.resize(len, 0);
                integer::max_pool2d(&inputs[0].codes, &self.shape, &mut output.codes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn codes_stay_codes() {
        let op = MaxPool2d { kernel: [1, 2], stride: [1, 1] };
        let (output, y) = run(&op, &[(&[1, 2, 3], whole(&[1, 5, 2, -3, -4, -9], 0.5))], &[]).unwrap();
        assert_eq!((output, y), (vec![1, 2, 2], whole(&[5, 5, -3, -4], 0.5)));
        let (_, y) = run(&op, &[(&[1, 2, 3], floats(&[1.0, 5.0, 2.0, -3.0, -4.0, -9.0]))], &[]).unwrap();
        assert_eq!(y, floats(&[5.0, 5.0, -3.0, -4.0]));
        // The third row does not fill a window.
        let (output, y) = run(&MaxPool2d::new([2, 1]), &[(&[1, 3, 1], whole(&[1, 2, 9, 4, 3, 9], 1.0))], &[]).unwrap();
        assert_eq!((output, y), (vec![1, 1, 1], whole(&[2, 4], 1.0)));
    }
}
