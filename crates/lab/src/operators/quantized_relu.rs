use hardgrad::ops::ReluSurrogate;

use super::Operator;

/// See [`hardgrad::ops::quantized_relu`].
pub(super) static QUANTIZED_RELU: Operator = Operator {
    name: "quantized_relu",
    summary: "activations on a grid of non-negative steps; gradient of a surrogate",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: &[("bits", None), ("alpha", None), ("surrogate", Some("identity"))],
    run: |call| {
        let (bits, alpha) = (call.bits(1)?, call.positive("alpha")?);
        let surrogates = [ReluSurrogate::Identity, ReluSurrogate::Relu, ReluSurrogate::ClippedRelu];
        let surrogate = surrogates[call.word("surrogate", &ReluSurrogate::NAMES)?];
        call.unary("x", |x| hardgrad::ops::quantized_relu(x, alpha, bits, surrogate))
    },
};
