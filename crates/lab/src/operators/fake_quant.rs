use hardgrad::ops::{Bounds, Rule, fake_quant};

use super::call::gradient;
use super::{Call, Operator, OperatorError};

/// See [`hardgrad::ops::fake_quant`].
pub(super) static FAKE_QUANT: Operator = Operator {
    name: "fake_quant",
    summary: "uniform quantisation with scale and zero point; clipped or identity gradient",
    inputs: &["x", "scale", "grad"],
    optional_inputs: &["zero_point"],
    keys: &[
        ("bits", None),
        ("signed", Some("true")),
        ("narrow", Some("false")),
        ("rule", Some("clipped")),
        ("axis", None),
    ],
    run: |call| {
        let bits = call.bits(1)?;
        let signed = call.flag("signed")?;
        let narrow = call.flag("narrow")?;
        let rule = [Rule::Clipped, Rule::Identity][call.word("rule", &["clipped", "identity"])?];
        call.check_same_shape("grad", "x")?;
        let dims = call.channels()?;
        call.check_positive("scale")?;
        let codes = if signed { Bounds::signed(bits) } else { Bounds::unsigned(bits) };
        let codes = Bounds { lowest: codes.lowest + f32::from(signed && narrow), ..codes };
        let zero_points = zero_points(call)?;
        let bounds: Vec<Bounds> = zero_points
            .iter()
            .map(|zero| Bounds { lowest: codes.lowest - zero, highest: codes.highest - zero })
            .collect();
        let x = call.leaf("x", dims);
        let y = fake_quant(x.clone(), &call.input("scale").values, &bounds, Some(1), rule);
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients))]))
    },
};

fn zero_points(call: &Call) -> Result<Vec<f32>, OperatorError> {
    let Some(zero_point) = call.optional("zero_point") else { return Ok(vec![0.0]) };
    call.check_same_shape("zero_point", "scale")?;
    match zero_point.values.iter().find(|value| value.fract() != 0.0) {
        Some(value) => Err(call.wrong("zero_point", "a whole number", &value.to_string())),
        None => Ok(zero_point.values.clone()),
    }
}
