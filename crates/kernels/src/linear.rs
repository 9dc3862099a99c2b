//! Matrix product with bias, and its gradients.
//!
//! ```text
//! y[r, o]  = (sum_i x[r, i] weight[i, o]) multiplier[o] + bias[o]
//! dx = g weight^T        dweight = x^T g        dbias[o] = sum_r g[r, o]
//! ```
//! x `[rows, inputs]`, weight `[inputs, outputs]`, multiplier and bias one value an output, g `[rows, outputs]`.

use rayon::prelude::*;

use crate::CHUNK;
use crate::matmul::{Matrix, matmul, matmul_here, matmul_then};
use crate::reduce::{parts_of, sum_of_parts};
use crate::simd::multiversion;
use crate::transpose::transposed;

/// Rows whose weight gradients one task adds up, at least.
const ROWS_A_PART: usize = 1024;

/// The product; sizes are `[rows, inputs, outputs]`. Without a multiplier the sums stay as they are.
pub fn linear(
    x: &[f32],
    weight: &[f32],
    multiplier: Option<&[f32]>,
    bias: Option<&[f32]>,
    [rows, inputs, outputs]: [usize; 3],
) -> Vec<f32> {
    let (a, b) = (Matrix::rows(x, inputs), Matrix::rows(weight, outputs));
    matmul_then(a, b, [rows, outputs, inputs], |block| finish(block, multiplier, bias))
}

/// Multiplies the values of each row of `block` with those of `multiplier`, then adds those of `bias`.
pub(crate) fn finish(block: &mut [f32], multiplier: Option<&[f32]>, bias: Option<&[f32]>) {
    if let Some(multiplier) = multiplier {
        multiply_rows(block, multiplier);
    }
    if let Some(bias) = bias {
        add_rows(block, bias);
    }
}

/// Gradient with respect to x.
pub fn linear_input_gradient(weight: &[f32], gradient: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    // Turned once, and not for each block of rows by the product itself.
    let turned = transposed(weight, inputs, outputs);
    matmul(Matrix::rows(gradient, outputs), Matrix::rows(&turned, inputs), rows, inputs, outputs)
}

/// Gradient with respect to the weight.
pub fn linear_weight_gradient(x: &[f32], gradient: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    if rows < 2 * ROWS_A_PART || inputs * outputs == 0 {
        return matmul(Matrix::rows(x, inputs).transposed(), Matrix::rows(gradient, outputs), inputs, outputs, rows);
    }
    // Many rows: each part reads its own, and no row is read twice.
    let part = ROWS_A_PART.max(rows.div_ceil(parts_of(inputs * outputs)));
    let parts: Vec<Vec<f32>> = x
        .par_chunks(part * inputs)
        .zip(gradient.par_chunks(part * outputs))
        .map(|(x, gradient)| {
            let mut part = vec![0.0; inputs * outputs];
            let (a, b) = (Matrix::rows(x, inputs).transposed(), Matrix::rows(gradient, outputs));
            matmul_here(a, b, [inputs, outputs, x.len() / inputs], &mut part, false);
            part
        })
        .collect();
    let mut sum = vec![0.0; inputs * outputs];
    sum_of_parts(&parts, &mut sum);
    sum
}

/// Gradient with respect to the bias: the sums of the columns.
pub fn linear_bias_gradient(gradient: &[f32], outputs: usize) -> Vec<f32> {
    let task = (CHUNK / outputs.max(1)).max(1) * outputs;
    let parts: Vec<Vec<f32>> = gradient
        .par_chunks(task.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; outputs];
            rows.chunks_exact(outputs).for_each(|row| add(row, &mut sums));
            sums
        })
        .collect();
    let mut sums = vec![0.0; outputs];
    parts.iter().for_each(|part| add(part, &mut sums));
    sums
}

multiversion! {
    fn multiply_rows(rows: &mut [f32], multiplier: &[f32]) {
        for row in rows.chunks_exact_mut(multiplier.len().max(1)) {
            row.iter_mut().zip(multiplier).for_each(|(value, multiplier)| *value *= multiplier);
        }
    }
}

multiversion! {
    fn add_rows(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len().max(1)) {
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
    }
}

multiversion! {
    fn add(row: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_table() {
        let (x, weight) = ([1.0, 2.0, -1.0, 0.5], [1.0, 0.0, 2.0, -1.0, 3.0, 4.0]);
        let sizes = [2, 2, 3];
        let y = linear(&x, &weight, Some(&[2.0, 1.0, 0.5]), Some(&[0.0, 1.0, -1.0]), sizes);
        assert_eq!(y, [-2.0, 7.0, 4.0, -3.0, 2.5, -1.0]);
        let gradient = [1.0, 0.0, 2.0, -1.0, 1.0, 0.0];
        assert_eq!(linear_input_gradient(&weight, &gradient, sizes), [5.0, 7.0, -1.0, 4.0]);
        assert_eq!(linear_weight_gradient(&x, &gradient, sizes), [2.0, -1.0, 2.0, 1.5, 0.5, 4.0]);
        assert_eq!(linear_bias_gradient(&gradient, 3), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn weight_gradients_of_many_rows_agree_with_the_plain_sum() {
        let [rows, inputs, outputs] = [2100, 3, 2];
        let whole = |len: usize, by: usize| -> Vec<f32> { (0..len).map(|i| (i * by % 7) as f32 - 3.0).collect() };
        let (x, gradient) = (whole(rows * inputs, 5), whole(rows * outputs, 3));
        let found = linear_weight_gradient(&x, &gradient, [rows, inputs, outputs]);
        for (place, found) in found.into_iter().enumerate() {
            let (i, o) = (place / outputs, place % outputs);
            let expected: f32 = (0..rows).map(|r| x[r * inputs + i] * gradient[r * outputs + o]).sum();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn bias_gradients_are_the_same_for_any_number_of_threads() {
        let gradient: Vec<f32> = (0..700 * 130).map(|i| (i as f32 * 0.37).sin()).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| linear_bias_gradient(&gradient, 130))
        };
        assert_eq!(run(1), run(3));
        let plain: f64 = gradient.iter().step_by(130).map(|g| f64::from(*g)).sum();
        assert!((f64::from(run(2)[0]) - plain).abs() < 1e-4);
    }
}
