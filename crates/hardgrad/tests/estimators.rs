//! Exact facts about the estimators of gradients of random choices.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::categorical::{self, CategoricalError, ESTIMATORS, Entry, Estimator, by_name};
use hardgrad::custom_gradient::straight_through;
use hardgrad::random::Random;

const VARIABLES: usize = 3;

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Random::new(seed, 0, 0).fill_normal(&mut values);
    values
}

/// The temperature, or the least one that the estimator can have.
fn temperature(entry: &Entry, wanted: f32) -> f32 {
    wanted.max(entry.least_temperature)
}

/// Choices as vectors, `[rows, variables * categories]`.
fn flat(choices: Tensor<3>) -> Tensor<2> {
    let [rows, variables, categories] = choices.dims();
    choices.reshape([rows, variables * categories])
}

/// x A x + b x with random A and b: any quadratic in the choices.
fn quadratic(choices: Tensor<3>) -> Tensor<1> {
    let x = flat(choices);
    let [rows, dims] = x.dims();
    let (a, b) = (tensor(normal(dims * dims, 1), [dims, dims]), tensor(normal(dims, 2), [1, dims]));
    ((x.clone().matmul(a) + b) * x).sum_dim(1).reshape([rows])
}

/// A cost that is no polynomial of low degree: tanh units on all choices.
fn curved(choices: Tensor<3>) -> Tensor<1> {
    let x = flat(choices);
    let [rows, dims] = x.dims();
    let (a, b) = (tensor(normal(dims * 5, 3), [dims, 5]), tensor(normal(5, 4), [1, 5]));
    (x.matmul(a).tanh() * b).sum_dim(1).reshape([rows]) + 2.0
}

/// All choices of the variables as one-hot rows, with their probabilities.
fn enumerate(logits: &[f32], categories: usize) -> (Vec<f32>, Vec<f64>) {
    let probabilities: Vec<f64> = logits
        .chunks(categories)
        .flat_map(|logits| {
            let weights: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(move |weight| weight / total)
        })
        .collect();
    let states = categories.pow(VARIABLES as u32);
    let mut choices = vec![0.0; states * logits.len()];
    let mut weights = vec![1.0; states];
    for state in 0..states {
        let mut rest = state;
        for variable in 0..VARIABLES {
            let place = variable * categories + rest % categories;
            rest /= categories;
            choices[state * logits.len() + place] = 1.0;
            weights[state] *= probabilities[place];
        }
    }
    (choices, weights)
}

/// The exact gradient of the expected cost: sum over all choices of p f (x - p).
fn exact(logits: &[f32], categories: usize, cost: fn(Tensor<3>) -> Tensor<1>) -> Vec<f64> {
    let (choices, weights) = enumerate(logits, categories);
    let states = weights.len();
    let costs = floats(cost(tensor(choices.clone(), [states, VARIABLES, categories])));
    let mean_choice: Vec<f64> = (0..logits.len())
        .map(|place| (0..states).map(|state| weights[state] * f64::from(choices[state * logits.len() + place])).sum())
        .collect();
    (0..logits.len())
        .map(|place| {
            let terms = (0..states).map(|state| {
                let choice = f64::from(choices[state * logits.len() + place]);
                weights[state] * f64::from(costs[state]) * (choice - mean_choice[place])
            });
            terms.sum()
        })
        .collect()
}

/// Gradients of `rows` estimates, one below the other.
fn estimates(
    estimator: &mut dyn Estimator,
    logits: &[f32],
    categories: usize,
    rows: usize,
    temperature: f32,
    step: u32,
    cost: fn(Tensor<3>) -> Tensor<1>,
) -> Vec<f32> {
    let leaf = TensorData::new(logits.repeat(rows), [rows, VARIABLES, categories]);
    let leaf = Tensor::<3>::from_data(leaf, &Device::flex().autodiff()).require_grad();
    let costs = estimator.cost(leaf.clone(), &mut { cost }, temperature, &Random::new(5, step, 0)).unwrap();
    floats(leaf.grad(&costs.sum().backward()).unwrap())
}

