use burn::module::{Module, RunningState};
use burn::tensor::{Device, Int, Tensor};
use hardgrad_kernels::random::Random;
use hardgrad_kernels::vector_quantize::{
    commitment_backward, gather, moving_average_update, nearest, rotation_backward, squared_error,
};
use serde::{Deserialize, Serialize};

use super::Codes;
use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::{device, on_flex, tensor, values, whole};

/// What the backward pass of [`vector_quantize()`] takes the choice of a code for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeGradient {
    /// The identity.
    #[default]
    Ste,
    /// The rotation and stretching that turn the vector to its code.
    Rotation,
}

impl CodeGradient {
    /// All of them, in the order of lists and reports.
    pub const ALL: &'static [Self] = &[Self::Ste, Self::Rotation];

    /// The name that configs and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ste => "ste",
            Self::Rotation => "rotation",
        }
    }

    /// The gradient of this name.
    ///
    /// ```
    /// use hardgrad::codebook::CodeGradient;
    /// assert_eq!(CodeGradient::by_name("rotation"), Some(CodeGradient::Rotation));
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|gradient| gradient.name() == name)
    }
}

/// Replaces each vector by the nearest code of a code book.
///
/// ```text
/// y = the code nearest to x by Euclidean distance, ties to the lowest index
/// dx = G                    (ste)
/// dx = lambda R^T G         (rotation), lambda = norm(y) / norm(x), R = I - 2 r r^T + 2 b a^T held constant,
///                           a = x / norm(x), b = y / norm(y), r = (a + b) / norm(a + b), 0 where a = -b;
///                           G where norm(x) or norm(y) is below 1e-6
/// ```
/// x `[n, dims]`; `codebook` `[codes, dims]`, used as a constant. The nearest code is the exact one: rows that f32 cannot
/// decide are decided in f64. Sources: van den Oord et al., "Neural discrete representation learning" (VQ-VAE), NeurIPS
/// 2017; Fifty et al., "Restructuring vector quantization with the rotation trick", 2024.
///
/// # Panics
/// If the dimensions differ or there is no code.
pub fn vector_quantize(x: Tensor<2>, codebook: &Tensor<2>, gradient: CodeGradient) -> Codes {
    let [rows, dims] = x.dims();
    assert_eq!(codebook.dims()[1], dims, "vector_quantize: vectors and codes must have the same dimensions");
    let indices = choose(&x, codebook);
    let places = whole(indices.iter().map(|index| i64::from(*index)), [rows], device(&x));
    if !on_flex(&x) {
        return Codes { quantized: composed(x, codebook, places.clone(), gradient), indices: places };
    }
    let mut y = vec![0.0; rows * dims];
    gather(&values(codebook), &indices, dims, &mut y);
    let y = tensor(y, [rows, dims]);
    let quantized = match gradient {
        CodeGradient::Ste => custom_vjp(x, y, |gradient| gradient),
        CodeGradient::Rotation => {
            let (input, output) = (values(&x), values(&y));
            custom_vjp(x, y, move |gradient| {
                let mut out = vec![0.0; input.len()];
                rotation_backward(&input, &output, &values(&gradient), dims, &mut out);
                tensor(out, [rows, dims])
            })
        }
    };
    Codes { quantized, indices: places }
}

/// The nearest codes, found on the CPU wherever the tensors live.
fn choose(x: &Tensor<2>, codebook: &Tensor<2>) -> Vec<u32> {
    let [rows, dims] = x.dims();
    let mut indices = vec![0; rows];
    let local = |tensor: &Tensor<2>| values(&tensor.clone().inner().to_device(&Device::flex()));
    nearest(&local(x), &local(codebook), dims, &mut indices);
    indices
}

/// [`vector_quantize()`] with given codes `[n]` as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<2>, codebook: &Tensor<2>, indices: Tensor<1, Int>, gradient: CodeGradient) -> Tensor<2> {
    let quantized = codebook.clone().inner().select(0, indices);
    match gradient {
        CodeGradient::Ste => exactly(quantized, x),
        CodeGradient::Rotation => turned(x, quantized),
    }
}

/// `quantized` with the gradient of the rotation and stretching that turn `x` to it.
fn turned(x: Tensor<2>, quantized: Tensor<2>) -> Tensor<2> {
    let norm = |x: &Tensor<2>| (x.clone() * x.clone()).sum_dim(1).sqrt();
    let constant = x.clone().inner();
    let (length, quantized_length) = (norm(&constant), norm(&quantized));
    let short = length.clone().min_pair(quantized_length.clone()).lower_scalar(1e-6).float();
    let safe = |length: &Tensor<2>| length.clone() + short.clone();
    let a = constant / safe(&length);
    let b = quantized.clone() / safe(&quantized_length);
    let sum = a.clone() + b.clone();
    let sum_length = norm(&sum);
    let opposite = sum_length.clone().lower_scalar(1e-6).float();
    let r = sum / (sum_length + opposite.clone()) * (-opposite + 1.0);
    let along = |x: &Tensor<2>, direction: &Tensor<2>| (x.clone() * direction.clone()).sum_dim(1);
    let turned = x.clone() - r.clone() * along(&x, &r) * 2.0 + b * along(&x, &a) * 2.0;
    let turned = turned * (quantized_length / safe(&length));
    exactly(quantized, turned * (-short.clone() + 1.0) + x * short)
}

