//! The largest value of each window; codes stay codes.
//!
//! What does not fill a window at the right and bottom edges is left out. `[channels, height, width]` to
//! `[channels, out_height, out_width]`.

use hardgrad_kernels::geometry::Pool2dShape;
use hardgrad_kernels::{integer, pooling};
use serde::{Deserialize, Serialize};

use super::operator::{Operator, image};
use super::problem::Problem;
use super::sizes::Window;
use super::step::{Buffer, Domain, Packed, Runner, Scratch, Step};

/// Sizes of max pooling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Window", into = "Window")]
pub struct MaxPool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows; as large as the window where it is left out.
    pub stride: [usize; 2],
}

impl MaxPool2d {
    /// Windows that lie side by side.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: kernel }
    }

    fn shape(&self, [_, height, width]: [usize; 3]) -> Pool2dShape {
        Pool2dShape { height, width, kernel: self.kernel, stride: self.stride }
    }
}

impl From<Window> for MaxPool2d {
    fn from(window: Window) -> Self {
        Self { kernel: window.kernel, stride: window.stride.unwrap_or(window.kernel) }
    }
}

impl From<MaxPool2d> for Window {
    fn from(MaxPool2d { kernel, stride }: MaxPool2d) -> Self {
        Self { kernel, stride: Some(stride).filter(|stride| *stride != kernel) }
    }
}

impl Operator for MaxPool2d {
    const KIND: &'static str = "max_pool2d";
    const PASSES_CODES: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let size = image(&inputs[0])?;
        let shape = self.shape(size);
        shape.check()?;
        Ok(vec![size[0], shape.out_height(), shape.out_width()])
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
