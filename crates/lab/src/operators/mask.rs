use hardgrad::mask::{HardConcrete, hard_concrete, score_mask, soft_threshold, threshold_mask};

use super::call::gradient;
use super::{Key, Operator};

/// See [`hardgrad::mask::threshold_mask`].
pub(super) static THRESHOLD: Operator = Operator {
    name: "threshold_mask",
    summary: "keeps values whose magnitude reaches a learned threshold; gradient of a surrogate",
    inputs: &["x", "threshold", "grad"],
    optional_inputs: &[],
    keys: Key::surrogate,
    run: |call| {
        let surrogate = call.surrogate()?;
        call.check_same_shape("grad", "x")?;
        call.check_shape("threshold", &[1])?;
        let (x, threshold) = (call.leaf("x", [call.input("x").values.len()]), call.leaf("threshold", [1]));
        let y = threshold_mask(x.clone(), threshold.clone(), surrogate);
        let gradients = call.backward(&y);
        let gradients = vec![("x", gradient(&x, &gradients)), ("threshold", gradient(&threshold, &gradients))];
        Ok(call.outputs(y, gradients))
    },
};

/// See [`hardgrad::mask::score_mask`].
pub(super) static SCORE: Operator = Operator {
    name: "score_mask",
    summary: "keeps the share of the values whose scores have the largest magnitudes",
    inputs: &["x", "scores", "grad"],
    optional_inputs: &[],
    keys: || vec![Key::number("keep", "a share from 0 to 1", |keep| (0.0..=1.0).contains(&keep))],
    run: |call| {
        let keep = call.number("keep")?;
        call.check_same_shape("grad", "x")?;
        call.check_same_shape("scores", "x")?;
        let [x, scores] = ["x", "scores"].map(|name| call.leaf(name, [call.input(name).values.len()]));
        let y = score_mask(x.clone(), scores.clone(), keep);
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients)), ("scores", gradient(&scores, &gradients))]))
    },
};

/// See [`hardgrad::mask::soft_threshold`].
pub(super) static SOFT_THRESHOLD: Operator = Operator {
    name: "soft_threshold",
    summary: "moves values towards 0 by a learned amount",
    inputs: &["x", "s", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| {
        call.check_same_shape("grad", "x")?;
        call.check_shape("s", &[1])?;
        let (x, s) = (call.leaf("x", [call.input("x").values.len()]), call.leaf("s", [1]));
        let y = soft_threshold(x.clone(), s.clone());
        let gradients = call.backward(&y);
        Ok(call.outputs(y, vec![("x", gradient(&x, &gradients)), ("s", gradient(&s, &gradients))]))
    },
};

/// See [`hardgrad::mask::hard_concrete`].
pub(super) static HARD_CONCRETE: Operator = Operator {
    name: "hard_concrete",
    summary: "random gates that are exactly 0 or 1 with a positive probability",
    inputs: &["log_alpha", "uniform", "grad"],
    optional_inputs: &[],
    keys: || {
        let zeta = Key::number("zeta", "a number above gamma", |_| true).or("1.1");
        vec![Key::positive("beta").or("0.6666667"), Key::finite("gamma").or("-0.1"), zeta]
    },
    run: |call| {
        let (beta, gamma, zeta): (f32, f32, f32) = (call.number("beta")?, call.number("gamma")?, call.number("zeta")?);
        if zeta <= gamma {
            return Err(call.wrong("zeta", &format!("a number above gamma = {gamma}"), &zeta.to_string()));
        }
        call.check_same_shape("uniform", "log_alpha")?;
        call.check_uniform()?;
        let shape = HardConcrete { beta, gamma, zeta };
        call.unary("log_alpha", |x| hard_concrete(x.clone(), call.constant("uniform", x.dims()), shape))
    },
};
