//! Pictures of the scalar operators: the hard function with its surrogate, and the derivative that the backward pass uses.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use hardgrad::mask::{HardConcrete, hard_concrete, soft_threshold, threshold_mask};
use hardgrad::ops::{self, Bounds, ReluSurrogate, Rule};
use hardgrad::{Surrogate, codebook, graph};

use crate::chart::{self, Chart, Panel, Series, Style};
use crate::{LabError, files};

/// A function of one variable, and where to draw it.
struct Function {
    name: &'static str,
    title: &'static str,
    from: f64,
    to: f64,
    apply: fn(Tensor<1>) -> Tensor<1>,
}

const fn function(name: &'static str, title: &'static str, range: f64, apply: fn(Tensor<1>) -> Tensor<1>) -> Function {
    Function { name, title, from: -range, to: range, apply }
}

fn row(x: Tensor<1>) -> Tensor<2> {
    let count = x.dims()[0];
    x.reshape([count, 1])
}

static FUNCTIONS: [Function; 24] = [
    function("round", "round", 3.0, ops::round),
    function("sign_identity", "sign, identity", 2.0, |x| ops::sign(x, Surrogate::Identity)),
    function("sign_clipped", "sign, clipped", 2.0, |x| ops::sign(x, Surrogate::Clipped)),
    function("sign_relu", "sign, relu", 2.0, |x| ops::sign(x, Surrogate::Relu)),
    function("sign_approx_sign", "sign, approx_sign", 2.0, |x| ops::sign(x, Surrogate::ApproxSign)),
    function("sign_tanh", "sign, tanh", 2.0, |x| ops::sign(x, Surrogate::Tanh)),
    function("sign_swish_sign", "sign, swish_sign with beta 5", 2.0, |x| {
        ops::sign(x, Surrogate::SwishSign { beta: 5.0 })
    }),
    function("sign_ede", "sign, ede with t 3", 2.0, |x| ops::sign(x, Surrogate::Ede { t: 3.0 })),
    function("fake_quant_clipped", "fake_quant, 3 bits, scale 0.5, clipped", 3.0, |x| {
        ops::fake_quant(x, &[0.5], &[Bounds::signed(3)], None, Rule::Clipped)
    }),
    function("fake_quant_identity", "fake_quant, 3 bits, scale 0.5, identity", 3.0, |x| {
        ops::fake_quant(x, &[0.5], &[Bounds::signed(3)], None, Rule::Identity)
    }),
    function("lsq", "lsq, 3 bits, scale 0.5", 3.0, |x| {
        ops::lsq(x, Tensor::from_floats([0.5], &Device::flex()), Bounds::signed(3), None)
    }),
    function("pact", "pact, 2 bits, alpha 1.5", 3.0, |x| ops::pact(x, Tensor::from_floats([1.5], &Device::flex()), 2)),
    function("dorefa_activation", "dorefa_activation, 2 bits", 2.0, |x| ops::dorefa_activation(x, 2)),
    function("dorefa_weight", "dorefa_weight, 2 bits", 2.0, |x| ops::dorefa_weight(x, 2)),
    function("magnitude_aware_sign", "magnitude_aware_sign (mean magnitude 1)", 2.0, ops::magnitude_aware_sign),
    function("ternary_twn", "ternary_twn (mean magnitude 1)", 2.0, ops::ternary_twn),
    function("ternary_absmean", "ternary_absmean (mean magnitude 1)", 2.0, ops::ternary_absmean),
    function("quantized_relu_identity", "quantized_relu, 2 bits, alpha 0.5, identity", 2.5, |x| {
        ops::quantized_relu(x, 0.5, 2, ReluSurrogate::Identity)
    }),
    function("quantized_relu_clipped_relu", "quantized_relu, 2 bits, alpha 0.5, clipped_relu", 2.5, |x| {
        ops::quantized_relu(x, 0.5, 2, ReluSurrogate::ClippedRelu)
    }),
    function("threshold_mask", "threshold_mask, threshold 0.5", 2.0, |x| {
        threshold_mask(x, Tensor::from_floats([0.5], &Device::flex()), Surrogate::Identity)
    }),
    function("soft_threshold", "soft_threshold, sigmoid(s) = 0.5", 2.0, |x| {
        soft_threshold(x, Tensor::from_floats([0.0], &Device::flex()))
    }),
    function("hard_concrete", "hard_concrete, u = 0.5", 4.0, |x| {
        let uniform = x.clone().inner().zeros_like() + 0.5;
        hard_concrete(x, uniform, HardConcrete::default())
    }),
    function("fsq", "fsq, 5 levels", 4.0, |x| {
        let y = codebook::fsq(row(x), &[5]).quantized;
        let count = y.dims()[0];
        y.reshape([count])
    }),
    Function {
        name: "bernoulli_edges",
        title: "bernoulli_edges, u = 0.5",
        from: 0.0,
        to: 1.0,
        apply: |x| {
            let uniform = x.clone().inner().zeros_like() + 0.5;
            graph::bernoulli_edges(x, uniform)
        },
    },
];

