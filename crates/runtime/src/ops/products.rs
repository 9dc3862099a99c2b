//! What conv2d and linear share: weights as codes or floats, and sums that cannot leave 32 bits.

use super::check::{check_bits, check_length, check_scales};
use super::limits::MAX_INTEGER;
use super::problem::Problem;
use super::step::{Codes, Domain, Packed};
use super::tensor::TensorShape;
use super::weight::Weight;

/// The tensors of a weight and of a bias, if there is one.
pub fn tensors(weight: Vec<usize>, bias: bool) -> Vec<TensorShape> {
    let outputs = weight[0];
    let bias = bias.then(|| TensorShape::new("bias", [outputs]));
    [TensorShape::new("weight", weight)].into_iter().chain(bias).collect()
}

/// The bias of a node that has one.
fn bias<'a>(node: &Packed<'a>) -> Option<&'a [f32]> {
    node.stored("bias").map(|_| node.floats("bias"))
}

/// Fails where weight, input and bias of so many output channels cannot be computed with.
pub fn check(node: &Packed<'_>, channels: usize) -> Result<Domain, Problem> {
    if let Some(weight) = node.weight() {
        let Domain::Codes(input) = node.inputs[0].domain else { return Err(Problem::FloatInput) };
        weight.check(channels)?;
        let products: Vec<f32> = weight.scale.iter().map(|scale| input.scale * scale).collect();
        check_scales("product of input scale and weight scale", &products)?;
        check_sums(weight, input, bias(node), channels)?;
    }
    Ok(Domain::Float)
}

/// No sum may leave 32 bits, nor may any part of it, and the real number that it becomes must be finite.
fn check_sums(weight: &Weight, input: Codes, bias: Option<&[f32]>, channels: usize) -> Result<(), Problem> {
    let channel_len = (weight.codes.len() / channels).max(1);
    for (channel, codes) in weight.codes.chunks(channel_len).enumerate() {
        let first = weight.first[channel.min(weight.first.len() - 1)];
        let magnitude = |&code: &u8| i64::from((first + weight.step * i32::from(code)).abs());
        let sum = codes.iter().map(magnitude).sum::<i64>() * input.largest();
        if sum > i64::from(i32::MAX) {
            return Err(Problem::Accumulator { channel, sum });
        }
        // In the order of the executor: rounding keeps the order of numbers, so no smaller sum can give more.
        let product = sum as f32 * (input.scale * weight.scale_of(channel));
        let value = product + bias.map_or(0.0, |bias| bias[channel].abs());
        if !value.is_finite() {
            return Err(Problem::Overflow { channel, sum });
        }
    }
    Ok(())
}

impl Weight {
    fn check(&self, channels: usize) -> Result<(), Problem> {
        check_bits("weight", self.bits)?;
        if ![1, channels].contains(&self.first.len()) {
            return Err(Problem::PerChannel { field: "weight first", channels, found: self.first.len() });
        }
        let step = i64::from(self.step);
        let impossible = |&first: &i32| {
            let last = i64::from(first) + step * ((1 << self.bits) - 1);
            step < 1 || i64::from(first) < -MAX_INTEGER || last > MAX_INTEGER
        };
        if let Some(index) = self.first.iter().position(impossible) {
            return Err(Problem::WeightLevels { index, first: self.first[index], step: self.step });
        }
        if let Some(index) = self.codes.iter().position(|&code| u32::from(code) >= 1 << self.bits) {
            return Err(Problem::Code { index, code: self.codes[index], bits: self.bits });
        }
        if self.scale.len() != 1 {
            check_length("weight scale", channels, self.scale.len())?;
        }
        check_scales("weight scale", &self.scale)
    }
}

/// Weight and bias laid out for running.
#[derive(Debug)]
pub enum Operand<F> {
    /// Whole numbers, with `input_scale * weight_scale` of each output channel.
    Whole { weight: Vec<i16>, scale: Vec<f32>, bias: Option<Vec<f32>> },
    /// Floats, as the operator lays them out.
    Float(F),
}

impl<F> Operand<F> {
    /// Of a node that was checked; `floats` lays out a float weight with its bias.
    pub fn new(node: &Packed<'_>, channels: usize, floats: impl FnOnce(&[f32], Option<&[f32]>) -> F) -> Self {
        let bias = bias(node);
        match (node.weight(), node.inputs[0].domain) {
            (Some(weight), Domain::Codes(input)) => Self::Whole {
                weight: weight.integers().collect(),
                scale: (0..channels).map(|channel| input.scale * weight.scale_of(channel)).collect(),
                bias: bias.map(<[f32]>::to_vec),
            },
            (None, Domain::Float | Domain::Codes(_)) | (Some(_), Domain::Float) => {
                Self::Float(floats(node.floats("weight"), bias))
            }
        }
    }
}
