use hardgrad::codebook::{CodeGradient, Codes, commitment_loss, fsq, lfq, vector_quantize};

use super::call::{Array, floats, gradient};
use super::select::index;
use super::{Key, Operator, Output};

const SHAPE: &str = "[n, dims]";

/// See [`hardgrad::codebook::vector_quantize`].
pub(super) static VECTOR_QUANTIZE: Operator = Operator {
    name: "vector_quantize",
    summary: "the nearest code of a code book, with the commitment loss",
    inputs: &["x", "codebook", "grad"],
    optional_inputs: &[],
    keys: || {
        let gradients = CodeGradient::ALL.iter().map(|gradient| gradient.name());
        vec![Key::word("gradient", gradients), Key::finite("commitment").or("0.25")]
    },
    run: |call| {
        let rule = call.word("gradient", CodeGradient::by_name)?;
        let commitment = call.number("commitment")?;
        let shape @ [_, dims] = call.shape("x", SHAPE)?;
        let codebook @ [codes, code_dims] = call.shape("codebook", "[codes, dims]")?;
        if code_dims != dims || codes == 0 || dims == 0 {
            return Err(call.wrong_shape("codebook", format!("[codes, {dims}], at least one code, of x's dimensions")));
        }
        call.check_same_shape("grad", "x")?;
        let x = call.leaf("x", shape);
        let Codes { quantized, indices } = vector_quantize(x.clone(), &call.constant("codebook", codebook), rule);
        let loss = floats(commitment_loss(x.clone(), &quantized, commitment).inner());
        let gradients = call.backward(&quantized);
        let mut outputs = call.outputs(quantized, vec![("x", gradient(&x, &gradients))]);
        outputs.insert("indices".to_string(), index(indices));
        outputs.insert("loss".to_string(), Output::Float(Array { shape: vec![1], values: loss }));
        Ok(outputs)
    },
};

/// See [`hardgrad::codebook::fsq`].
pub(super) static FSQ: Operator = Operator {
    name: "fsq",
    summary: "finite scalar quantisation: each dimension rounded to a few levels",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: || {
        let expected = "whole numbers from 2 to 1000 with commas, one a column of x";
        vec![Key::text("levels", expected).or("8,5,5,5")]
    },
    run: |call| {
        let shape @ [_, dims] = call.shape("x", SHAPE)?;
        let (text, _) = call.text("levels")?;
        let levels: Option<Vec<u32>> = text.split(',').map(|level| level.trim().parse().ok()).collect();
        let levels = levels.filter(|levels| {
            // The codes must fit into 63 bits.
            let bits: f64 = levels.iter().map(|level| f64::from(*level).log2()).sum();
            levels.len() == dims && levels.iter().all(|level| (2..=1000).contains(level)) && bits < 63.0
        });
        let levels = levels.ok_or_else(|| {
            call.wrong("levels", &format!("{dims} whole numbers from 2 to 1000 with commas, one a column of x"), text)
        })?;
        call.check_same_shape("grad", "x")?;
        let x = call.leaf("x", shape);
        let Codes { quantized, indices } = fsq(x.clone(), &levels);
        let gradients = call.backward(&quantized);
        let mut outputs = call.outputs(quantized, vec![("x", gradient(&x, &gradients))]);
        outputs.insert("indices".to_string(), index(indices));
        Ok(outputs)
    },
};

/// See [`hardgrad::codebook::lfq`].
pub(super) static LFQ: Operator = Operator {
    name: "lfq",
    summary: "lookup-free quantisation: the signs of a vector are its code",
    inputs: &["x", "grad"],
    optional_inputs: &[],
    keys: Vec::new,
    run: |call| {
        let shape @ [_, dims] = call.shape("x", SHAPE)?;
        if !(1..=62).contains(&dims) {
            return Err(call.wrong_shape("x", "[n, dims] with 1 to 62 dimensions"));
        }
        call.check_same_shape("grad", "x")?;
        let x = call.leaf("x", shape);
        let Codes { quantized, indices } = lfq(x.clone());
        let gradients = call.backward(&quantized);
        let mut outputs = call.outputs(quantized, vec![("x", gradient(&x, &gradients))]);
        outputs.insert("indices".to_string(), index(indices));
        Ok(outputs)
    },
};
