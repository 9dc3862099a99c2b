//! The sum of each window in reading order, divided by its area.
//!
//! What does not fill a window at the right and bottom edges is left out. `[channels, height, width]` to
//! `[channels, out_height, out_width]`.

use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::pooling;

use super::operator::{Operator, Signs};
use super::problem::Problem;
use super::step::{Buffer, Form, Packed, Runner, Scratch, Step};
use super::window::{pooled, windowed};

windowed!(
    /// Sizes of average pooling.
    AvgPool2d
);

impl Operator for AvgPool2d {
    const KIND: &'static str = "avg_pool2d";
    const SIGNS: Signs = Signs::Kept;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        pooled(inputs, |size| self.shape(size))
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let shape = self.shape([input.shape[0], input.shape[1], input.shape[2]]);
        Runner::Step(Box::new(Run { shape, planes: input.shape[0], form: input.form() }))
    }
}

#[derive(Debug)]
struct Run {
    shape: Pool2dShape,
    /// Channels of an item.
    planes: usize,
    form: Form,
}

impl Step for Run {
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch) {
        let len = items * self.planes * self.shape.out_height() * self.shape.out_width();
        output.floats.resize(len, 0.0);
        let x = self.form.floats(inputs[0], &mut scratch.floats[0]);
        pooling::avg_pool2d(x, &self.shape, &mut output.floats);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn windows_are_summed_and_divided() {
        let op = AvgPool2d { kernel: [1, 2], stride: [1, 1] };
        let (output, y) = run(&op, &[(&[1, 1, 3], whole(&[1, 5, 2, 0, 2, 4], 0.5))], &[]).unwrap();
        assert_eq!((output, y), (vec![1, 1, 2], floats(&[1.5, 1.75, 0.5, 1.5])));
        let (_, y) = run(&AvgPool2d::new([1, 3]), &[(&[1, 1, 3], floats(&[1.0, 5.0, 3.0]))], &[]).unwrap();
        assert_eq!(y, floats(&[3.0]));
    }
}
