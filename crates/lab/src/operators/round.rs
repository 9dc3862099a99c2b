use super::Operator;

/// See [`hardgrad::ops::round`].
pub(super) static ROUND: Operator = Operator {
    name: "round",
    summary: "nearest whole number, halves to even; gradient of the identity",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| call.unary("x", hardgrad::ops::round),
};
