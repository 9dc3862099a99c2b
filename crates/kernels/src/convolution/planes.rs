//! Shifted copies of an image, in which every kernel tap sees its pixels at one offset.
//!
//! ```text
//! tap (a, b) of output (i, j) sees pixel (i step + rows[a], j step + columns[b]), or 0 outside the image
//! plane (b, phase)[r, j] = pixel ((r + first) step + phase, j step + columns[b])
//! ```
//! Each plane has exactly the width of the output, so that neighbouring outputs are neighbours in all planes: a tap is an
//! offset, and output (i, j) is place i width + j of it. Only columns are copied several times; rows are shared by all
//! taps of a phase (with a step of 2, odd and even rows are two phases).

use super::Images;
use crate::coded::Coded;
use crate::simd::multiversion;

/// Floats that the planes of one band of output rows may take: what stays in the second cache beside weights and results.
const BAND: usize = 128 * 1024;

/// How the taps of a convolution (or of its gradients) see the images.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    /// Channels of one image (of one group).
    pub channels: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Rows and columns of the output.
    pub out: [usize; 2],
    /// Pixels between neighbouring outputs.
    step: [usize; 2],
    columns: Vec<isize>,
    phases: Vec<Phase>,
    /// Phase and row of each row tap.
    rows: Vec<(usize, usize)>,
    /// Output rows that are computed at once.
    pub band: usize,
}

/// Rows of the image that are `step` apart.
#[derive(Clone, Debug)]
struct Phase {
    /// Which ones: image row = phase + step index.
    phase: isize,
    /// Index of the first row of the plane that belongs to output row 0.
    first: isize,
    /// Rows that taps reach beyond those of the outputs.
    more: usize,
}

impl Planes {
    /// The planes for taps at these rows and columns relative to the output pixel.
    pub fn new(
        channels: usize,
        size: [usize; 2],
        out: [usize; 2],
        step: [usize; 2],
        rows: &[isize],
        columns: &[isize],
    ) -> Self {
        let step_rows = step[0] as isize;
        let mut phases: Vec<Phase> = Vec::new();
        for row in rows {
            let (phase, index) = (row.rem_euclid(step_rows), row.div_euclid(step_rows));
            match phases.iter_mut().find(|known| known.phase == phase) {
                Some(known) => {
                    let last = (known.first + known.more as isize).max(index);
                    known.first = known.first.min(index);
                    known.more = (last - known.first) as usize;
                }
                None => phases.push(Phase { phase, first: index, more: 0 }),
            }
        }
        let place = |row: &isize| {
            let (phase, index) = (row.rem_euclid(step_rows), row.div_euclid(step_rows));
            let found = phases.iter().position(|known| known.phase == phase).unwrap_or(0);
            (found, (index - phases[found].first) as usize)
        };
        let rows = rows.iter().map(place).collect();
        let mut planes = Self { channels, size, out, step, columns: columns.to_vec(), phases, rows, band: out[0] };
        while planes.len() > BAND && planes.band > 1 {
            planes.band = planes.band.div_ceil(2);
        }
        assert!(u32::try_from(planes.len()).is_ok(), "the planes of one row of outputs pass 2^32 values");
        planes
    }

    /// Number of floats that [`gather`] fills.
    pub fn len(&self) -> usize {
        self.channels * self.channel_len()
    }

    fn channel_len(&self) -> usize {
        let rows: usize = self.phases.iter().map(|phase| self.band + phase.more).sum();
        rows * self.columns.len() * self.out[1]
    }

    /// Where each tap finds output (0, 0), in the order (channel, row tap, column tap).
    pub fn offsets(&self) -> Vec<u32> {
        let mut offsets = Vec::new();
        for channel in 0..self.channels {
            for &(phase, row) in &self.rows {
                let before: usize = self.phases[..phase].iter().map(|phase| self.band + phase.more).sum();
                for column in 0..self.columns.len() {
                    let rows = before * self.columns.len() + column * (self.band + self.phases[phase].more) + row;
                    offsets.push((channel * self.channel_len() + rows * self.out[1]) as u32);
                }
            }
        }
        offsets
    }

