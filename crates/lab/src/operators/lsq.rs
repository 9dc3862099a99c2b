use hardgrad::ops::{Bounds, lsq};

use super::call::gradient;
use super::{Key, Operator};

/// See [`hardgrad::ops::lsq`].
pub(super) static LSQ: Operator = Operator {
    name: "lsq",
    summary: "quantisation with a learned step size",
    inputs: &["x", "scale", "grad"],
    optional_inputs: &[],
    keys: || {
        let bits = Key::bits().expecting("a whole number from 1 to 24, from 2 with signed=true");
        vec![bits, Key::flag("signed", true), Key::axis()]
    },
    run: |call| {
        let signed = call.flag("signed")?;
        let bits: u32 = call.number("bits")?;
        if signed && bits == 1 {
            return Err(call.wrong("bits", "a whole number from 2 to 24 with signed=true", "1"));
        }
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
