use super::{Key, Operator};

/// See [`hardgrad::ops::dorefa_activation`].
pub(super) static ACTIVATION: Operator = Operator {
    name: "dorefa_activation",
    summary: "activations clipped to 0..1 and quantised",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::bits()],
    run: |call| {
        let bits = call.number("bits")?;
        call.unary("x", |x| hardgrad::ops::dorefa_activation(x, bits))
    },
};

/// See [`hardgrad::ops::dorefa_weight`].
pub(super) static WEIGHT: Operator = Operator {
    name: "dorefa_weight",
    summary: "weights squeezed to -1..1 by tanh and quantised",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::bits()],
    run: |call| {
        let bits = call.number("bits")?;
        call.unary("x", |x| hardgrad::ops::dorefa_weight(x, bits))
    },
};
