use hardgrad::ops::{Bounds, lsq};

use super::Operator;
use super::call::gradient;

/// See [`hardgrad::ops::lsq`].
pub(super) static LSQ: Operator = Operator {
    name: "lsq",
    summary: "quantisation with a learned step size",
    inputs: &["x", "scale", "grad"],
    optional_inputs: &[],
    keys: &[("bits", None), ("signed", Some("true")), ("axis", None)],
    run: |call| {
        let signed = call.flag("signed")?;
        let bits = call.bits(if signed { 2 } else { 1 })?;
        call.check_same_shape("grad", "x")?;
        let dims = call.channels()?;
        call.check_positive("scale")?;
        let bounds = if signed { Bounds::signed(bits) } else { Bounds::unsigned(bits) };
        let (x, scale) = (call.leaf("x", dims), call.leaf("scale", [call.input("scale").values.len()]));
        let y = lsq(x.clone(), scale.clone(), bounds, Some(1));
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients)), ("scale", gradient(&scale, &gradients))]))
    },
};
