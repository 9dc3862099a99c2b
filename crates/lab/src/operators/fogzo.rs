use super::call::Array;
use super::{Key, Operator, Output, Outputs};

/// See [`hardgrad::zeroth_order::fogzo`].
pub(super) static FOGZO: Operator = Operator {
    name: "fogzo",
    summary: "guided zeroth-order gradient of the quadratic t.A t/2 - b.t",
    inputs: &["theta", "a", "b", "ste_gradient", "noise", "sign"],
    optional_inputs: &[],
    keys: || {
        let beta = Key::number("beta", "a number from 0 to 1", |beta| (0.0..=1.0).contains(&beta));
        vec![beta, Key::positive("epsilon")]
    },
    run: |call| {
        let (beta, epsilon) = (call.number("beta")?, call.number("epsilon")?);
        let [d] = call.shape("theta", "[d]")?;
        let [_, _] = call.shape::<2>("noise", "[n, d]")?;
        let n = call.input("noise").shape[0];
        if n == 0 {
            return Err(call.wrong_shape("noise", format!("[n, {d}] with at least one direction")));
        }
        let shapes: [(&str, &[usize]); 5] =
            [("a", &[d, d]), ("b", &[d]), ("ste_gradient", &[d]), ("noise", &[n, d]), ("sign", &[n])];
        for (input, shape) in shapes {
            call.check_shape(input, shape)?;
        }
        let read = |input| call.input(input).values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let (a, b) = (read("a"), read("b"));
        let loss = |t: &[f64]| {
            let product = |row: &[f64]| row.iter().zip(t).map(|(a, t)| a * t).sum::<f64>();
            let rows = a.chunks(d.max(1)).zip(t).map(|(row, t)| t * product(row)).sum::<f64>();
            rows / 2.0 - product(&b)
        };
        let (theta, straight_through) = (read("theta"), read("ste_gradient"));
        let (noise, sign) = (read("noise"), read("sign"));
        let gradient = hardgrad::zeroth_order::fogzo(&theta, &straight_through, &noise, &sign, beta, epsilon, loss);
        let values = gradient.into_iter().map(|value| value as f32).collect();
        Ok(Outputs::from([("gradient".to_string(), Output::Float(Array { shape: vec![d], values }))]))
    },
};
