//! What the tests of the fused operators share: the forms in which an input comes, values and gradients of one run.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::coded::Activation;
use hardgrad::ops::{self, Bounds};
use hardgrad_kernels::random::Random;

/// How an operator gets its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Floats, row by row.
    Dense,
    /// Floats with all axes in reverse order: not contiguous.
    View,
    /// Codes of a signed learned-step quantiser of 4 bits.
    Coded,
}

pub const FORMS: [Form; 3] = [Form::Dense, Form::View, Form::Coded];

/// A step with which the codes of normal values hardly clip.
pub const STEP: f32 = 0.3;

/// Value of an operator, and the gradient of its weighted sum for each leaf that has one.
#[derive(Debug)]
pub struct Found {
    pub y: Vec<f32>,
    pub gradients: Vec<Option<Vec<f32>>>,
}

pub fn normal(len: usize, stream: u32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Random::new(7, 0, stream).fill_normal(&mut values);
    values
}

pub fn plain<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

pub fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.dims().iter().product::<usize>();
    tensor.reshape([len])
}

/// The values of `leaf` in this shape, as a float tensor.
pub fn float<const D: usize>(leaf: &Tensor<1>, dims: [usize; D], form: Form) -> Tensor<D> {
    if form != Form::View {
        return leaf.clone().reshape(dims);
    }
    let reversed: [usize; D] = std::array::from_fn(|axis| D - 1 - axis);
    leaf.clone().reshape(reversed.map(|axis| dims[axis])).permute(reversed)
}

/// The values of `leaf` in this shape and form; codes are those of a quantiser with this step.
pub fn shaped<const D: usize>(leaf: &Tensor<1>, dims: [usize; D], form: Form, step: &Tensor<1>) -> Activation<D> {
    match form {
        Form::Coded => ops::lsq_coded(float(leaf, dims, form), step.clone(), Bounds::signed(4)),
        _ => float(leaf, dims, form).into(),
    }
}

/// Runs an operator on leaves with these values; outputs that are not `counted` (where it is given) weigh nothing.
pub fn run(inputs: &[Vec<f32>], counted: Option<&[bool]>, operator: impl Fn(&[Tensor<1>]) -> Tensor<1>) -> Found {
    let device = Device::flex().autodiff();
    let leaf = |values: &Vec<f32>| Tensor::from_floats(values.as_slice(), &device).require_grad();
    let leaves: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
    let y = operator(&leaves);
    let mut weights = normal(y.dims()[0], 99);
    for (weight, counted) in weights.iter_mut().zip(counted.unwrap_or_default()) {
        *weight *= f32::from(u8::from(*counted));
    }
    let len = weights.len();
    let gradients = (y.clone() * plain(weights, [len])).sum().backward();
    Found { y: floats(y.inner()), gradients: leaves.iter().map(|leaf| leaf.grad(&gradients).map(floats)).collect() }
}
