use hardgrad::Surrogate;

use super::{Call, Operator, OperatorError};

/// See [`hardgrad::ops::sign`].
pub(super) static SIGN: Operator = Operator {
    name: "sign",
    summary: "+1 or -1; gradient of a surrogate",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: &[("surrogate", Some("identity")), ("beta", Some("5")), ("t", None)],
    run: |call| {
        let surrogate = surrogate(call)?;
        call.unary(|x| hardgrad::ops::sign(x, surrogate))
    },
};

/// The surrogate that the keys `surrogate`, `beta` and `t` name.
fn surrogate(call: &Call) -> Result<Surrogate, OperatorError> {
    let expected = format!("one of {}", Surrogate::NAMES.join(", "));
    let name: String = call.key("surrogate", &expected, |name: &String| Surrogate::NAMES.contains(&name.as_str()))?;
    let positive = |key| call.key(key, "a number above 0", |value: &f32| *value > 0.0 && value.is_finite());
    Ok(match name.as_str() {
        "identity" => Surrogate::Identity,
        "clipped" => Surrogate::Clipped,
        "relu" => Surrogate::Relu,
        "approx_sign" => Surrogate::ApproxSign,
        "tanh" => Surrogate::Tanh,
        "swish_sign" => Surrogate::SwishSign { beta: positive("beta")? },
        _ => Surrogate::Ede { t: positive("t")? },
    })
}
