//! ReLU of a sum, optionally followed by an unsigned learned-step quantiser, in one pass.
//!
//! ```text
//! a       = x  or  x + shortcut
//! y       = max(a, 0)                                              (no quantiser)
//! v       = a / scale
//! code    = round(clamp(v, 0, highest)),   y = code scale          (quantiser; the codes are what is stored)
//! dx      = G where a > 0, else 0                                  (no quantiser; so is the gradient of the shortcut)
//!           G where 0 < v <= highest, else 0                       (quantiser; likewise)
//! dscale  = factor sum G d,   d = 0 where v <= 0, highest where v > highest, else round(v) - v
//! ```
//! Shortcut: as long as x, as floats or as [codes](crate::coded). The values are those of the chain addition, ReLU,
//! [`fake_quant`](crate::fake_quant), the gradients those of ReLU and [`lsq`](crate::lsq). Source: Esser et al., "Learned step
//! size quantization", ICLR 2020.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::CHUNK;
use crate::batch_norm::scale_rows;
use crate::channel_rows::STRETCH;
use crate::coded::{Coded, to_code};
use crate::memory::Fresh;
use crate::reduce::{LANES, add, sum_lanes, sum_of_zeros};
use crate::simd::multiversion;

/// What is added before the ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Shortcut<'a> {
    /// Plain values.
    Float(&'a [f32]),
    /// Values on a grid.
    Coded(Coded<'a>),
}

impl Shortcut<'_> {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Coded(coded) => coded.codes.len(),
        }
    }

    fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Float(values) => Shortcut::Float(&values[range]),
            Self::Coded(coded) => Self::Coded(coded.part(range)),
        }
    }
}

/// Unsigned quantiser behind the ReLU: the values 0, scale, ..., highest scale.
#[derive(Clone, Copy, Debug)]
pub struct ReluQuantizer {
    /// Distance of neighbouring values.
    pub scale: f32,
    /// The highest code, a whole number of at most 255.
    pub highest: f32,
}

/// The result of a forward pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Activations {
    /// Values, where there is no quantiser.
    Float(Vec<f32>),
    /// Codes of the quantiser.
    Coded {
        /// value = code scale.
        codes: Vec<u8>,
        /// False if a value before the quantiser was not finite, which no code can tell.
        finite: bool,
    },
}

/// Gradients of the chain.
pub struct Gradients {
    /// With respect to x, and to the shortcut.
    pub input: Vec<f32>,
    /// With respect to the scale of the quantiser; 0 without one.
    pub scale: f32,
}

/// ReLU of `x` plus `shortcut`, quantised where there is a quantiser.
pub fn forward(x: &[f32], shortcut: Option<Shortcut>, quantizer: Option<ReluQuantizer>) -> Activations {
    let whole = Sums { x, folded: &[(1.0, 0.0)], shortcut };
    check(x, shortcut, quantizer);
    let Some(quantizer) = quantizer else {
        let mut y = Fresh::new(x.len());
        y.pieces(CHUNK).enumerate().for_each(|(index, piece)| whole.chunk(index).relu(piece.open()));
        return Activations::Float(y.finish());
    };
    let (mut codes, finite) = (Fresh::new(x.len()), AtomicBool::new(true));
    codes.pieces(CHUNK).enumerate().for_each(|(index, piece)| {
        finite.fetch_and(whole.chunk(index).codes(quantizer, &mut [0.0; STRETCH], piece.open()), Ordering::Relaxed);
    });
    Activations::Coded { codes: codes.finish(), finite: finite.into_inner() }
}

/// Gradients of [`forward`]; the one of the scale is times `factor`.
pub fn backward(
    x: &[f32],
    gradient: &[f32],
    shortcut: Option<Shortcut>,
    quantizer: Option<ReluQuantizer>,
    factor: f32,
) -> Gradients {
    let whole = Sums { x, folded: &[(1.0, 0.0)], shortcut };
    check(x, shortcut, quantizer);
    assert_eq!(gradient.len(), x.len());
    let mut input = Fresh::new(x.len());
    let chunks = input.pieces(CHUNK).zip(gradient.par_chunks(CHUNK)).enumerate();
    let sums: Vec<f64> = chunks
        .map(|(index, (piece, gradient))| {
            let mut sum = 0.0;
            whole.chunk(index).gradient(quantizer, gradient, piece.open(), |_, _, share| sum += f64::from(share));
            sum
        })
        .collect();
    Gradients { input: input.finish(), scale: (sums.into_iter().sum::<f64>() * f64::from(factor)) as f32 }
}

/// # Panics
/// If the shortcut is not as long as `x`, or the highest code does not fit a byte.
pub(crate) fn check(x: &[f32], shortcut: Option<Shortcut>, quantizer: Option<ReluQuantizer>) {
    assert!(shortcut.is_none_or(|shortcut| shortcut.len() == x.len()), "the shortcut must be as long as the input");
    if let Some(ReluQuantizer { highest, .. }) = quantizer {
        assert!(
            (0.0..=255.0).contains(&highest) && highest.fract() == 0.0,
            "the highest code {highest} must fit a byte"
        );
    }
}

