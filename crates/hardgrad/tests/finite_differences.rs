//! Gradients of the smooth operators against finite differences of their formulas in f64.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use hardgrad::mask::HardConcrete;
use hardgrad::random::Random;
use hardgrad::{Surrogate, categorical, codebook, mask, select};

/// Values that stay clear of kinks are drawn by the tests themselves.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Random::new(seed, 0, 0).fill_normal(&mut values);
    values
}

fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Random::new(seed, 1, 0).fill_uniform(&mut values);
    values
}

fn leaf<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex().autodiff()).require_grad()
}

fn plain<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn gradient<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    leaf.grad(gradients).unwrap().into_data().try_into_vec().unwrap()
}

/// Central differences of `function` at `x`, in f64.
fn differences(x: &[f32], function: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-6;
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let at = |place: usize, by: f64| {
        let mut x = x.clone();
        x[place] += by;
        function(&x)
    };
    (0..x.len()).map(|place| (at(place, step) - at(place, -step)) / (2.0 * step)).collect()
}

fn check(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*a) - b).abs() < 2e-5 * (1.0 + b.abs()), "{what}[{place}]: {a}, differences give {b}");
    }
}

fn sum(weights: &[f32], values: impl Iterator<Item = f64>) -> f64 {
    values.zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| (x - largest).exp() / total).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn gumbel_softmax() {
    for temperature in [0.5f32, 1.0, 3.0] {
        let (logits, u, weights) = (normal(15, 1), uniform(15, 2), normal(15, 3));
        let x = leaf(&logits, [3, 5]);
        let y = categorical::gumbel_softmax(x.clone(), plain(&u, [3, 5]), temperature, false);
        let gradients = (y * plain(&weights, [3, 5])).sum().backward();
        let expected = differences(&logits, |x| {
            let noisy: Vec<f64> =
                x.iter().zip(&u).map(|(x, u)| (x - (-f64::from(*u).ln()).ln()) / f64::from(temperature)).collect();
            sum(&weights, noisy.chunks(5).flat_map(softmax))
        });
        check("gumbel_softmax", &gradient(&x, &gradients), &expected);
    }
}

#[test]
fn soft_threshold() {
    // sigmoid(-1) = 0.27: no value lies near the kinks.
    let values: Vec<f32> = normal(40, 4).into_iter().filter(|x| (x.abs() - 0.269).abs() > 1e-3).collect();
    let weights = normal(values.len(), 5);
    let (x, s) = (leaf(&values, [values.len()]), leaf(&[-1.0], [1]));
    let y = mask::soft_threshold(x.clone(), s.clone());
    let gradients = (y * plain(&weights, [values.len()])).sum().backward();
    let function = |x: &[f64], s: f64| sum(&weights, x.iter().map(|x| x.signum() * (x.abs() - sigmoid(s)).max(0.0)));
    check("soft_threshold", &gradient(&x, &gradients), &differences(&values, |x| function(x, -1.0)));
    let values: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
    check("soft_threshold s", &gradient(&s, &gradients), &differences(&[-1.0], |s| function(&values, s[0])));
}

#[test]
fn hard_concrete() {
    let shape = HardConcrete::default();
    let (values, u, weights) = (normal(50, 6), uniform(50, 7), normal(50, 8));
    let x = leaf(&values, [50]);
    let y = mask::hard_concrete(x.clone(), plain(&u, [50]), shape);
    let gradients = (y * plain(&weights, [50])).sum().backward();
    let expected = differences(&values, |x| {
        let gates = x.iter().zip(&u).map(|(x, u)| {
            let u = f64::from(*u);
            let z = sigmoid((u.ln() - (1.0 - u).ln() + x) / f64::from(shape.beta));
            (z * f64::from(shape.zeta - shape.gamma) + f64::from(shape.gamma)).clamp(0.0, 1.0)
        });
        sum(&weights, gates)
    });
    check("hard_concrete", &gradient(&x, &gradients), &expected);
}

#[test]
fn token_score() {
    let inputs = [9, 10, 11, 12].map(|seed| normal(6, seed));
    let weights = normal(6, 13);
    let leaves = inputs.each_ref().map(|values| leaf(values, [6]));
    let [a, b, c, d] = leaves.clone();
    let gradients = (select::token_score(a, b, c, d, 0.3) * plain(&weights, [6])).sum().backward();
    for (place, leaf) in leaves.iter().enumerate() {
        let expected = differences(&inputs[place], |x| {
            let of = |input: usize, index: usize| if input == place { x[index] } else { inputs[input][index].into() };
            sum(&weights, (0..6).map(|i| 0.4 * of(0, i) + 0.3 * (of(1, i) + of(2, i) + 2.0 * of(3, i))))
        });
        check("token_score", &gradient(leaf, &gradients), &expected);
    }
}

#[test]
fn the_tokens_of_a_selection() {
    let (tokens, scores, weights) = (normal(2 * 5 * 3, 14), normal(2 * 5, 15), normal(2 * 3 * 3, 16));
    let x = leaf(&tokens, [2, 5, 3]);
    let selection = select::token_select(x.clone(), plain(&scores, [2, 5]), None, 2, 1.0);
    let kept: Vec<usize> = selection.indices.clone().into_data().iter::<i64>().map(|index| index as usize).collect();
    let gradients = (selection.tokens * plain(&weights, [2, 3, 3])).sum().backward();
    let expected = differences(&tokens, |x| {
        let mut y = Vec::new();
        for batch in 0..2 {
            let token = |index: usize| &x[(batch * 5 + index) * 3..][..3];
            let kept = &kept[batch * 2..][..2];
            kept.iter().for_each(|index| y.extend_from_slice(token(*index)));
            let dropped = || (0..5).filter(|index| !kept.contains(index));
            y.extend((0..3).map(|place| dropped().map(|index| token(index)[place]).sum::<f64>() / (3.0 + 1e-8)));
        }
        sum(&weights, y.into_iter())
    });
    check("token_select", &gradient(&x, &gradients), &expected);
}

#[test]
fn commitment_loss() {
    let (values, codes) = (normal(12, 17), normal(12, 18));
    let x = leaf(&values, [4, 3]);
    let gradients = codebook::commitment_loss(x.clone(), &plain(&codes, [4, 3]), 0.25).backward();
    let expected = differences(&values, |x| {
        x.iter().zip(&codes).map(|(x, code)| (x - f64::from(*code)).powi(2)).sum::<f64>() * 0.25 / 12.0
    });
    check("commitment_loss", &gradient(&x, &gradients), &expected);
}

#[test]
fn surrogates_are_the_derivatives_of_the_functions_they_name() {
    // In f64, away from the kinks at -1, 0 and 1.
    let values: Vec<f32> =
        normal(60, 19).into_iter().filter(|x| x.abs() > 1e-3 && (x.abs() - 1.0).abs() > 1e-3).collect();
    let flat = Surrogate::Ede { t: 0.5 };
    for &surrogate in Surrogate::ALL.iter().chain([&flat]) {
        let x = leaf(&values, [values.len()]);
        let gradients = hardgrad::ops::sign(x.clone(), surrogate).sum().backward();
        let expected = differences(&values, |x| x.iter().map(|x| surrogate.value(*x)).sum());
        check(surrogate.name(), &gradient(&x, &gradients), &expected);
    }
}
