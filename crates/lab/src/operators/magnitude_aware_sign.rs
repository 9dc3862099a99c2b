use super::Operator;
use super::call::gradient;

/// See [`hardgrad::ops::magnitude_aware_sign`].
pub(super) static MAGNITUDE_AWARE_SIGN: Operator = Operator {
    name: "magnitude_aware_sign",
    summary: "signs times the mean magnitude of each index along the first axis",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| {
        call.check_same_shape("grad", "x")?;
        let x = call.input("x");
        let Some(filters) = x.shape.first() else { return Err(call.wrong_shape("x", "at least one axis")) };
        let x = call.leaf("x", [*filters, x.shape[1..].iter().product()]);
        let y = hardgrad::ops::magnitude_aware_sign(x.clone(), 0);
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients))]))
    },
};
