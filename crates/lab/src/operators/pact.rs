use super::call::gradient;
use super::{Key, Operator};

/// See [`hardgrad::ops::pact`].
pub(super) static PACT: Operator = Operator {
    name: "pact",
    summary: "activations clipped at a learned bound and quantised",
    inputs: &["x", "alpha", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::bits()],
    run: |call| {
        let bits = call.number("bits")?;
        call.check_same_shape("grad", "x")?;
        call.check_shape("alpha", &[1])?;
        call.check_positive("alpha")?;
        let (x, alpha) = (call.leaf("x", [call.input("x").values.len()]), call.leaf("alpha", [1]));
        let y = hardgrad::ops::pact(x.clone(), alpha.clone(), bits);
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients)), ("alpha", gradient(&alpha, &gradients))]))
    },
};
