//! The same for all items of a batch, on all threads: an item's bits do not depend on the others.

use rayon::prelude::*;

use super::{Conv2d, Linear, attention as of_sequence, mean_planes as of_planes, mean_tokens as of_tokens};
use crate::CHUNK;
use crate::attention::AttentionShape;
use crate::geometry::Conv2dShape;
use crate::memory::Fresh;

/// Rows of a linear layer that one task handles: each task reads all weights.
const ROWS: usize = 16;

/// Convolution of a batch of images; `bias` holds one value an output channel.
///
/// # Panics
/// If a length does not fit the shape.
pub fn conv2d(x: &[f32], weight: &[f32], bias: Option<&[f32]>, shape: &Conv2dShape) -> Vec<f32> {
    let batch = x.len() / shape.input_len();
    assert_eq!(x.len(), batch * shape.input_len(), "whole images of {shape:?}");
    let layer = Conv2d::new(weight, bias, shape);
    let mut y = Fresh::new(batch * shape.output_len());
    y.pieces(shape.output_len())
        .zip(x.par_chunks(shape.input_len()))
        .for_each_init(Vec::new, |scratch, (y, x)| layer.forward(x, scratch, y.open()));
    y.finish()
}

/// `[rows, outputs]` of `x` `[rows, inputs]`, `weight` `[inputs, outputs]` and `bias`, one value an output.
///
/// # Panics
/// If a length does not fit the sizes.
pub fn linear(x: &[f32], weight: &[f32], bias: Option<&[f32]>, [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    assert_eq!(x.len(), rows * inputs, "{rows} rows of {inputs} values");
    let layer = Linear::from_columns(weight, bias, outputs, inputs);
    let mut y = Fresh::new(rows * outputs);
    y.pieces(ROWS * outputs).enumerate().for_each(|(task, y)| {
        let y = y.open();
        layer.forward(&x[task * ROWS * inputs..][..y.len() / outputs * inputs], y);
    });
    y.finish()
}

/// Self-attention of a batch of sequences.
///
/// # Panics
/// If a length does not fit the shape, or the shape has no tokens, heads or width.
pub fn attention(qkv: &[f32], shape: AttentionShape) -> Vec<f32> {
    let AttentionShape { batch, tokens, heads, width } = shape;
    let len = tokens * heads * width;
    assert!(len > 0, "an attention without values: {shape:?}");
    assert_eq!(qkv.len(), batch * 3 * len, "sequences of {shape:?}");
    let mut y = Fresh::new(batch * len);
    y.pieces(len).zip(qkv.par_chunks(3 * len)).for_each_init(Vec::new, |scratch, (y, qkv)| {
        of_sequence(qkv, tokens, heads, width, scratch, y.open());
    });
    y.finish()
}

/// The mean of each plane of `pixels` values.
///
/// # Panics
/// If the values are not whole planes.
pub fn mean_planes(x: &[f32], pixels: usize) -> Vec<f32> {
    assert!(pixels > 0 && x.len().is_multiple_of(pixels), "{} values in planes of {pixels}", x.len());
    let task = (CHUNK / pixels).max(1);
    let mut y = Fresh::new(x.len() / pixels);
    y.pieces(task).zip(x.par_chunks(task * pixels)).for_each(|(y, x)| {
        let y = y.open();
        of_planes(x, y.len(), pixels, y);
    });
    y.finish()
}

/// The mean token of each sequence of `tokens` rows of `width` values.
///
/// # Panics
/// If the values are not whole sequences.
pub fn mean_tokens(x: &[f32], tokens: usize, width: usize) -> Vec<f32> {
    let len = tokens * width;
    assert!(len > 0 && x.len().is_multiple_of(len), "{} values in sequences of {tokens} x {width}", x.len());
    let mut y = Fresh::new(x.len() / tokens);
    y.pieces(width).zip(x.par_chunks(len)).for_each(|(y, x)| of_tokens(x, tokens, width, y.open()));
    y.finish()
}

#[cfg(test)]
mod tests {
    use super::super::matmul::tests::{bits, normal};
    use super::super::{attention as one_attention, conv2d as one_conv2d, matmul};
    use super::*;
    use crate::threads::same_for_threads;

    const SHAPE: Conv2dShape = Conv2dShape {
        channels_in: 6,
        channels_out: 9,
        height: 11,
        width: 7,
        kernel: [3, 3],
        stride: [2, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 3,
    };

    #[test]
    fn images_of_a_batch_are_those_alone_for_any_number_of_threads() {
        let (x, weight, bias) = (normal(7 * SHAPE.input_len(), 0), normal(SHAPE.weight_len(), 1), normal(9, 2));
        let found = same_for_threads(|| conv2d(&x, &weight, Some(&bias), &SHAPE));
        let mut alone = vec![0.0; SHAPE.output_len()];
        for (x, found) in x.chunks(SHAPE.input_len()).zip(found.chunks(SHAPE.output_len())) {
            one_conv2d(x, &weight, Some(&bias), &SHAPE, &mut Vec::new(), &mut alone);
            assert_eq!(bits(found), bits(&alone));
        }
    }

    #[test]
    fn rows_of_a_batch_are_those_alone_for_any_number_of_threads() {
        let [rows, inputs, outputs] = [37, 45, 130];
        let (x, weight, bias) = (normal(rows * inputs, 0), normal(outputs * inputs, 1), normal(outputs, 2));
        let turned: Vec<f32> = (0..weight.len()).map(|i| weight[i % outputs * inputs + i / outputs]).collect();
        let found = same_for_threads(|| linear(&x, &turned, Some(&bias), [rows, inputs, outputs]));
        let mut alone = vec![0.0; outputs];
        for (x, found) in x.chunks(inputs).zip(found.chunks(outputs)) {
            matmul(x, &weight, Some(&bias), [1, outputs, inputs], &mut alone);
            assert_eq!(bits(found), bits(&alone));
        }
        assert_eq!(linear(&[], &[], Some(&[1.0, 2.0]), [2, 0, 2]), [1.0, 2.0, 1.0, 2.0]);
        assert!(linear(&x, &[], None, [rows, inputs, 0]).is_empty());
    }

    #[test]
    fn sequences_of_a_batch_are_those_alone_for_any_number_of_threads() {
        let shape = AttentionShape { batch: 5, tokens: 9, heads: 2, width: 7 };
        let qkv = normal(5 * 9 * 3 * 14, 0);
        let found = same_for_threads(|| attention(&qkv, shape));
        let mut alone = vec![0.0; 9 * 14];
        for (qkv, found) in qkv.chunks(9 * 3 * 14).zip(found.chunks(9 * 14)) {
            one_attention(qkv, 9, 2, 7, &mut Vec::new(), &mut alone);
            assert_eq!(bits(found), bits(&alone));
        }
    }

    #[test]
    fn means_of_a_batch_are_those_alone_for_any_number_of_threads() {
        let x = normal(3000 * 28, 0);
        let (mut planes, mut tokens) = (vec![0.0; 3000], vec![0.0; 750 * 4]);
        of_planes(&x, 3000, 28, &mut planes);
        of_tokens(&x, 28, 4, &mut tokens);
        assert_eq!(bits(&same_for_threads(|| mean_planes(&x, 28))), bits(&planes));
        assert_eq!(bits(&same_for_threads(|| mean_tokens(&x, 28, 4))), bits(&tokens));
    }
}
