//! Pictures of the scalar operators: the hard function with its surrogate, and the derivative that the backward pass uses.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use hardgrad::mask::{HardConcrete, hard_concrete, soft_threshold, threshold_mask};
use hardgrad::ops::{self, Bounds, ReluSurrogate, Rule};
use hardgrad::{Surrogate, codebook, graph};

use crate::chart::{self, Chart, Panel, Series, Style};
use crate::train::step::tensor_gradient;
use crate::{LabError, files};

/// A function of one variable, and where to draw it.
struct Function {
    /// Of its file.
    name: String,
    title: String,
    from: f64,
    to: f64,
    apply: Box<dyn Fn(Tensor<1>) -> Tensor<1>>,
}

fn function(
    name: impl Into<String>,
    title: impl Into<String>,
    range: f64,
    apply: impl Fn(Tensor<1>) -> Tensor<1> + 'static,
) -> Function {
    Function { name: name.into(), title: title.into(), from: -range, to: range, apply: Box::new(apply) }
}

fn row(x: Tensor<1>) -> Tensor<2> {
    let count = x.dims()[0];
    x.reshape([count, 1])
}

fn one(value: f32) -> Tensor<1> {
    Tensor::from_floats([value], &Device::flex())
}

/// All scalar operators, with each surrogate and rule that they can have.
fn functions() -> Vec<Function> {
    let signs = Surrogate::ALL.iter().map(|&surrogate| {
        let sharpness = surrogate.sharpness().map(|sharpness| format!(" with {} {}", sharpness.key, sharpness.value));
        let (name, sharpness) = (surrogate.name(), sharpness.unwrap_or_default());
        function(format!("sign_{name}"), format!("sign, {name}{sharpness}"), 2.0, move |x| ops::sign(x, surrogate))
    });
    let fake_quants = Rule::ALL.iter().map(|&rule| {
        let name = rule.name();
        function(format!("fake_quant_{name}"), format!("fake_quant, 3 bits, scale 0.5, {name}"), 3.0, move |x| {
            ops::fake_quant(x, &[0.5], &[Bounds::signed(3)], None, rule)
        })
    });
    let quantized_relus = ReluSurrogate::ALL.iter().map(|&surrogate| {
        let name = surrogate.name();
        let title = format!("quantized_relu, 2 bits, alpha 0.5, {name}");
        function(format!("quantized_relu_{name}"), title, 2.5, move |x| ops::quantized_relu(x, 0.5, 2, surrogate))
    });
    let others = [
        function("round", "round", 3.0, ops::round),
        function("lsq", "lsq, 3 bits, scale 0.5", 3.0, |x| ops::lsq(x, one(0.5), Bounds::signed(3), None)),
        function("pact", "pact, 2 bits, alpha 1.5", 3.0, |x| ops::pact(x, one(1.5), 2)),
        function("dorefa_activation", "dorefa_activation, 2 bits", 2.0, |x| ops::dorefa_activation(x, 2)),
        function("dorefa_weight", "dorefa_weight, 2 bits", 2.0, |x| ops::dorefa_weight(x, 2)),
        function("magnitude_aware_sign", "magnitude_aware_sign (mean magnitude 1)", 2.0, |x| {
            ops::magnitude_aware_sign(x, 0)
        }),
        function("ternary_twn", "ternary_twn (mean magnitude 1)", 2.0, ops::ternary_twn),
        function("ternary_absmean", "ternary_absmean (mean magnitude 1)", 2.0, ops::ternary_absmean),
        function("threshold_mask", "threshold_mask, threshold 0.5", 2.0, |x| {
            threshold_mask(x, one(0.5), Surrogate::Identity)
        }),
        function("soft_threshold", "soft_threshold, sigmoid(s) = 0.5", 2.0, |x| soft_threshold(x, one(0.0))),
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
            from: 0.0,
            ..function("bernoulli_edges", "bernoulli_edges, u = 0.5", 1.0, |x| {
                let uniform = x.clone().inner().zeros_like() + 0.5;
                graph::bernoulli_edges(x, uniform)
            })
        },
    ];
    signs.chain(fake_quants).chain(quantized_relus).chain(others).collect()
}

/// Points of a curve; even, so that no point lies on a jump at a round number.
const POINTS: usize = 4_000;

/// Writes one SVG file for each scalar operator into a folder and returns how many.
///
/// # Errors
/// If a file cannot be written or a picture cannot be drawn.
pub fn write_operator_plots(folder: &Path) -> Result<usize, LabError> {
    files::create_folder(folder)?;
    let functions = functions();
    for function in &functions {
        let path = folder.join(format!("{}.svg", function.name));
        let svg = draw(function).map_err(|problem| LabError::Picture { path: path.clone(), problem })?;
        files::write_output(&path, svg.as_bytes())?;
    }
    Ok(functions.len())
}

fn draw(function: &Function) -> Result<String, String> {
    let step = (function.to - function.from) / POINTS as f64;
    let x: Vec<f64> = (0..POINTS).map(|point| function.from + (point as f64 + 0.5) * step).collect();
    let values: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    let leaf = Tensor::<1>::from_floats(values.as_slice(), &Device::flex().autodiff()).require_grad();
    let y = (function.apply)(leaf.clone());
    let gradient = tensor_gradient(y.clone().sum(), &leaf);
    let y: Vec<f64> = y.inner().into_data().iter::<f64>().collect();
    let slope: Vec<f64> = gradient.into_data().iter::<f64>().collect();
    let pretended = pretended(&y, &slope, step);
    let forward = Panel::new(function.title.as_str(), "x", "y")
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