/// Points of a curve; even, so that no point lies on a jump at a round number.
const POINTS: usize = 4_000;

/// Writes one SVG file for each scalar operator into a folder and returns how many.
///
/// # Errors
/// If a file cannot be written or a picture cannot be drawn.
pub fn write_operator_plots(folder: &Path) -> Result<usize, LabError> {
    files::create_folder(folder)?;
    for function in &FUNCTIONS {
        let path = folder.join(format!("{}.svg", function.name));
        let svg = draw(function).map_err(|problem| LabError::Picture { path: path.clone(), problem })?;
        files::write_atomically(&path, svg.as_bytes())?;
    }
    Ok(FUNCTIONS.len())
}

fn draw(function: &Function) -> Result<String, String> {
    let step = (function.to - function.from) / POINTS as f64;
    let x: Vec<f64> = (0..POINTS).map(|point| function.from + (point as f64 + 0.5) * step).collect();
    let values: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    let leaf = Tensor::<1>::from_floats(values.as_slice(), &Device::flex().autodiff()).require_grad();
    let y = (function.apply)(leaf.clone());
    let gradient = leaf.grad(&y.clone().sum().backward());
    let y: Vec<f64> = y.inner().into_data().iter::<f64>().collect();
    let slope: Vec<f64> = gradient.map_or(vec![0.0; POINTS], |gradient| gradient.into_data().iter::<f64>().collect());
    let pretended = pretended(&y, &slope, step);
    let forward = Panel::new(function.title, "x", "y")
        .with(branches("hard function", &x, &y))
        .with(Series::line("what the backward pass takes it for", pairs(&x, &pretended)).style(Style::Dashed));
    let backward = Panel::new("backward", "x", "dy/dx").with(branches("derivative used", &x, &slope));
    chart::draw(&Chart::new([forward, backward]))
}

/// The function with this slope that lies nearest to the hard one.
fn pretended(y: &[f64], slope: &[f64], step: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let integral: Vec<f64> = slope
        .iter()
        .map(|slope| {
            sum += slope * step;
            sum - slope * step / 2.0
        })
        .collect();
    let offset = y.iter().zip(&integral).map(|(y, value)| y - value).sum::<f64>() / y.len() as f64;
    integral.into_iter().map(|value| value + offset).collect()
}

fn pairs<'a>(x: &'a [f64], y: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    x.iter().copied().zip(y.iter().copied())
}

/// A curve, cut where it jumps.
fn branches(name: &str, x: &[f64], y: &[f64]) -> Series {
    let (low, high) = y.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    let jump = 0.02 * (high - low);
    let mut parts: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (index, point) in pairs(x, y).enumerate() {
        if index > 0 && (y[index] - y[index - 1]).abs() > jump {
            parts.push(Vec::new());
        }
        parts.last_mut().expect("never empty").push(point);
    }
    Series::branches(name, parts)
}
