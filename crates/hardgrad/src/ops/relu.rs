use burn::tensor::Tensor;
use burn::tensor::activation::relu as burn_relu;
use hardgrad_kernels::bounds::Bounds;
use hardgrad_kernels::relu_quantize::{self, Activations, ReluQuantizer, Shortcut};

use super::{Input, lsq};
use crate::coded::{Activation, CodedTensor};
use crate::custom_gradient::{AnyRank, node};
use crate::flex::{on_flex, tensor, values};
use crate::profile;

/// The learned step of an unsigned quantiser behind a ReLU: the values 0, scale, ..., highest scale.
#[derive(Clone, Debug)]
pub struct LearnedStep {
    /// The step `[1]`, in units of x, above 0.
    pub scale: Tensor<1>,
    /// The highest code, at most 255.
    pub highest: f32,
}

impl LearnedStep {
    pub(super) fn quantizer(&self) -> ReluQuantizer {
        let (scale, highest) = (values(&self.scale), self.highest);
        assert_eq!(scale.len(), 1, "a learned step behind a ReLU is one for all values");
        assert!((1.0..=255.0).contains(&highest), "the highest code of a learned step must be 1 to 255, got {highest}");
        ReluQuantizer { scale: scale[0], highest }
    }

    /// What the gradient of the scale is multiplied with; see [`lsq`](super::lsq()).
    pub(super) fn factor(&self, values: usize) -> f32 {
        lsq::factor(values, 1, self.bounds())
    }

    fn bounds(&self) -> Bounds {
        Bounds { lowest: 0.0, highest: self.highest }
    }

    /// The quantiser as a composition of Burn's operators.
    pub(super) fn composed<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let bounds = self.bounds();
        lsq::composed(x, self.scale, bounds, None)
    }
}

/// ReLU of x plus a shortcut, and the quantiser behind it, in one pass.
///
/// ```text
/// a = x (+ shortcut)        y = max(a, 0), quantised to codes where there is a step
/// da = G where a > 0 (and a <= highest scale), else 0;  the gradient of the scale is that of [`lsq`](super::lsq())
/// ```
/// x and shortcut of one shape; what is kept for the backward pass is the two of them.
/// Sources: He et al., CVPR 2016; Esser et al., ICLR 2020.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<1>::from_floats([-1.0, 2.0], &Device::flex());
/// let y = hardgrad::ops::relu(x, None, None).values();
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0, 2.0]);
/// ```
///
/// # Panics
/// If the shapes differ, or the step has several scales or a highest code that is not a whole number from 1 to 255.
pub fn relu<const D: usize>(x: Tensor<D>, shortcut: Option<Activation<D>>, step: Option<LearnedStep>) -> Activation<D> {
    let dims = x.dims();
    if let Some(shortcut) = &shortcut {
        assert_eq!(shortcut.dims(), dims, "relu: the shortcut must have the shape of x");
    }
    if !on_flex(&x) {
        return composed(x, shortcut, step).into();
    }
    let places = [x.clone().into(), place(&shortcut), scale_place(&step)];
    let (input, shortcut) = (values(&x), shortcut.map(Input::new));
    let factor = step.as_ref().map_or(0.0, |step| step.factor(input.len()));
    let quantizer = step.as_ref().map(LearnedStep::quantizer);
    let y = profile::forward("relu", || {
        relu_quantize::forward(&input, shortcut.as_ref().map(Input::as_shortcut), quantizer)
    });
    let vjp = move |gradient: Tensor<D>, wanted: [bool; 3]| {
        let found = profile::backward("relu", || {
            let shortcut = shortcut.as_ref().map(Input::as_shortcut);
            relu_quantize::backward(&input, &values(&gradient), shortcut, quantizer, factor)
        });
        let dx: Tensor<D> = tensor(found.input, dims);
        [
            wanted[0].then(|| dx.clone().into()),
            (wanted[1] && shortcut.is_some()).then(|| AnyRank::from(dx)),
            (wanted[2] && quantizer.is_some()).then(|| tensor(vec![found.scale], [1]).into()),
        ]
    };
    activation(y, places, dims, quantizer, vjp)
}

/// What a fused operator gave, as a function of `inputs`.
pub(super) fn activation<const D: usize, const N: usize>(
    y: Activations,
    inputs: [AnyRank; N],
    dims: [usize; D],
    quantizer: Option<ReluQuantizer>,
    vjp: impl Fn(Tensor<D>, [bool; N]) -> [Option<AnyRank>; N] + Send + Sync + 'static,
) -> Activation<D> {
    match (y, quantizer) {
        (Activations::Coded { codes, finite }, Some(ReluQuantizer { scale, highest })) => {
            let grid = (0, highest as i32, lsq::grid_scale(scale, finite));
            CodedTensor::new(inputs, codes, dims, grid, vjp).into()
        }
        (Activations::Float(y), _) => node(inputs, tensor(y, dims), vjp).into(),
        (Activations::Coded { .. }, None) => unreachable!("codes come from a quantiser"),
    }
}

/// The place of a shortcut on the tape, or a constant where there is none.
pub(super) fn place<const D: usize>(shortcut: &Option<Activation<D>>) -> AnyRank {
    shortcut.as_ref().map_or_else(constant, Activation::place)
}

/// The place of a scale on the tape, or a constant where there is none.
pub(super) fn scale_place(step: &Option<LearnedStep>) -> AnyRank {
    step.as_ref().map_or_else(constant, |step| step.scale.clone().into())
}

fn constant() -> AnyRank {
    tensor(vec![0.0], [1]).into()
}

impl<const D: usize> Input<D> {
    pub(super) fn as_shortcut(&self) -> Shortcut<'_> {
        match self {
            Self::Float(values) => Shortcut::Float(values),
            Self::Coded(coded) => Shortcut::Coded(coded.coded()),
        }
    }
}

/// [`relu()`] as a composition of Burn's operators, for any device.
pub fn composed<const D: usize>(x: Tensor<D>, shortcut: Option<Activation<D>>, step: Option<LearnedStep>) -> Tensor<D> {
    let y = burn_relu(match shortcut {
        Some(shortcut) => x + shortcut.values(),
        None => x,
    });
    match step {
        Some(step) => step.composed(y),
        None => y,
    }
}
