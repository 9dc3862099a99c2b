//! Two-dimensional convolution of float or coded images, and its gradients.
//!
//! ```text
//! y[o, p]  = (sum_k w[o, k] x[k at p]) multiplier[o] + bias[o]       k runs over (channel, kernel row, kernel column)
//! dx[c, q] = sum over (o, tap) of w[o, c, tap] g[o, p that saw q through the tap]
//! dw[o, k] = sum over images and p of g[o, p] x[k at p]              dbias[o] = sum over images and p of g[o, p]
//! ```
//! Images `[batch, channels, height, width]`. No patch matrix is built: an image is copied once for each kernel column into
//! planes (`planes`) in which a tap is an offset, and the sums (`sums`, `products`) run over them in registers. The gradient
//! of the input is the same sum over planes of the output's gradient, one for each residue of the stride. Coded images are
//! turned to floats on the way into the planes. Tasks are images or fixed groups of images, added in order.

mod forward;
mod planes;
mod products;
mod sums;

use rayon::prelude::*;

use crate::coded::Coded;
use crate::geometry::Conv2dShape;
use crate::memory::Fresh;
use crate::reduce::{parts_of, sum};
use crate::simd::multiversion;
use crate::transpose::turn;
use forward::View;
pub(crate) use forward::{Forward, Rounding};
use planes::{Planes, gather};
use products::{WIDTH, padded, products, products_by_pixel};
pub(crate) use sums::{Finish, PackedWeights, rounded_sums};

/// Images of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// Real values.
    Float(&'a [f32]),
    /// Codes; sums run over their whole numbers, without the scale.
    Coded(Coded<'a>),
}

impl Images<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Coded(coded) => coded.codes.len(),
        }
    }

    /// The real value of 1.
    fn scale(&self) -> f32 {
        match self {
            Self::Float(_) => 1.0,
            Self::Coded(coded) => coded.scale,
        }
    }
}

/// Convolution of a batch, `[batch, channels_out, out_height, out_width]`.
///
/// `multiplier` and `bias` hold one value an output channel. For coded images the multiplier must hold their scale.
pub fn conv2d(images: Images<'_>, weight: &[f32], shape: &Conv2dShape, multiplier: &[f32], bias: &[f32]) -> Vec<f32> {
    let batch = images.len() / shape.input_len();
    assert_eq!(images.len(), batch * shape.input_len());
    let forward = Forward::new(weight, shape, Rounding::Fused);
    let mut y = Fresh::new(batch * shape.output_len());
    y.pieces(shape.output_len()).enumerate().for_each_init(Vec::new, |scratch, (image, y)| {
        let image = images.part(image * shape.input_len(), shape.input_len());
        forward.image(image, Finish { multiplier, bias }, scratch, y.open());
    });
    y.finish()
}

/// Gradients of [`conv2d`], those that were wanted.
#[derive(Debug, Default)]
pub struct Conv2dGradients {
    /// With respect to the images.
    pub input: Option<Vec<f32>>,
    /// With respect to the weight.
    pub weight: Option<Vec<f32>>,
    /// With respect to the bias.
    pub bias: Option<Vec<f32>>,
}

/// Which gradients [`conv2d_backward`] computes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// With respect to the images.
    pub input: bool,
    /// With respect to the weight.
    pub weight: bool,
    /// With respect to the bias.
    pub bias: bool,
}

