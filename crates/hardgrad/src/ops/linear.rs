use burn::tensor::Tensor;
use hardgrad_kernels::matmul::{Matrix, matmul};
use hardgrad_kernels::quantized;

use crate::custom_gradient::custom_vjp2;
use crate::flex::{tensor, values};
use crate::quantize::Grid;

/// Matrix product x weight without bias.
///
/// x `[rows, inputs]`, weight `[inputs, outputs]` to `[rows, outputs]`. The gradients are exact and the same for any number of
/// threads.
///
/// # Panics
/// If the shapes do not fit.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    fused(x, weight, |x, weight, [rows, inputs, outputs], y| {
        matmul(Matrix::rows(x, inputs), Matrix::rows(weight, outputs), rows, outputs, inputs, y);
    })
}

/// [`linear`] of values on grids: sums of whole numbers are exact, then scaled once.
///
/// ```text
/// y[c] = (sum of (x / x_scale) (weight / weight_scale[c])) (x_scale weight_scale[c])
/// ```
/// The forward pass is bit for bit that of the packed model; the gradients are those of [`linear`].
///
/// # Panics
/// If the shapes do not fit, or a sum could pass 2^31 (8-bit operands with more than 32,768 products).
pub fn quantized_linear(x: Tensor<2>, x_grid: &Grid, weight: Tensor<2>, weight_grid: &Grid) -> Tensor<2> {
    fused(x, weight, |x, weight, sizes, y| {
        quantized::quantized_matmul(x_grid.over(x), weight_grid.over(weight), sizes, y);
    })
}

fn fused(x: Tensor<2>, weight: Tensor<2>, forward: impl Fn(&[f32], &[f32], [usize; 3], &mut [f32])) -> Tensor<2> {
    let ([rows, inputs], [weight_inputs, outputs]) = (x.dims(), weight.dims());
    assert_eq!(inputs, weight_inputs, "linear: weight {:?} for input {:?}", weight.dims(), x.dims());
    let (input, matrix) = (values(&x), values(&weight));
    let mut y = vec![0.0; rows * outputs];
    forward(&input, &matrix, [rows, inputs, outputs], &mut y);
    custom_vjp2(x, weight, tensor(y, [rows, outputs]), move |gradient, [x_wanted, weight_wanted]| {
        let gradient = values(&gradient);
        let gradient = Matrix::rows(&gradient, outputs);
        let dx = x_wanted.then(|| {
            let mut out = vec![0.0; input.len()];
            matmul(gradient, Matrix::rows(&matrix, outputs).transposed(), rows, inputs, outputs, &mut out);
            tensor(out, [rows, inputs])
        });
        let dweight = weight_wanted.then(|| {
            let mut out = vec![0.0; matrix.len()];
            matmul(Matrix::rows(&input, inputs).transposed(), gradient, inputs, outputs, rows, &mut out);
            tensor(out, [inputs, outputs])
        });
        (dx, dweight)
    })
}
