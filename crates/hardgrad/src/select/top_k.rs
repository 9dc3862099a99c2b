use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor};
use hardgrad_kernels::{categorical, top_k};

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{device, on_flex, tensor, values, whole};

/// What [`top_k_mask`] gives.
#[derive(Clone, Debug)]
pub struct TopK {
    /// 1 on the chosen places, else 0: `[batch, n]`.
    pub mask: Tensor<2>,
    /// The chosen places by falling score: `[batch, k]`.
    pub indices: Tensor<2, Int>,
}

/// Marks the `k` largest scores of each row.
///
/// ```text
/// mask = 1 on the k largest scores, ties to the lowest index, else 0
/// dscores = G through softmax((scores + g) / temperature),  g = -ln(-ln u), or 0 without `uniform`
/// ```
/// `scores` and `uniform` (strictly between 0 and 1) `[batch, n]`; `temperature` above 0. The noise moves the gradient
/// only. Source: Mao et al., "SEPS", 2025 (the gradient of its token selection).
///
/// # Panics
/// If `k` is above n, or the shapes differ.
pub fn top_k_mask(scores: Tensor<2>, uniform: Option<Tensor<2>>, k: usize, temperature: f32) -> TopK {
    let indices = chosen(&scores, k);
    let places = whole(indices.iter().map(|index| i64::from(*index)), [scores.dims()[0], k], device(&scores));
    if !on_flex(&scores) {
        return TopK { mask: composed(scores, uniform, &indices, temperature), indices: places };
    }
    let dims = scores.dims();
    let soft = soft(&values(&scores), uniform, dims, temperature);
    let y = tensor(hard(&indices, dims), dims);
    let mask = custom_vjp(scores, y, move |gradient| {
        let mut out = vec![0.0; soft.len()];
        categorical::softmax_backward(&soft, &values(&gradient), dims[1], temperature, &mut out);
        tensor(out, dims)
    });
    TopK { mask, indices: places }
}

/// The mask of [`top_k_mask`] for chosen places (by row) as a composition of Burn's operators, for any device.
pub fn composed(scores: Tensor<2>, uniform: Option<Tensor<2>>, indices: &[u32], temperature: f32) -> Tensor<2> {
    let dims = scores.dims();
    let hard = Tensor::<1>::from_floats(hard(indices, dims).as_slice(), &scores.clone().inner().device());
    let noisy = match uniform {
        Some(uniform) => scores - (-uniform.inner().log()).log(),
        None => scores,
    };
    exactly(hard.reshape(dims), softmax(noisy / temperature, 1))
}

/// The places of the `k` largest scores of each row, chosen on the CPU wherever the tensors live.
pub(super) fn chosen(scores: &Tensor<2>, k: usize) -> Vec<u32> {
    let [rows, count] = scores.dims();
    let scores: Vec<f32> = scores.clone().inner().into_data().try_into_vec().expect("scores are f32");
    let mut indices = vec![0; rows * k];
    top_k::top_k(&scores, count, k, &mut indices);
    indices
}

/// softmax((scores + g) / temperature)
pub(super) fn soft(scores: &[f32], uniform: Option<Tensor<2>>, dims: [usize; 2], temperature: f32) -> Vec<f32> {
    let mut soft = vec![0.0; scores.len()];
    match uniform {
        Some(uniform) => {
            categorical::gumbel_softmax(scores, &values(&uniform), dims[1], temperature, &mut soft, None);
        }
        None => categorical::softmax(scores, dims[1], temperature, &mut soft),
    }
    soft
}

fn hard(indices: &[u32], [rows, count]: [usize; 2]) -> Vec<f32> {
    let mut mask = vec![0.0; rows * count];
    let k = indices.len() / rows.max(1);
    for (row, indices) in indices.chunks(k.max(1)).enumerate() {
        indices.iter().for_each(|index| mask[row * count + *index as usize] = 1.0);
    }
    mask
}