/// Gradients of [`conv2d`] for real values: `weight` holds the real weights, whatever the images are.
pub fn conv2d_backward(
    images: Images<'_>,
    weight: &[f32],
    gradient: &[f32],
    shape: &Conv2dShape,
    wanted: Wanted,
) -> Conv2dGradients {
    let batch = gradient.len() / shape.output_len();
    assert_eq!([images.len(), gradient.len()], [batch * shape.input_len(), batch * shape.output_len()]);
    assert_eq!(weight.len(), shape.weight_len());
    let task = batch.div_ceil(parts_of(shape.weight_len())).max(1);
    let scatter = wanted.input.then(|| InputGradient::new(weight, shape));
    let gather = (wanted.weight || wanted.bias).then(|| WeightGradient::new(shape, wanted));
    let mut input = Fresh::new(if wanted.input { gradient.len() / shape.output_len() * shape.input_len() } else { 0 });
    let mut pieces: Vec<_> = input.pieces(task * shape.input_len()).map(Some).collect();
    pieces.resize_with(batch.div_ceil(task), || None);
    let parts: Vec<_> = pieces
        .into_par_iter()
        .zip(gradient.par_chunks(task * shape.output_len()))
        .enumerate()
        .map_init(Scratch::default, |scratch, (part, (piece, gradient))| {
            let mut sums = gather.as_ref().map(|gather| gather.zero());
            let mut inputs = piece.into_iter().flat_map(|piece| piece.rows(shape.input_len()));
            for (image, gradient) in gradient.chunks_exact(shape.output_len()).enumerate() {
                if let (Some(gather), Some(sums)) = (&gather, &mut sums) {
                    let image = images.part((part * task + image) * shape.input_len(), shape.input_len());
                    gather.add(image, gradient, scratch, sums);
                }
                if let (Some(scatter), Some(input)) = (&scatter, inputs.next()) {
                    scatter.write(gradient, scratch, input.open());
                }
            }
            sums
        })
        .collect();
    let sums = gather.map(|gather| gather.finish(parts.into_iter().flatten(), images.scale()));
    let (weight, bias) = sums.unzip();
    Conv2dGradients {
        input: wanted.input.then(|| input.finish()),
        weight: weight.filter(|_| wanted.weight),
        bias: bias.filter(|_| wanted.bias),
    }
}

/// Buffers that a thread uses again for each image.
#[derive(Default)]
struct Scratch {
    planes: Vec<f32>,
    turned: Vec<f32>,
    residue: Vec<f32>,
}

/// Floats of a cache line: a register that begins on one is read at once.
const LINE: usize = 16;

/// The first `len` values, from a cache line on, of a buffer that grows to that.
pub(crate) fn at_least(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len + LINE {
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    &mut buffer[start..start + len]
}

/// Room for planes and for the register that `sums` may read behind them.
fn room<'a>(buffer: &'a mut Vec<f32>, planes: &Planes) -> &'a mut [f32] {
    at_least(buffer, planes.len() + WIDTH)
}

/// Where kernel taps see the input, relative to the output pixel times the stride.
fn taps(shape: &Conv2dShape, axis: usize) -> Vec<isize> {
    let position = |tap| (tap * shape.dilation[axis]) as isize - shape.padding[axis] as isize;
    (0..shape.kernel[axis]).map(position).collect()
}

fn input_planes(shape: &Conv2dShape) -> Planes {
    let (channels, size) = (shape.channels_in / shape.groups, [shape.height, shape.width]);
    let out = [shape.out_height(), shape.out_width()];
    Planes::new(channels, size, out, shape.stride, &taps(shape, 0), &taps(shape, 1))
}

/// The gradient of the input: for each residue of its pixels by the stride, a convolution of the output's gradient.
struct InputGradient<'a> {
    shape: &'a Conv2dShape,
    residues: Vec<Residue>,
    /// One a channel: these sums are neither scaled nor shifted.
    ones: Vec<f32>,
    zeros: Vec<f32>,
}

/// The pixels of the input whose row and column leave these remainders when divided by the stride.
struct Residue {
    remainder: [usize; 2],
    view: View,
    /// One a group.
    weights: Vec<PackedWeights>,
}

impl<'a> InputGradient<'a> {
    fn new(weight: &[f32], shape: &'a Conv2dShape) -> Self {
        let mut residues = Vec::new();
        for row in 0..shape.stride[0].min(shape.height) {
            for column in 0..shape.stride[1].min(shape.width) {
                residues.extend(Residue::new(weight, shape, [row, column]));
            }
        }
        let channels = shape.channels_in / shape.groups;
        Self { shape, residues, ones: vec![1.0; channels], zeros: vec![0.0; channels] }
    }

