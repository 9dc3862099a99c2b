//! Tensors of grid values, held as one byte each.
//!
//! The activations of a quantised network take at most 256 values. Between an activation quantiser and the layers that
//! read it they need a quarter of the memory of floats, and a quarter of the time to be written and read.
//! [`Activation`] is what layers take and give: a float tensor, or such codes; a float tensor converts into it by
//! itself.

use std::sync::Arc;

use burn::tensor::Tensor;
use hardgrad_kernels::coded::{Coded, decode, encode};
use hardgrad_kernels::quantized::CodedInput;
use hardgrad_kernels::reduce::all_finite;
use hardgrad_runtime::Pixels;

use crate::custom_gradient::{AnyRank, node};
use crate::flex::{on_flex, tensor, values};
use crate::quantize::Grid;

/// Values on a grid with one scale, one byte each: value = (code + lowest) scale.
///
/// It has a place on the gradient tape like any tensor; its gradient is an ordinary float tensor of its shape. Where a
/// value was not finite before it became a code, the scale is not a number, so that what reads the codes shows it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::coded::Activation;
/// use hardgrad::ops::{Bounds, lsq_coded};
///
/// let device = Device::flex();
/// let (x, step) = (Tensor::<1>::from_floats([0.4, 9.0], &device), Tensor::from_floats([0.5], &device));
/// let Activation::Coded(codes) = lsq_coded(x, step, Bounds::unsigned(2)) else { panic!("codes on this device") };
/// assert_eq!(codes.dims(), [2]);
/// assert_eq!(codes.decode().into_data().try_into_vec::<f32>().unwrap(), [0.5, 1.5]);
/// ```
#[derive(Clone, Debug)]
pub struct CodedTensor<const D: usize> {
    codes: Arc<Vec<u8>>,
    dims: [usize; D],
    lowest: i32,
    span: i32,
    scale: f32,
    /// A single value that stands for the tensor on the tape.
    place: Tensor<D>,
}

impl<const D: usize> CodedTensor<D> {
    /// The pixels of images as they are: value = (byte - zero_point) scale. Plain; nothing is copied.
    ///
    /// ```
    /// use hardgrad::coded::CodedTensor;
    /// use hardgrad::runtime::Pixels;
    ///
    /// let images = CodedTensor::from_bytes(vec![0, 70, 71, 255], [1, 1, 2, 2], Pixels { scale: 0.5, zero_point: 70 });
    /// assert_eq!(images.decode().into_data().try_into_vec::<f32>().unwrap(), [-35.0, 0.0, 0.5, 92.5]);
    /// ```
    ///
    /// # Panics
    /// If there are not as many bytes as values of that shape.
    pub fn from_bytes(bytes: Vec<u8>, dims: [usize; D], pixels: Pixels) -> Self {
        assert_eq!(bytes.len(), dims.iter().product::<usize>(), "pixels of shape {dims:?}");
        let (lowest, span, scale) = (-i32::from(pixels.zero_point), i32::from(u8::MAX), pixels.scale);
        Self { codes: Arc::new(bytes), dims, lowest, span, scale, place: tensor(vec![0.0], [1; D]) }
    }

    /// Codes as a function of `inputs`, on whose tape it is put; `vjp` gets the gradient of the values.
    pub(crate) fn new<const N: usize>(
        inputs: [AnyRank; N],
        codes: Vec<u8>,
        dims: [usize; D],
        (lowest, span, scale): (i32, i32, f32),
        vjp: impl Fn(Tensor<D>, [bool; N]) -> [Option<AnyRank>; N] + Send + Sync + 'static,
    ) -> Self {
        assert_eq!(codes.len(), dims.iter().product::<usize>());
        let place = node(inputs, tensor(vec![0.0], [1; D]), vjp);
        Self { codes: Arc::new(codes), dims, lowest, span, scale, place }
    }

    /// Other codes of the same grid as a function of these.
    pub(crate) fn map<const E: usize>(
        &self,
        codes: Vec<u8>,
        dims: [usize; E],
        vjp: impl Fn(Tensor<E>) -> Tensor<D> + Send + Sync + 'static,
    ) -> CodedTensor<E> {
        let grid = (self.lowest, self.span, self.scale);
        CodedTensor::new([self.place()], codes, dims, grid, move |gradient, _| [Some(vjp(gradient).into())])
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> [usize; D] {
        self.dims
    }

    /// True on a gradient tape.
    pub fn is_autodiff(&self) -> bool {
        self.place.is_autodiff()
    }

    /// Whether the codes are those of this grid.
    pub(crate) fn is_on(&self, grid: &Grid) -> bool {
        let same_scale = matches!(grid.scale[..], [scale] if scale.to_bits() == self.scale.to_bits());
        same_scale && grid.lowest == [self.lowest] && grid.span == self.span && grid.spacing == 1
    }

    /// The values as floats, with the same gradient.
    pub fn decode(&self) -> Tensor<D> {
        let y = tensor(decode(self.coded()), self.dims);
        node([self.place()], y, |gradient: Tensor<D>, _| [Some(gradient.into())])
    }

    /// The same codes in another shape.
    ///
    /// # Panics
    /// If the number of values differs.
    pub fn reshape<const E: usize>(self, dims: [usize; E]) -> CodedTensor<E> {
        assert_eq!(self.codes.len(), dims.iter().product::<usize>(), "reshape {:?} to {dims:?}", self.dims);
        let old = self.dims;
        let place = node([self.place()], tensor(vec![0.0], [1; E]), move |gradient: Tensor<E>, _| {
            [Some(gradient.reshape(old).into())]
        });
        CodedTensor { codes: self.codes, dims, lowest: self.lowest, span: self.span, scale: self.scale, place }
    }

    /// The same codes off the tape, as backward passes keep them.
    pub(crate) fn without_place(self) -> Self {
        Self { place: self.place.inner(), ..self }
    }

    pub(crate) fn place(&self) -> AnyRank {
        self.place.clone().into()
    }

    pub(crate) fn coded(&self) -> Coded<'_> {
        Coded { codes: &self.codes, lowest: self.lowest as f32, scale: self.scale }
    }

