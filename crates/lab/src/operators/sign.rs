use super::{Key, Operator};

/// See [`hardgrad::ops::sign`].
pub(super) static SIGN: Operator = Operator {
    name: "sign",
    summary: "+1 or -1; gradient of a surrogate",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Key::surrogate,
    run: |call| {
        let surrogate = call.surrogate()?;
        call.unary("x", |x| hardgrad::ops::sign(x, surrogate))
    },
};
