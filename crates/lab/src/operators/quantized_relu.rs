use hardgrad::ops::ReluSurrogate;

use super::{Key, Operator};

/// See [`hardgrad::ops::quantized_relu`].
pub(super) static QUANTIZED_RELU: Operator = Operator {
    name: "quantized_relu",
    summary: "activations on a grid of non-negative steps; gradient of a surrogate",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: || {
        let surrogates = ReluSurrogate::ALL.iter().map(|surrogate| surrogate.name());
        vec![Key::bits(), Key::positive("alpha"), Key::word("surrogate", surrogates)]
    },
    run: |call| {
        let (bits, alpha) = (call.number("bits")?, call.number("alpha")?);
        let surrogate = call.word("surrogate", ReluSurrogate::by_name)?;
        call.unary("x", |x| hardgrad::ops::quantized_relu(x, alpha, bits, surrogate))
    },
};