    /// The bands of output rows: first row and number of rows.
    pub fn bands(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, band) = (self.out[0], self.band);
        (0..rows).step_by(band.max(1)).map(move |first| (first, band.min(rows - first)))
    }

    #[inline(always)]
    fn plane(&self, image: Images<'_>, phase: &Phase, column: isize, first: isize, plane: &mut [f32]) {
        let ([height, width], [_, out_width]) = (self.size, self.out);
        let step = [self.step[0] as isize, self.step[1] as isize];
        let rows = (plane.len() / out_width) as isize;
        // Rows and columns of the plane whose pixels exist.
        let inside = |first: isize, step: isize, size: usize, count: isize| {
            let from = (-first).max(0).div_euclid(step) + isize::from((-first).max(0) % step != 0);
            let to = (size as isize - first).max(0);
            let to = to.div_euclid(step) + isize::from(to % step != 0);
            (from.min(count) as usize, to.clamp(from.min(count), count) as usize)
        };
        let first_row = first * step[0] + phase.phase;
        let (top, bottom) = inside(first_row, step[0], height, rows);
        let (left, right) = inside(column, step[1], width, out_width as isize);
        plane[..top * out_width].fill(0.0);
        plane[bottom * out_width..].fill(0.0);
        if left >= right {
            plane.fill(0.0);
            return;
        }
        let source = |row: usize| (first_row + row as isize * step[0]) as usize * width;
        if step == [1, 1] && width == out_width && top < bottom {
            // The whole plane is one shifted copy; what came around a border is zeroed afterwards.
            let start = source(top) as isize + column;
            let skipped = (-start).max(0) as usize;
            let len = ((bottom - top) * out_width - skipped).min(height * width - (start + skipped as isize) as usize);
            let target = &mut plane[top * out_width + skipped..][..len];
            image.copy((start + skipped as isize) as usize, target);
            // A column at a time: `fill` would be a call for each row's one or two values.
            let rows = &mut plane[top * out_width..bottom * out_width];
            for column in (0..left).chain(right..out_width) {
                rows[column..].iter_mut().step_by(out_width).for_each(|pixel| *pixel = 0.0);
            }
            return;
        }
        for row in top..bottom {
            let target = &mut plane[row * out_width..][..out_width];
            target[..left].fill(0.0);
            target[right..].fill(0.0);
            let start = source(row) + (column + left as isize * step[1]) as usize;
            image.copy_apart(start, self.step[1], &mut target[left..right]);
        }
    }
}

multiversion! {
    /// Fills the planes for the band of outputs that begins at row `first`, from the channels of one image.
    pub(super) fn gather(planes: &Planes, image: Images<'_>, first: usize, out: &mut [f32]) {
        let pixels = planes.size[0] * planes.size[1];
        let channels = out[..planes.len()].chunks_exact_mut(planes.channel_len());
        for (channel, mut rest) in channels.enumerate() {
            let image = image.part(channel * pixels, pixels);
            for phase in &planes.phases {
                for &column in &planes.columns {
                    let plane;
                    (plane, rest) = rest.split_at_mut((planes.band + phase.more) * planes.out[1]);
                    planes.plane(image, phase, column, first as isize + phase.first, plane);
                }
            }
        }
    }
}

impl<'a> Images<'a> {
    /// The `len` values from `first` on.
    #[inline(always)]
    pub(super) fn part(self, first: usize, len: usize) -> Self {
        match self {
            Self::Float(values) => Self::Float(&values[first..first + len]),
            Self::Coded(coded) => Self::Coded(coded.part(first..first + len)),
        }
    }

    /// Copies the values from `first` on.
    #[inline(always)]
    fn copy(self, first: usize, out: &mut [f32]) {
        match self {
            Self::Float(values) => out.copy_from_slice(&values[first..first + out.len()]),
            Self::Coded(Coded { codes, lowest, .. }) => {
                for (out, code) in out.iter_mut().zip(&codes[first..]) {
                    *out = f32::from(*code) + lowest;
                }
            }
        }
    }

    /// Copies the values from `first` on that are `step` apart.
    #[inline(always)]
    fn copy_apart(self, first: usize, step: usize, out: &mut [f32]) {
        match (self, step) {
            (_, 1) => self.copy(first, out),
            (Self::Float(values), 2) => {
                // The last pair may be cut off by the end of the image.
                let Some((last, out)) = out.split_last_mut() else { return };
                *last = values[first + 2 * out.len()];
                out.iter_mut().zip(values[first..].as_chunks::<2>().0).for_each(|(out, pair)| *out = pair[0]);
            }
            (Self::Float(values), _) => {
                out.iter_mut().zip(values[first..].iter().step_by(step)).for_each(|(out, value)| *out = *value);
            }
            (Self::Coded(Coded { codes, lowest, .. }), _) => {
                let values = codes[first..].iter().step_by(step);
                out.iter_mut().zip(values).for_each(|(out, code)| *out = f32::from(*code) + lowest);
            }
        }
    }
}