/// Mean and variance of each coordinate of many estimates, after a warm-up in which learned parts settle.
fn moments(
    name: &str,
    logits: &[f32],
    categories: usize,
    temperature: f32,
    cost: fn(Tensor<3>) -> Tensor<1>,
) -> (Vec<f64>, Vec<f64>, f64) {
    const ROWS: usize = 2_000;
    const CALLS: u32 = 30;
    let mut estimator = by_name(name).unwrap();
    for step in 0..40 {
        estimates(estimator.as_mut(), logits, categories, 64, temperature, 1_000 + step, cost);
    }
    let (mut sums, mut squares) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
    for call in 0..CALLS {
        let found = estimates(estimator.as_mut(), logits, categories, ROWS, temperature, call, cost);
        for estimate in found.chunks(logits.len()) {
            for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(estimate) {
                *sum += f64::from(*value);
                *square += f64::from(*value).powi(2);
            }
        }
    }
    let count = f64::from(CALLS) * ROWS as f64;
    let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let variances = squares.iter().zip(&means).map(|(square, mean)| square / count - mean * mean).collect();
    (means, variances, count)
}

fn total_variance(name: &str, temperature: f32) -> f64 {
    moments(name, &normal(VARIABLES * 2, 6), 2, temperature, curved).1.iter().sum()
}