    /// Writes the gradient of one image into `input`, which is zero.
    fn write(&self, gradient: &[f32], scratch: &mut Scratch, input: &mut [f32]) {
        let Self { shape, residues, ones, zeros } = self;
        let (inputs, outputs) = (shape.input_len() / shape.groups, shape.output_len() / shape.groups);
        let finish = Finish { multiplier: ones, bias: zeros };
        for residue in residues {
            let Residue { remainder, view, weights } = residue;
            let planes = room(&mut scratch.planes, &view.planes);
            for (group, weights) in weights.iter().enumerate() {
                let gradient = Images::Float(&gradient[group * outputs..(group + 1) * outputs]);
                let input = &mut input[group * inputs..(group + 1) * inputs];
                if shape.stride == [1, 1] {
                    view.convolve(gradient, weights, finish, planes, input);
                    continue;
                }
                let [rows, columns] = view.planes.out;
                let found = at_least(&mut scratch.residue, ones.len() * rows * columns);
                view.convolve(gradient, weights, finish, planes, found);
                spread(found, [rows, columns], *remainder, shape, input);
            }
        }
    }
}

impl Residue {
    /// `None` where no tap sees these pixels.
    fn new(weight: &[f32], shape: &Conv2dShape, remainder: [usize; 2]) -> Option<Self> {
        let [rows, columns] = [0, 1].map(|axis| seen_by(shape, axis, remainder[axis]));
        if rows.is_empty() || columns.is_empty() {
            return None;
        }
        let [channels_in, channels_out] = [shape.channels_in, shape.channels_out].map(|count| count / shape.groups);
        let out = [0, 1].map(|axis| ([shape.height, shape.width][axis] - remainder[axis]).div_ceil(shape.stride[axis]));
        let positions = |taps: &[(usize, isize)]| taps.iter().map(|tap| tap.1).collect::<Vec<_>>();
        let size = [shape.out_height(), shape.out_width()];
        let planes = Planes::new(channels_out, size, out, [1, 1], &positions(&rows), &positions(&columns));
        let view = View::new(planes, Rounding::Fused);
        let packed = |weight: &[f32]| {
            PackedWeights::new(channels_in, view.taps(), |input, index| {
                let (output, tap) = (index / (rows.len() * columns.len()), index % (rows.len() * columns.len()));
                let (row, column) = (rows[tap / columns.len()].0, columns[tap % columns.len()].0);
                weight[((output * channels_in + input) * shape.kernel[0] + row) * shape.kernel[1] + column]
            })
        };
        let weights = weight.chunks_exact(channels_out * shape.patch_len()).map(packed).collect();
        Some(Self { remainder, view, weights })
    }
}

/// The kernel taps through which outputs see input positions of this remainder, and where that output is, relative to the
/// position divided by the stride.
fn seen_by(shape: &Conv2dShape, axis: usize, remainder: usize) -> Vec<(usize, isize)> {
    let stride = shape.stride[axis] as isize;
    let places = taps(shape, axis).into_iter().map(|tap| remainder as isize - tap).enumerate();
    places.filter(|(_, place)| place % stride == 0).map(|(tap, place)| (tap, place / stride)).collect()
}

/// Writes the planes of one residue to their pixels, which are `stride` apart.
fn spread(found: &[f32], [rows, columns]: [usize; 2], remainder: [usize; 2], shape: &Conv2dShape, input: &mut [f32]) {
    let planes = input.chunks_exact_mut(shape.height * shape.width);
    for (plane, found) in planes.zip(found.chunks_exact(rows * columns)) {
        for (row, found) in found.chunks_exact(columns).enumerate() {
            let line = &mut plane[(row * shape.stride[0] + remainder[0]) * shape.width..][..shape.width];
            let pixels = line[remainder[1]..].iter_mut().step_by(shape.stride[1]);
            pixels.zip(found).for_each(|(pixel, found)| *pixel = *found);
        }
    }
}