/// A stretch of one or several channels: a = x multiplier + offset (+ shortcut).
///
/// Without batch norm multiplier and offset are 1 and 0, which change nothing but the sign of zero, and that is lost in the
/// ReLU. Several channels have at most [`STRETCH`] values; one channel is cut into strips of so many.
#[derive(Clone, Copy)]
pub(crate) struct Sums<'a> {
    pub x: &'a [f32],
    /// Multiplier and offset of each channel.
    pub folded: &'a [(f32, f32)],
    pub shortcut: Option<Shortcut<'a>>,
}

impl<'a> Sums<'a> {
    /// The part in this range.
    pub fn part(self, range: Range<usize>) -> Self {
        Self { x: &self.x[range.clone()], shortcut: self.shortcut.map(|shortcut| shortcut.part(range)), ..self }
    }

    fn chunk(self, index: usize) -> Self {
        self.part(index * CHUNK..self.x.len().min((index + 1) * CHUNK))
    }

    fn strips(self) -> impl Iterator<Item = Sums<'a>> {
        let len = self.x.len();
        (0..len).step_by(STRETCH).map(move |first| self.part(first..len.min(first + STRETCH)))
    }

    /// Writes a.
    fn write(self, a: &mut [f32]) {
        scale_rows(self.x, self.folded, a);
        match self.shortcut {
            None => (),
            Some(Shortcut::Float(values)) => add(values, a),
            Some(Shortcut::Coded(coded)) => coded.add_to(a),
        }
    }

    /// `y` = max(a, 0).
    pub fn relu(self, y: &mut [f32]) {
        for (sums, y) in self.strips().zip(y.chunks_mut(STRETCH)) {
            sums.write(y);
            relu_block(y);
        }
    }

    /// `codes` = round(clamp(a / scale, 0, highest)), and whether a is finite; `scratch` is room for a.
    pub fn codes(self, quantizer: ReluQuantizer, scratch: &mut [f32; STRETCH], codes: &mut [u8]) -> bool {
        let mut zeros = 0.0;
        for (sums, codes) in self.strips().zip(codes.chunks_mut(STRETCH)) {
            let a = &mut scratch[..codes.len()];
            sums.write(a);
            codes_block(a, quantizer.scale, quantizer.highest, codes);
            zeros += sum_of_zeros(a);
        }
        !f32::is_nan(zeros)
    }

    /// `out` = the gradient of a; `visit(x, gradient of a, share of the gradient of the scale)` sees each strip of it.
    pub fn gradient(
        self,
        quantizer: Option<ReluQuantizer>,
        gradient: &[f32],
        out: &mut [f32],
        mut visit: impl FnMut(&[f32], &[f32], f32),
    ) {
        for ((sums, gradient), out) in self.strips().zip(gradient.chunks(STRETCH)).zip(out.chunks_mut(STRETCH)) {
            sums.write(out);
            let share = match quantizer {
                Some(ReluQuantizer { scale, highest }) => quantized_block(gradient, scale, highest, out),
                None => {
                    relu_gradient_block(gradient, out);
                    0.0
                }
            };
            visit(sums.x, out, share);
        }
    }
}

multiversion! {
    fn relu_block(y: &mut [f32]) {
        for y in y {
            // Not `max`, which would turn a NaN into 0 and hide it.
            *y = if *y <= 0.0 { 0.0 } else { *y };
        }
    }
}

multiversion! {
    fn codes_block(a: &[f32], scale: f32, highest: f32, codes: &mut [u8]) {
        for (code, a) in codes.iter_mut().zip(a) {
            *code = to_code((a / scale).max(0.0).min(highest));
        }
    }
}

multiversion! {
    /// `a` becomes its gradient.
    fn relu_gradient_block(gradient: &[f32], a: &mut [f32]) {
        for (a, gradient) in a.iter_mut().zip(gradient) {
            *a = if *a > 0.0 { *gradient } else { 0.0 };
        }
    }
}

/// Gradient of one value, and its share of the gradient of the scale.
#[inline(always)]
fn quantized_gradient(a: f32, gradient: f32, scale: f32, highest: f32) -> (f32, f32) {
    let v = a / scale;
    let inside = v > 0.0 && v <= highest;
    let clamped = v.max(0.0).min(highest);
    let slope = if inside { v.round_ties_even() - v } else { clamped };
    (if inside { gradient } else { 0.0 }, gradient * slope)
}

