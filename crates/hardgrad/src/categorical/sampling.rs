use burn::tensor::Tensor;
use hardgrad_kernels::categorical;
use hardgrad_kernels::random::Random;

use crate::flex::{device, tensor, values};

/// One category for each row of `logits` `[n, categories]`, drawn with probability softmax(logits); index as f32, `[n]`.
///
/// The category is the one in whose share of the cumulative probability row r's uniform value falls. The result is a plain
/// tensor.
pub fn sample(logits: &Tensor<2>, random: &Random) -> Tensor<1> {
    let [rows, categories] = logits.dims();
    let (mut uniform, mut indices) = (vec![0.0; rows], vec![0.0; rows]);
    random.fill_uniform(&mut uniform);
    categorical::sample(&values(logits), &uniform, categories, &mut indices);
    let indices: Tensor<1> = tensor(indices, [rows]);
    indices.to_device(&device(logits))
}

/// One-hot rows `[n, categories]` of category indices `[n]`; a plain tensor.
pub fn one_hot(sample: &Tensor<1>, categories: usize) -> Tensor<2> {
    let indices = values(sample);
    let mut y = vec![0.0; indices.len() * categories];
    categorical::one_hot(&indices, categories, &mut y);
    tensor(y, [indices.len(), categories])
}

/// Uniform values strictly between 0 and 1, in any shape.
pub(super) fn uniform<const D: usize>(shape: [usize; D], random: &Random) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    random.fill_uniform(&mut values);
    tensor(values, shape)
}
