use hardgrad::ops::{Bounds, Rule, fake_quant};

use super::call::gradient;
use super::{Call, Key, Operator, OperatorError};

/// See [`hardgrad::ops::fake_quant`].
pub(super) static FAKE_QUANT: Operator = Operator {
    name: "fake_quant",
    summary: "uniform quantisation with scale and zero point; clipped or identity gradient",
    inputs: &["x", "scale", "grad"],
    optional_inputs: &["zero_point"],
    keys: || {
        let narrow = Key::flag("narrow", false).expecting("true with signed codes of at least 2 bits, or false");
        let rules = Rule::ALL.iter().map(|rule| rule.name());
        vec![Key::bits(), Key::flag("signed", true), narrow, Key::word("rule", rules), Key::axis()]
    },
    run: |call| {
        let codes = codes(call)?;
        let rule = call.word("rule", Rule::by_name)?;
        call.check_same_shape("grad", "x")?;
        let dims = call.channels()?;
        call.check_positive("scale")?;
        let bounds: Vec<Bounds> = zero_points(call, codes)?
            .iter()
            .map(|zero| Bounds { lowest: codes.lowest - zero, highest: codes.highest - zero })
            .collect();
        let x = call.leaf("x", dims);
        let y = fake_quant(x.clone(), &call.input("scale").values, &bounds, Some(1), rule);
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients))]))
    },
};

/// The lowest and the highest code.
fn codes(call: &Call) -> Result<Bounds, OperatorError> {
    let bits: u32 = call.number("bits")?;
    let codes = if call.flag("signed")? { Bounds::signed(bits) } else { Bounds::unsigned(bits) };
    if !call.flag("narrow")? {
        return Ok(codes);
    }
    if !call.flag("signed")? {
        return Err(call.useless("narrow", "signed=false"));
    }
    if bits == 1 {
        return Err(call.wrong("narrow", "false with bits=1, where true leaves no code but 0", "true"));
    }
    Ok(Bounds { lowest: codes.lowest + 1.0, ..codes })
}

fn zero_points(call: &Call, codes: Bounds) -> Result<Vec<f32>, OperatorError> {
    let Some(zero_point) = call.optional("zero_point") else { return Ok(vec![0.0]) };
    call.check_same_shape("zero_point", "scale")?;
    let valid = |value: f32| value.fract() == 0.0 && (codes.lowest..=codes.highest).contains(&value);
    match zero_point.values.iter().find(|value| !valid(**value)) {
        None => Ok(zero_point.values.clone()),
        Some(value) => {
            let expected = format!("a whole number among the codes, from {} to {}", codes.lowest, codes.highest);
            Err(call.wrong("zero_point", &expected, &value.to_string()))
        }
    }
}