multiversion! {
    /// `a` becomes its gradient; returns the share of the gradient of the scale.
    fn quantized_block(gradient: &[f32], scale: f32, highest: f32, a: &mut [f32]) -> f32 {
        let (gradients, gradient_rest) = gradient.as_chunks::<LANES>();
        let (blocks, rest) = a.as_chunks_mut::<LANES>();
        let mut lanes = [0.0; LANES];
        for (a, gradient) in blocks.iter_mut().zip(gradients) {
            for lane in 0..LANES {
                let (gradient, share) = quantized_gradient(a[lane], gradient[lane], scale, highest);
                a[lane] = gradient;
                lanes[lane] += share;
            }
        }
        for (lane, (a, gradient)) in rest.iter_mut().zip(gradient_rest).enumerate() {
            let (gradient, share) = quantized_gradient(*a, *gradient, scale, highest);
            *a = gradient;
            lanes[lane] += share;
        }
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::Bounds;
    use crate::channels::Channels;
    use crate::coded::decode;
    use crate::fake_quant::fake_quant;
    use crate::lsq::lsq_backward;
    use crate::random::Random;

    #[test]
    fn a_hand_table() {
        let x = [-1.0, 0.0, 0.3, 0.75, 1.25, 9.0];
        let quantizer = Some(ReluQuantizer { scale: 0.5, highest: 3.0 });
        assert_eq!(forward(&x, None, None), Activations::Float(vec![0.0, 0.0, 0.3, 0.75, 1.25, 9.0]));
        // v = -2, 0, 0.6, 1.5, 2.5, 18
        assert_eq!(forward(&x, None, quantizer), Activations::Coded { codes: vec![0, 0, 1, 2, 2, 3], finite: true });
        let one = Shortcut::Coded(Coded { codes: &[4; 6], lowest: -2.0, scale: 0.5 });
        assert_eq!(
            forward(&x, Some(one), quantizer),
            Activations::Coded { codes: vec![0, 2, 3, 3, 3, 3], finite: true }
        );

        let gradient = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let plain = backward(&x, &gradient, None, None, 1.0);
        assert_eq!((plain.input, plain.scale), (vec![0.0, 0.0, 3.0, 4.0, 5.0, 6.0], 0.0));
        let found = backward(&x, &gradient, None, quantizer, 0.5);
        assert_eq!(found.input, [0.0, 0.0, 3.0, 4.0, 5.0, 0.0]);
        // d = 0, 0, 0.4, 0.5, -0.5, 3
        assert!((found.scale - 0.5 * (3.0 * 0.4 + 4.0 * 0.5 - 5.0 * 0.5 + 6.0 * 3.0)).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_a_number_becomes_zero() {
        let quantizer = Some(ReluQuantizer { scale: 0.5, highest: 3.0 });
        for bad in [f32::NAN, f32::INFINITY] {
            let found = forward(&[0.0, bad], None, quantizer);
            assert!(matches!(found, Activations::Coded { finite: false, .. }), "{found:?}");
        }
        let found = backward(&[f32::NAN, f32::INFINITY], &[1.0; 2], None, quantizer, 1.0);
        assert_eq!((found.input, found.scale), (vec![0.0; 2], 3.0));
    }

    proptest! {
        #[test]
        fn the_chain_agrees_with_its_parts(len in 0usize..40_000, kind in 0usize..3, bits in 1u32..9, scale in 0.05f32..1.0, seed in 0u64..1000) {
            let (mut x, mut added, mut gradient) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
            Random::new(seed, 0, 0).fill_normal(&mut x);
            Random::new(seed, 0, 1).fill_normal(&mut gradient);
            Random::new(seed, 0, 2).fill_normal(&mut added);
            let codes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let coded = Coded { codes: &codes, lowest: -100.0, scale: 0.01 };
            if kind == 2 {
                added = decode(coded);
            }
            let shortcut = [None, Some(Shortcut::Float(&added)), Some(Shortcut::Coded(coded))][kind];
            let a: Vec<f32> = x.iter().zip(&added).map(|(x, s)| if kind == 0 { *x } else { x + s }).collect();
            let relu: Vec<f32> = a.iter().map(|a| a.max(0.0)).collect();
            prop_assert_eq!(forward(&x, shortcut, None), Activations::Float(relu.clone()));

            let (bounds, one) = (Bounds::unsigned(bits), Channels::one(len));
            let quantizer = Some(ReluQuantizer { scale, highest: bounds.highest });
            let expected = fake_quant(&relu, &[scale], &[bounds], one);
            let Activations::Coded { codes, finite: true } = forward(&x, shortcut, quantizer) else { panic!("codes") };
            prop_assert_eq!(&decode(Coded { codes: &codes, lowest: 0.0, scale }), &expected);

            let (expected, dscale) = lsq_backward(&relu, &gradient, &[scale], bounds, one, 0.1);
            let masked = |(g, a): (&f32, &f32)| if *a > 0.0 { *g } else { 0.0 };
            let expected: Vec<f32> = expected.iter().zip(&a).map(masked).collect();
            let found = backward(&x, &gradient, shortcut, quantizer, 0.1);
            prop_assert_eq!(found.input, expected);
            let size = 0.1 * bounds.highest.min(100.0) * gradient.iter().map(|g| g.abs()).sum::<f32>();
            prop_assert!((found.scale - dscale[0]).abs() <= 1e-5 * (1.0 + size));
            prop_assert_eq!(backward(&x, &gradient, shortcut, None, 0.1).input, gradient.iter().zip(&a).map(masked).collect::<Vec<_>>());
        }
    }
}