/// The commitment loss `[1]`: how far the vectors are from their codes, which are held constant.
///
/// ```text
/// loss = commitment mean((x - quantized)^2)        dx = G 2 commitment (x - quantized) / (n dims)
/// ```
/// x and `quantized` `[n, dims]`. Source: van den Oord et al., NeurIPS 2017.
pub fn commitment_loss(x: Tensor<2>, quantized: &Tensor<2>, commitment: f32) -> Tensor<1> {
    if !on_flex(&x) {
        let difference = x - quantized.clone().inner();
        return (difference.clone() * difference).mean() * commitment;
    }
    let (dims, input, constant) = (x.dims(), values(&x), values(quantized));
    let count = input.len().max(1);
    let loss = f64::from(commitment) * squared_error(&input, &constant) / count as f64;
    let slope = 2.0 * commitment / count as f32;
    custom_vjp(x, tensor(vec![loss as f32], [1]), move |gradient| {
        let factor = values(&gradient)[0] * slope;
        let mut out = vec![0.0; input.len()];
        commitment_backward(&input, &constant, factor, &mut out);
        tensor(out, dims)
    })
}

/// Settings of a [`VectorQuantizer`].
#[derive(Clone, Copy, Debug)]
pub struct VectorQuantizerConfig {
    /// Number of codes, at least 1.
    pub codes: usize,
    /// Values of a code.
    pub dims: usize,
    /// Share of the old averages that stays at each step, from 0 to 1.
    pub decay: f32,
    /// Weight of the commitment loss.
    pub commitment: f32,
    /// What the backward pass takes the choice for.
    pub gradient: CodeGradient,
}

impl VectorQuantizerConfig {
    /// decay 0.99, commitment 0.25, straight-through.
    pub fn new(codes: usize, dims: usize) -> Self {
        Self { codes, dims, decay: 0.99, commitment: 0.25, gradient: CodeGradient::Ste }
    }

    /// Codes drawn from the standard normal distribution.
    pub fn init(&self, random: &Random, device: &Device) -> VectorQuantizer {
        let mut codes = vec![0.0; self.codes * self.dims];
        random.fill_normal(&mut codes);
        let codes = Tensor::<1>::from_floats(codes.as_slice(), device).inner().reshape([self.codes, self.dims]);
        VectorQuantizer {
            codebook: RunningState::new(codes.clone()),
            sums: RunningState::new(codes),
            counts: RunningState::new(Tensor::<1>::ones([self.codes], device).inner()),
            decay: self.decay,
            commitment: self.commitment,
            gradient: self.gradient,
        }
    }
}

/// [`vector_quantize()`] with a code book that follows the vectors as a moving average.
///
/// ```text
/// count_k = decay count_k + (1 - decay) n_k        sum_k = decay sum_k + (1 - decay) (sum of the vectors with code k)
/// code_k = sum_k / count_k,  counts smoothed by 1e-5 (Laplace)
/// ```
/// Source: van den Oord et al., NeurIPS 2017, appendix A.1.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::codebook::VectorQuantizerConfig;
/// use hardgrad::random::Random;
///
/// let device = Device::flex().autodiff();
/// let layer = VectorQuantizerConfig::new(16, 4).init(&Random::new(0, 0, 0), &device);
/// let (codes, loss) = layer.forward(Tensor::ones([10, 4], &device));
/// assert_eq!((codes.quantized.dims(), codes.indices.dims(), loss.dims()), ([10, 4], [10], [1]));
/// ```
#[derive(Module, Debug)]
pub struct VectorQuantizer {
    /// Codes `[codes, dims]`.
    pub codebook: RunningState<Tensor<2>>,
    /// Moving sums of the vectors of each code `[codes, dims]`.
    pub sums: RunningState<Tensor<2>>,
    /// Moving numbers of vectors of each code `[codes]`.
    pub counts: RunningState<Tensor<1>>,
    decay: f32,
    commitment: f32,
    #[module(skip)]
    gradient: CodeGradient,
}

impl VectorQuantizer {
    /// Quantised vectors with their codes, and the commitment loss `[1]`, for x `[n, dims]`.
    ///
    /// Inputs on an autodiff device move the code book after they are quantised; plain ones leave it.
    pub fn forward(&self, x: Tensor<2>) -> (Codes, Tensor<1>) {
        let codes = vector_quantize(x.clone(), &self.codebook.value_sync().inner(), self.gradient);
        let loss = commitment_loss(x.clone(), &codes.quantized, self.commitment);
        if x.is_autodiff() {
            self.follow(&x, &codes);
        }
        (codes, loss)
    }

    fn follow(&self, x: &Tensor<2>, codes: &Codes) {
        let [count, dims] = self.codebook.value_sync().dims();
        let read = |state: &RunningState<Tensor<2>>| values(&state.value_sync()).to_vec();
        let (mut codebook, mut sums) = (read(&self.codebook), read(&self.sums));
        let mut counts = values(&self.counts.value_sync()).to_vec();
        let indices: Vec<i64> = codes.indices.clone().into_data().try_into_vec().expect("indices are i64");
        let indices: Vec<u32> = indices.into_iter().map(|index| index as u32).collect();
        moving_average_update(&values(x), &indices, dims, self.decay, &mut counts, &mut sums, &mut codebook, EPSILON);
        self.codebook.update(tensor(codebook, [count, dims]));
        self.sums.update(tensor(sums, [count, dims]));
        self.counts.update(tensor(counts, [count]));
        // Settles the updates now, so that a saved model never misses the last one.
        let _ = (self.codebook.value_sync(), self.sums.value_sync(), self.counts.value_sync());
    }
}

/// Keeps codes that nothing chooses from being divided by 0.
const EPSILON: f32 = 1e-5;
