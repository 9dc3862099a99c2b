use super::Operator;

/// See [`hardgrad::ops::ternary_twn`].
pub(super) static TWN: Operator = Operator {
    name: "ternary_twn",
    summary: "-1, 0 or +1 by a threshold of 0.7 times the mean magnitude",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| call.unary("x", hardgrad::ops::ternary_twn),
};

/// See [`hardgrad::ops::ternary_absmean`].
pub(super) static ABSMEAN: Operator = Operator {
    name: "ternary_absmean",
    summary: "-g, 0 or +g by rounding, g the mean magnitude",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| call.unary("x", hardgrad::ops::ternary_absmean),
};
