use burn::tensor::Tensor;

use crate::coded::Activation;
use crate::flex::{tensor, values};

/// One token of each sequence.
///
/// ```text
/// y[n, c] = x[n, index, c]        dx[n, t, c] = G[n, c] where t = index, else 0
/// ```
/// x `[batch, tokens, width]` as floats or codes, and so is the result, `[batch, width]`.
///
/// # Panics
/// If there is no such token.
pub(super) fn take_token(x: Activation<3>, index: usize) -> Activation<2> {
    let dims @ [batch, tokens, width] = x.dims();
    match x {
        Activation::Float(x) => {
            let y: Tensor<2> = x.slice([0..batch, index..index + 1, 0..width]).reshape([batch, width]);
            y.into()
        }
        Activation::Coded(x) => {
            let (item, place) = (tokens * width, index * width..(index + 1) * width);
            let taken = x.coded().codes.chunks(item).flat_map(|item| &item[place.clone()]);
            let codes: Vec<u8> = taken.copied().collect();
            let y = x.map(codes, [batch, width], move |gradient: Tensor<2>| {
                let mut dx = vec![0.0; batch * item];
                for (dx, gradient) in dx.chunks_mut(item).zip(values(&gradient).chunks(width)) {
                    dx[place.clone()].copy_from_slice(gradient);
                }
                tensor(dx, dims)
            });
            y.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ops::{Bounds, lsq_coded};

    /// The token 1 of two sequences, as floats and as codes, with the gradients of the values.
    #[test]
    fn codes_and_floats_give_the_same_token_and_gradient() {
        let values: Vec<f32> = (0..12).map(|value| value as f32 * 0.25).collect();
        let run = |coded: bool| {
            let leaf: Tensor<3> = tensor(values.clone(), [2, 3, 2]);
            let leaf = Tensor::<3>::from_inner(leaf).require_grad();
            let x = match coded {
                true => lsq_coded(leaf.clone(), Tensor::from_floats([0.25], &Device::flex()), Bounds::unsigned(4)),
                false => leaf.clone().into(),
            };
            let y = take_token(x, 1);
            assert_eq!(matches!(y, Activation::Coded(_)), coded);
            let y = y.values();
            let weights: Tensor<2> = tensor(vec![1.0, 2.0, 3.0, 4.0], [2, 2]);
            let gradients = (y.clone() * weights).sum().backward();
            let floats = |data: burn::tensor::TensorData| data.try_into_vec::<f32>().unwrap();
            (floats(y.inner().into_data()), floats(leaf.grad(&gradients).unwrap().into_data()))
        };
        let (y, dx) = run(false);
        assert_eq!(y, [0.5, 0.75, 2.0, 2.25]);
        assert_eq!(dx, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
        assert_eq!(run(true), (y, dx));
    }
}