/// The gradients of weight and bias, added up over the images of a part.
struct WeightGradient<'a> {
    shape: &'a Conv2dShape,
    planes: Planes,
    offsets: Vec<u32>,
    wanted: Wanted,
}

/// Sums of a part: weights `[groups, taps, row]`, bias `[groups, outputs]`.
struct Sums {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl<'a> WeightGradient<'a> {
    fn new(shape: &'a Conv2dShape, wanted: Wanted) -> Self {
        let planes = input_planes(shape);
        let offsets = planes.offsets();
        Self { shape, planes, offsets, wanted }
    }

    fn outputs(&self) -> usize {
        self.shape.channels_out / self.shape.groups
    }

    /// True where registers hold neighbouring pixels, because the outputs would fill one at most.
    fn by_pixel(&self) -> bool {
        self.outputs() <= WIDTH
    }

    /// Sums of one tap: an output each, or (by pixel) the lanes of a register for each output.
    fn row(&self) -> usize {
        if self.by_pixel() { self.outputs() * WIDTH } else { padded(self.outputs()) }
    }

    fn zero(&self) -> Sums {
        let taps = if self.wanted.weight { self.offsets.len() } else { 0 };
        Sums { weight: vec![0.0; self.shape.groups * taps * self.row()], bias: vec![0.0; self.shape.channels_out] }
    }

    /// Adds what one image gives.
    fn add(&self, image: Images<'_>, gradient: &[f32], scratch: &mut Scratch, sums: &mut Sums) {
        let Self { shape, planes, offsets, wanted } = self;
        let (outputs, pixels, columns) = (self.outputs(), shape.out_pixels(), shape.out_width());
        if wanted.bias {
            for (total, gradient) in sums.bias.iter_mut().zip(gradient.chunks_exact(pixels)) {
                *total += sum(gradient);
            }
        }
        if !wanted.weight {
            return;
        }
        let group_len = shape.input_len() / shape.groups;
        let buffer = room(&mut scratch.planes, planes);
        for (group, sums) in sums.weight.chunks_exact_mut(offsets.len() * self.row()).enumerate() {
            let image = image.part(group * group_len, group_len);
            let gradient = &gradient[group * outputs * pixels..(group + 1) * outputs * pixels];
            for (first, count) in planes.bands() {
                let count = count * columns;
                gather(planes, image, first, buffer);
                // SAFETY: the planes hold `count` values behind each offset, and the band lies within the `pixels` values of
                // each of the `outputs` rows; the lengths of the other slices are checked inside.
                #[allow(unsafe_code)]
                unsafe {
                    let gradient = gradient.as_ptr().add(first * columns);
                    if self.by_pixel() {
                        products_by_pixel(buffer, offsets, gradient, pixels, outputs, count, sums);
                    } else {
                        let width = padded(outputs);
                        let turned = at_least(&mut scratch.turned, count * width);
                        turn(gradient, pixels, outputs, count, turned, width);
                        products(buffer, offsets, turned, outputs, count, sums);
                    }
                }
            }
        }
    }

    /// The gradients of weight (times `scale`) and bias from the sums of all parts, in their order.
    fn finish(&self, parts: impl Iterator<Item = Sums>, scale: f32) -> (Vec<f32>, Vec<f32>) {
        let mut total = self.zero();
        for part in parts {
            add_to(&part.weight, &mut total.weight);
            add_to(&part.bias, &mut total.bias);
        }
        let (outputs, taps, row) = (self.outputs(), self.offsets.len(), self.row());
        let mut weight = Vec::with_capacity(self.shape.weight_len());
        for sums in total.weight.chunks_exact(taps * row) {
            for output in 0..outputs {
                weight.extend(sums.chunks_exact(row).map(|sums| match self.by_pixel() {
                    true => sum(&sums[output * WIDTH..][..WIDTH]) * scale,
                    false => sums[output] * scale,
                }));
            }
        }
        (weight, total.bias)
    }
}

multiversion! {
    fn add_to(values: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

#[cfg(test)]
pub(crate) mod tests;
