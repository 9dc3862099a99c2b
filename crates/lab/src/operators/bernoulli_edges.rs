use super::Operator;

/// See [`hardgrad::graph::bernoulli_edges`].
pub(super) static BERNOULLI_EDGES: Operator = Operator {
    name: "bernoulli_edges",
    summary: "edges sampled by their probabilities; gradient of the identity",
    inputs: &["theta", "uniform", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| {
        call.check_same_shape("uniform", "theta")?;
        call.check_uniform()?;
        call.unary("theta", |x| hardgrad::graph::bernoulli_edges(x.clone(), call.constant("uniform", x.dims())))
    },
};