    pub(crate) fn input(&self) -> CodedInput<'_> {
        let largest = self.lowest.abs().max((self.lowest + self.span).abs()) as f32;
        CodedInput { coded: self.coded(), largest }
    }
}

/// What flows between layers: floats, or values on a grid.
#[derive(Clone, Debug)]
pub enum Activation<const D: usize> {
    /// Floats.
    Float(Tensor<D>),
    /// Values on a grid, as codes.
    Coded(CodedTensor<D>),
}

impl<const D: usize> From<Tensor<D>> for Activation<D> {
    fn from(tensor: Tensor<D>) -> Self {
        Self::Float(tensor)
    }
}

impl<const D: usize> From<CodedTensor<D>> for Activation<D> {
    fn from(tensor: CodedTensor<D>) -> Self {
        Self::Coded(tensor)
    }
}

impl<const D: usize> Activation<D> {
    /// The codes of values that lie on `grid`, or the values themselves where the fused kernels cannot run.
    pub(crate) fn on_grid(y: Tensor<D>, grid: &Grid) -> Self {
        if !on_flex(&y) || grid.scale.len() > 1 || grid.spacing != 1 {
            return Self::Float(y);
        }
        let (lowest, span, scale) = (grid.lowest[0], grid.span, grid.scale[0]);
        let (codes, finite) = {
            let y = values(&y);
            (encode(&y, lowest as f32, scale), all_finite(&y))
        };
        let scale = if finite { scale } else { f32::NAN };
        let dims = y.dims();
        let place = |gradient: Tensor<D>, _: [bool; 1]| [Some(gradient.into())];
        Self::Coded(CodedTensor::new([y.into()], codes, dims, (lowest, span, scale), place))
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> [usize; D] {
        match self {
            Self::Float(tensor) => tensor.dims(),
            Self::Coded(coded) => coded.dims(),
        }
    }

    /// True on a gradient tape.
    pub fn is_autodiff(&self) -> bool {
        match self {
            Self::Float(tensor) => tensor.is_autodiff(),
            Self::Coded(coded) => coded.is_autodiff(),
        }
    }

    /// The values as a float tensor, for layers that take nothing else.
    pub fn values(self) -> Tensor<D> {
        match self {
            Self::Float(tensor) => tensor,
            Self::Coded(coded) => coded.decode(),
        }
    }

    /// The same values in another shape.
    ///
    /// # Panics
    /// If the number of values differs.
    pub fn reshape<const E: usize>(self, dims: [usize; E]) -> Activation<E> {
        match self {
            Self::Float(tensor) => Activation::Float(tensor.reshape(dims)),
            Self::Coded(coded) => Activation::Coded(coded.reshape(dims)),
        }
    }

    /// The same values as one row an item, `[batch, all the rest]`.
    pub fn flatten(self) -> Activation<2> {
        let dims = self.dims();
        let rest = dims[1..].iter().product();
        self.reshape([dims[0], rest])
    }

    /// Where the fused kernels can run on it.
    pub(crate) fn on_flex(&self) -> bool {
        match self {
            Self::Float(tensor) => on_flex(tensor),
            Self::Coded(coded) => on_flex(&coded.place),
        }
    }

    /// Its place on the tape.
    pub(crate) fn place(&self) -> AnyRank {
        match self {
            Self::Float(tensor) => tensor.clone().into(),
            Self::Coded(coded) => coded.place(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::{QuantizerConfig, RangeMethod};

    const PIXELS: Pixels = Pixels { scale: 0.0137, zero_point: 71 };

    #[test]
    fn bytes_are_plain_and_on_the_grid_of_the_fixed_range() {
        let images = CodedTensor::from_bytes(vec![0, 255, 71, 70], [2, 1, 1, 2], PIXELS);
        assert!(!images.is_autodiff());
        let fixed = QuantizerConfig {
            range: RangeMethod::Fixed,
            fixed_scale: PIXELS.scale,
            fixed_zero_point: i32::from(PIXELS.zero_point),
            ..QuantizerConfig::activations(8)
        };
        let quantizer = |config: &QuantizerConfig| config.init(&Device::flex()).unwrap();
        assert!(quantizer(&fixed).keeps(&images));
        for other in [
            QuantizerConfig { fixed_zero_point: 70, ..fixed.clone() },
            QuantizerConfig { fixed_scale: 0.0138, ..fixed.clone() },
            QuantizerConfig { bits: 7, ..fixed.clone() },
            QuantizerConfig::activations(8),
        ] {
            assert!(!quantizer(&other).keeps(&images), "{other:?}");
        }
        assert_eq!(Activation::from(images).flatten().dims(), [2, 2]);
    }

    proptest! {
        #[test]
        fn bytes_survive_the_way_to_floats_and_back(
            bytes in proptest::collection::vec(any::<u8>(), 1..300), zero_point: u8, scale in 1e-3f32..10.0,
        ) {
            let len = bytes.len();
            let coded = CodedTensor::from_bytes(bytes.clone(), [len], Pixels { scale, zero_point });
            let grid = Grid::new(8, crate::quantize::Levels::new(8, false, false), i32::from(zero_point), vec![scale]);
            prop_assert!(coded.is_on(&grid));
            let Activation::Coded(again) = Activation::on_grid(coded.decode(), &grid) else { panic!("not codes") };
            prop_assert_eq!(again.coded().codes, bytes.as_slice());
        }
    }
}