/// The expectation of a straight-through kind of estimator over all choices, without sampling.
fn expectation(
    operator: fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
    logits: &[f32],
    categories: usize,
    cost: fn(Tensor<3>) -> Tensor<1>,
) -> Vec<f64> {
    let (choices, weights) = enumerate(logits, categories);
    let states = weights.len();
    let leaf = TensorData::new(logits.repeat(states), [states * VARIABLES, categories]);
    let leaf = Tensor::<2>::from_data(leaf, &Device::flex().autodiff()).require_grad();
    let sample = choices.chunks(categories).map(|row| row.iter().position(|x| *x == 1.0).unwrap() as f32).collect();
    let y = operator(leaf.clone(), tensor(sample, [states * VARIABLES]));
    let gradients = cost(y.reshape([states, VARIABLES, categories])).sum().backward();
    let gradient = floats(leaf.grad(&gradients).unwrap());
    (0..logits.len())
        .map(|place| (0..states).map(|state| weights[state] * f64::from(gradient[state * logits.len() + place])).sum())
        .collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn reinmax_has_no_bias_on_quadratics_and_straight_through_has() {
    for categories in [2, 3, 4] {
        let logits = normal(VARIABLES * categories, 7);
        let truth = exact(&logits, categories, quadratic);
        let reinmax = |logits, sample| categorical::reinmax(logits, sample, 1.0);
        let bias = largest_difference(&expectation(reinmax, &logits, categories, quadratic), &truth);
        assert!(bias < 1e-5, "reinmax, {categories} categories: {bias}");
        let plain = |logits, sample| categorical::straight_through_categorical(logits, sample, 1.0);
        let bias = largest_difference(&expectation(plain, &logits, categories, quadratic), &truth);
        assert!(bias > 1e-2, "straight-through, {categories} categories: {bias}");
        // Only on quadratics: a curved cost leaves a bias.
        let truth = exact(&logits, categories, curved);
        assert!(largest_difference(&expectation(reinmax, &logits, categories, curved), &truth) > 1e-4);
    }
}

#[test]
fn unbiased_estimators_meet_the_exact_gradient_within_four_standard_errors() {
    for entry in ESTIMATORS.iter().filter(|entry| entry.unbiased) {
        for categories in [2, 3] {
            if entry.binary && categories > 2 {
                continue;
            }
            let logits = normal(VARIABLES * categories, 6);
            let truth = exact(&logits, categories, curved);
            let temperature = temperature(entry, 0.7);
            let (means, variances, count) = moments(entry.name, &logits, categories, temperature, curved);
            for (place, ((mean, variance), truth)) in means.iter().zip(variances).zip(&truth).enumerate() {
                let error = (variance / count).sqrt();
                let distance = (mean - truth).abs();
                let name = entry.name;
                assert!(
                    distance <= 4.0 * error + 1e-7,
                    "{name}: coordinate {place} of {categories}: {mean}, {truth} ± {error}"
                );
            }
        }
    }
}

#[test]
fn control_variates_and_antithetic_samples_lower_the_variance() {
    let reinforce = total_variance("reinforce", 1.0);
    for name in ["reinforce_moving_average", "reinforce_leave_one_out", "arm", "disarm", "rebar", "relax"] {
        let variance = total_variance(name, 0.7);
        assert!(variance < reinforce, "{name}: {variance}, reinforce {reinforce}");
    }
    assert!(total_variance("disarm", 1.0) < total_variance("arm", 1.0));
}

#[test]
fn gumbel_rao_varies_less_than_hard_gumbel_softmax_and_has_its_mean() {
    for temperature in [0.3, 1.0] {
        let logits = normal(VARIABLES * 3, 8);
        let (mean, variance, count) = moments("gumbel_softmax_hard", &logits, 3, temperature, curved);
        let (averaged_mean, averaged, _) = moments("gumbel_rao:samples=20", &logits, 3, temperature, curved);
        assert!(averaged.iter().sum::<f64>() < 0.9 * variance.iter().sum::<f64>(), "{averaged:?} {variance:?}");
        for place in 0..logits.len() {
            let error = ((variance[place] + averaged[place]) / count).sqrt();
            assert!((mean[place] - averaged_mean[place]).abs() < 4.5 * error, "coordinate {place}");
        }
    }
}

#[test]
fn hard_estimators_give_one_hot_choices_and_the_same_ones_for_the_same_draw() {
    let logits = tensor(normal(60, 9), [5, 3, 4]);
    let random = Random::new(3, 1, 0);
    let choices = |name| floats(by_name(name).unwrap().sample(logits.clone(), 1.0, &random).unwrap().unwrap());
    let expected = choices("straight_through");
    assert!(expected.chunks(4).all(|row| row.iter().sum::<f32>() == 1.0 && row.iter().all(|x| *x == 0.0 || *x == 1.0)));
    for name in ["gapped_straight_through", "reinmax", "gumbel_rao"] {
        assert_eq!(choices(name), expected, "{name}");
    }
    for entry in ESTIMATORS.iter().filter(|entry| !entry.relaxed) {
        let sampled = by_name(entry.name).unwrap().sample(logits.clone(), temperature(entry, 1.0), &random).unwrap();
        let one_hot = |row: &[f32]| row.iter().filter(|x| **x == 1.0).count() == 1 && row.iter().sum::<f32>() == 1.0;
        assert!(sampled.is_none_or(|choices| floats(choices).chunks(4).all(one_hot)), "{}", entry.name);
    }
    let hard = choices("gumbel_softmax_hard");
    let soft = choices("gumbel_softmax");
    for (hard, soft) in hard.chunks(4).zip(soft.chunks(4)) {
        let best = (0..4).max_by(|a, b| soft[*a].total_cmp(&soft[*b])).unwrap();
        assert_eq!(hard[best], 1.0);
        assert!((soft.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn extreme_logits_give_finite_gradients() {
    for entry in ESTIMATORS {
        for extreme in [[1e4f32, -1e4], [-1e4, 1e4], [1e4, 1e4]] {
            for temperature in [0.1f32, 1.0, 10.0] {
                let temperature = self::temperature(entry, temperature);
                let mut estimator = by_name(entry.name).unwrap();
                for step in 0..3 {
                    let logits = extreme.repeat(VARIABLES);
                    let gradients = estimates(estimator.as_mut(), &logits, 2, 50, temperature, step, curved);
                    assert!(
                        gradients.iter().all(|value| value.is_finite()),
                        "{} {extreme:?} {temperature}",
                        entry.name
                    );
                }
            }
        }
    }
}

#[test]
fn the_cost_is_that_of_hard_choices_and_its_own_parameters_get_their_gradient() {
    for entry in ESTIMATORS.iter().filter(|entry| !entry.relaxed) {
        let mut estimator = by_name(entry.name).unwrap();
        let factor = Tensor::<1>::from_floats([2.0], &Device::flex().autodiff()).require_grad();
        let logits = Tensor::<3>::zeros([10, 4, 2], &Device::flex().autodiff()).require_grad();
        // The number of variables that choose the second category, times a parameter.
        let mut cost = |choices: Tensor<3>| {
            let count = choices.slice([0..10, 0..4, 1..2]).sum_dim(1).reshape([10]);
            count * factor.clone()
        };
        let costs = estimator.cost(logits.clone(), &mut cost, temperature(entry, 1.0), &Random::new(1, 0, 0)).unwrap();
        let values = floats(costs.clone().inner());
        assert!(
            values.iter().all(|cost| cost.fract() == 0.0 && (0.0..=8.0).contains(cost)),
            "{} {values:?}",
            entry.name
        );
        let gradients = costs.sum().backward();
        let gradient = floats(factor.grad(&gradients).unwrap())[0];
        assert!((gradient - values.iter().sum::<f32>() / 2.0).abs() < 1e-4, "{}: {gradient}", entry.name);
        assert!(floats(logits.grad(&gradients).unwrap()).iter().any(|value| *value != 0.0), "{}", entry.name);
    }
}

#[test]
fn the_same_draw_gives_the_same_bytes() {
    let logits = normal(VARIABLES * 2, 6);
    for entry in ESTIMATORS {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut estimator = by_name(entry.name).unwrap();
                let temperature = temperature(entry, 1.0);
                let step = |step| estimates(estimator.as_mut(), &logits, 2, 5_000, temperature, step, curved);
                (0..3).map(step).collect::<Vec<_>>()
            })
        };
        let expected = run(1);
        assert!((2..=3).all(|threads| run(threads) == expected), "{}", entry.name);
    }
}

#[test]
fn misuse_is_named() {
    let message = |name: &str| by_name(name).err().unwrap().to_string();
    assert!(message("reinmx").contains("unknown estimator reinmx") && message("reinmx").contains("reinmax"));
    assert!(message("gumbel_rao:samples=0").contains("samples must be a whole number from 1"));
    assert!(message("arm:gap=1").contains("unknown setting gap; it has none"));
    assert!(message("reinforce_leave_one_out:samples=1").contains("from 2"));
    assert!(message("relax:learning_rate=NaN").contains("above 0"));

    let device = Device::flex().autodiff();
    let run = |name: &str, logits: Tensor<3>, temperature| {
        let mut cost = |choices: Tensor<3>| flat(choices).sum_dim(1).reshape([2]);
        by_name(name).unwrap().cost(logits, &mut cost, temperature, &Random::new(0, 0, 0)).err()
    };
    let three = Tensor::<3>::zeros([2, 1, 3], &device);
    for name in ["arm", "disarm"] {
        let error = run(name, three.clone(), 1.0);
        assert!(matches!(error, Some(CategoricalError::NotBinary { categories: 3, .. })), "{error:?}");
    }
    for entry in ESTIMATORS.iter().filter(|entry| entry.uses_temperature) {
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = run(entry.name, Tensor::zeros([2, 1, 2], &device), temperature);
            assert!(matches!(error, Some(CategoricalError::Temperature { .. })), "{}: {error:?}", entry.name);
        }
    }
    assert!(run("reinmax", three, 0.5).unwrap().to_string().contains("at least 1"));
    for entry in ESTIMATORS {
        for bad in [f32::NAN, f32::INFINITY] {
            let logits = Tensor::<3>::full([2, 1, 2], bad, &device);
            let error = run(entry.name, logits, temperature(entry, 1.0));
            assert!(matches!(error, Some(CategoricalError::NotFinite { .. })), "{}: {error:?}", entry.name);
            let mut cost = |choices: Tensor<3>| flat(choices).sum_dim(1).reshape([2]) * bad;
            let error = by_name(entry.name).unwrap().cost(
                Tensor::zeros([2, 1, 2], &device),
                &mut cost,
                temperature(entry, 1.0),
                &Random::new(0, 0, 0),
            );
            let expected = CategoricalError::NotFinite { estimator: entry.name, what: "the cost" };
            assert_eq!(error.err(), Some(expected));
        }
        let mut cost = |choices: Tensor<3>| flat(choices).sum_dim(1).sum();
        let logits = Tensor::zeros([2, 1, 2], &device);
        let temperature = temperature(entry, 1.0);
        let error = by_name(entry.name).unwrap().cost(logits, &mut cost, temperature, &Random::new(0, 0, 0)).err();
        assert!(matches!(error, Some(CategoricalError::CostShape { expected: 2, found: 1, .. })), "{error:?}");
    }
}

#[test]
fn straight_through_of_the_custom_gradients_is_the_estimator_of_that_name() {
    let logits = Tensor::<2>::from_floats([[0.3, -0.2], [1.0, 2.0]], &Device::flex().autodiff()).require_grad();
    let sample = tensor(vec![1.0, 0.0], [2]);
    let weights = tensor(vec![1.0, -2.0, 0.5, 3.0], [2, 2]);
    let run = |y: Tensor<2>| floats(logits.grad(&(y * weights.clone()).sum().backward()).unwrap());
    let named = run(categorical::straight_through_categorical(logits.clone(), sample.clone(), 1.0));
    let soft = burn::tensor::activation::softmax(logits.clone(), 1);
    let plain = run(straight_through(categorical::one_hot(&sample, 2), soft));
    assert!(named.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6), "{named:?} {plain:?}");
}
