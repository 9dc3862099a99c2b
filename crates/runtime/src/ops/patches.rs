//! An image cut into patches, each a token: `[channels, height, width]` to `[patches, channels * rows * columns]`.
//!
//! Patches stand row by row, their values in the order channel, row, column. Codes stay codes.

use hardgrad_kernels::patches::{self, PatchShape};
use serde::{Deserialize, Serialize};

use super::check::check_size;
use super::operator::{Operator, image};
use super::problem::Problem;
use super::sizes;
use super::step::{Buffer, Domain, Packed, Runner, Scratch, Step};

/// Sizes of patches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// Height and width of a patch, which divide those of the image.
    #[serde(with = "sizes::pair")]
    pub size: [usize; 2],
}

impl Operator for Patches {
    const KIND: &'static str = "patches";
    const PASSES_CODES: bool = true;

    fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
        let [channels, height, width] = image(&inputs[0])?;
        check_size(&self.size)?;
        let [rows, columns] = self.size;
        for (what, size, divisor) in [("the height", height, rows), ("the width", width, columns)] {
            if !size.is_multiple_of(divisor) {
                return Err(Problem::Multiple { what, size, divisor });
            }
        }
        Ok(vec![(height / rows) * (width / columns), channels * rows * columns])
    }

    fn runner(&self, node: &Packed<'_>) -> Runner {
        let input = &node.inputs[0];
        let shape =
            PatchShape { channels: input.shape[0], height: input.shape[1], width: input.shape[2], size: self.size };
        Runner::Step(Box::new(Run(shape, input.domain)))
    }
}

#[derive(Debug)]
struct Run(PatchShape, Domain);

impl Run {
    fn cut<T: Copy + Default>(&self, images: &[T], out: &mut Vec<T>) {
        out.resize(images.len(), T::default());
        let len = self.0.image_len();
        for (image, out) in images.chunks(len).zip(out.chunks_mut(len)) {
            patches::split_image(image, &self.0, out);
        }
    }
}

impl Step for Run {
    fn run(&self, _: usize, inputs: &[&Buffer], output: &mut Buffer, _: &mut Scratch) {
        match self.1 {
            Domain::Float => self.cut(&inputs[0].floats, &mut output.floats),
            Domain::Codes(_) => self.cut(&inputs[0].codes, &mut output.codes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, whole};
    use super::*;

    #[test]
    fn patches_stand_row_by_row_with_their_channels() {
        // Two channels of 2 x 4, cut into two patches of 2 x 2.
        let x: Vec<i16> = (0..16).collect();
        let expected = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];
        let run = |x| run(&Patches { size: [2, 2] }, &[(&[2, 2, 4], x)], &[]).unwrap();
        assert_eq!(run(whole(&x, 0.5)), (vec![2, 8], whole(&expected, 0.5)));
        let real: Vec<f32> = x.iter().map(|&x| x.into()).collect();
        assert_eq!(run(floats(&real)).1, floats(&expected.map(f32::from)));
    }
}
