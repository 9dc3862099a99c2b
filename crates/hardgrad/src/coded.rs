//! Tensors of grid values, held as one byte each.
//!
//! The activations of a quantised network take at most 256 values. Between an activation quantiser and the layers that read
//! it they need a quarter of the memory of floats, and a quarter of the time to be written and read. [`Activation`] is what
//! layers take and give: a float tensor, or such codes; a float tensor converts into it by itself.

use std::sync::Arc;

use burn::tensor::Tensor;
use hardgrad_kernels::coded::{Coded, decode, encode};
use hardgrad_kernels::quantized::CodedInput;
use hardgrad_kernels::reduce::all_finite;

use crate::custom_gradient::{AnyRank, node};
use crate::flex::{on_flex, tensor, values};
use crate::quantize::Grid;

/// Values on a grid with one scale, one byte each: value = (code + lowest) scale.
///
/// It has a place on the gradient tape like any tensor; its gradient is an ordinary float tensor of its shape. Where a value was
/// not finite before it became a code, the scale is not a number, so that what reads the codes shows it.
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
