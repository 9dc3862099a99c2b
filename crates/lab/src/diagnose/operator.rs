//! Hard operators under the microscope.
//!
//! A hard function of a fixed input has no useful gradient; what its surrogate stands for is the gradient of the cost when
//! noise is added to the input. The reference is that gradient, exactly: with uniform noise as wide as a step of the
//! operator, each hard value is one of two neighbours with known probabilities, and all combinations are enumerated. The
//! estimate is the surrogate's gradient at the input itself. Inputs are drawn anew for each sample.

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::ops::{self, Bounds, Rule};
use hardgrad::random::Random;
use hardgrad::settings::{self, Setting};
use hardgrad::surrogate::{Sharpness, Surrogate};
use hardgrad_kernels::reduce::all_finite;

use super::reference::Reference;
use super::request::{Progress, Request};
use super::row::{Diagnosis, label};
use super::statistics::Groups;
use crate::objectives::{self, Learner, Objective};
use crate::train::step::tensor_gradient;
use crate::{LabError, streams};

const SIGN: &str = "sign_";

const FAKE_QUANT: &str = "fake_quant_";

/// Names of the hard operators with each surrogate or rule that they can have.
pub fn operator_methods() -> Vec<String> {
    let signs = Surrogate::ALL.iter().map(|surrogate| format!("{SIGN}{}", surrogate.name()));
    let fake_quants = Rule::ALL.iter().map(|rule| format!("{FAKE_QUANT}{}", rule.name()));
    signs.chain(fake_quants).collect()
}

/// Variables at most: their hard values are enumerated for each input.
const VARIABLES: usize = 12;

/// The setting of a surrogate that has a sharpness.
fn sharpness(Sharpness { key, value, .. }: Sharpness) -> Setting {
    let valid = |value: f64| value > 0.0 && value.is_finite();
    Setting { key, default: f64::from(value), expected: "above 0", valid }
}

const BITS: [Setting; 1] = [Setting {
    key: "bits",
    default: 2.0,
    expected: "a whole number from 1 to 8",
    valid: |value| (1.0..=8.0).contains(&value) && value.fract() == 0.0,
}];

/// Whether a method is a hard operator.
pub(super) fn is_operator(method: &str) -> bool {
    operator_methods().iter().any(|name| name == settings::name(method))
}

/// A hard function from inputs to values between 0 and 1.
enum Hard {
    Sign(Surrogate),
    FakeQuant { steps: f32, rule: Rule },
}

impl Hard {
    fn by_name(method: &str) -> Result<Self, LabError> {
        let name = settings::name(method);
        let problem = |problem| LabError::Usage(format!("operator {name}: {problem}"));
        if let Some(surrogate) = name.strip_prefix(SIGN).and_then(Surrogate::by_name) {
            let settings: Vec<Setting> = surrogate.sharpness().map(sharpness).into_iter().collect();
            let values = settings::read(&settings, method).map_err(problem)?;
            return Ok(Self::Sign(values.iter().fold(surrogate, |sign, value| sign.with_sharpness(*value as f32))));
        }
        if let Some(rule) = name.strip_prefix(FAKE_QUANT).and_then(Rule::by_name) {
            let bits = settings::read(&BITS, method).map_err(problem)?[0] as u32;
            return Ok(Self::FakeQuant { steps: Bounds::unsigned(bits).highest, rule });
        }
        Err(LabError::Usage(format!(
            "{name}: estimators and operators cannot be measured together; operators are {}",
            operator_methods().join(", ")
        )))
    }

    /// Hard values with the surrogate's gradient.
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Sign(surrogate) => (ops::sign(x, *surrogate) + 1.0) / 2.0,
            Self::FakeQuant { steps, rule } => {
                let bounds = Bounds { lowest: 0.0, highest: *steps };
                ops::fake_quant(x, &[steps.recip()], &[bounds], None, *rule)
            }
        }
    }

    /// The lower and the upper value with noise, the probability of the upper, and how it grows with the input.
    fn neighbours(&self, x: f64) -> [f64; 4] {
        match self {
            Self::Sign(_) if x <= -1.0 => [0.0, 1.0, 0.0, 0.0],
            Self::Sign(_) if x >= 1.0 => [0.0, 1.0, 1.0, 0.0],
            Self::Sign(_) => [0.0, 1.0, (x + 1.0) / 2.0, 0.5],
            Self::FakeQuant { steps, .. } => {
                let steps = f64::from(*steps);
                let place = (x * steps).clamp(0.0, steps);
                let lower = place.floor().min(steps - 1.0);
                let slope = if x * steps < 0.0 || x * steps > steps { 0.0 } else { steps };
                [lower / steps, (lower + 1.0) / steps, place - lower, slope]
            }
        }
    }

    /// An input from a normal value: signs see it as it is, quantisers see their grid and a little beyond.
    fn input(&self, normal: f32) -> f32 {
        match self {
            Self::Sign(_) => normal,
            Self::FakeQuant { .. } => 0.5 + 0.3 * normal,
        }
    }
}

/// Measures hard operators.
pub(super) fn diagnose(request: &Request, tell: &mut dyn FnMut(Progress)) -> Result<Diagnosis, LabError> {
    let hard: Vec<(String, Hard)> = request
        .methods
        .iter()
        .map(|method| Ok((method.clone(), Hard::by_name(method)?)))
        .collect::<Result<_, LabError>>()?;
    let variables = request.variables.unwrap_or(8);
    if variables > VARIABLES || request.categories != 2 {
        return Err(LabError::Usage(format!(
            "operators are measured with 2 categories and at most {VARIABLES} variables: give --variables and --categories"
        )));
    }
    let objective = objectives::by_name(&request.objective, Some(variables), 2, request.seed)?;
    let learner = objective.learner(request.seed, request.spread);
    tell(Progress::Begin(hard.len() as u64));
    let mut rows = Vec::new();
    for (method, hard) in hard {
        tell(Progress::Method(label(&method, None)));
        let at = Point { objective: objective.as_ref(), learner: &learner, hard: &hard, variables };
        let mut groups = Groups::new(variables);
        let mut squares = 0.0;
        for sample in 0..request.samples {
            let mut x = vec![0.0; variables];
            Random::new(request.seed, sample as u32, streams::DIAGNOSE_MEASURE).fill_normal(&mut x);
            x.iter_mut().for_each(|x| *x = hard.input(*x));
            let truth = at.smoothed(&x);
            squares += truth.gradient.iter().map(|value| value * value).sum::<f64>();
            let estimate = at.estimate(&x);
            if !all_finite(&estimate) {
                return Err(LabError::Usage(format!(
                    "operator {method}: its gradient is not finite; choose a smaller setting"
                )));
            }
            groups.add(sample, &estimate, &truth);
        }
        let norm = (squares / request.samples as f64).sqrt();
        rows.push(groups.row_of_inputs(method, norm));
        tell(Progress::Done);
    }
    Ok(Diagnosis {
        objective: request.objective.clone(),
        variables,
        categories: 2,
        reference: "exact, with uniform noise of one step before the hard function, for each input".to_string(),
        gradient_norm: None,
        samples: request.samples,
        rows,
        omitted: Vec::new(),
    })
}

struct Point<'a> {
    objective: &'a dyn Objective,
    learner: &'a Learner,
    hard: &'a Hard,
    variables: usize,
}

impl Point<'_> {
    /// The cost of hard values, which stand for the second of two categories.
    fn cost(&self, values: Tensor<2>) -> Tensor<1> {
        let [rows, variables] = values.dims();
        let second = values.reshape([rows, variables, 1]);
        self.objective.cost(self.learner, Tensor::cat(vec![-second.clone() + 1.0, second], 2), &vec![0; rows])
    }

    /// The surrogate's gradient.
    fn estimate(&self, x: &[f32]) -> Vec<f32> {
        let x = TensorData::new(x.to_vec(), [1, self.variables]);
        let x = Tensor::<2>::from_data(x, &Device::flex().autodiff()).require_grad();
        tensor_gradient(self.cost(self.hard.apply(x.clone())).sum(), &x).into_data().iter().collect()
    }

    /// The exact gradient of the expected cost with noise before the hard function.
    fn smoothed(&self, x: &[f32]) -> Reference {
        let neighbours: Vec<[f64; 4]> = x.iter().map(|x| self.hard.neighbours(f64::from(*x))).collect();
        let states = 1usize << self.variables;
        let upper = |state: usize, variable: usize| state >> variable & 1 == 1;
        let values = (0..states).flat_map(|state| {
            let neighbours = neighbours.iter().enumerate();
            neighbours.map(move |(variable, [low, high, ..])| if upper(state, variable) { *high } else { *low } as f32)
        });
        let values = TensorData::new(values.collect::<Vec<f32>>(), [states, self.variables]);
        let costs = self.cost(Tensor::from_data(values, &Device::flex())).inner();
        let mut gradient = vec![0.0; self.variables];
        for (state, cost) in costs.into_data().iter::<f32>().enumerate() {
            for (variable, gradient) in gradient.iter_mut().enumerate() {
                let others: f64 = neighbours
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != variable)
                    .map(|(other, [_, _, share, _])| if upper(state, other) { *share } else { 1.0 - share })
                    .product();
                let slope = neighbours[variable][3];
                *gradient += if upper(state, variable) { slope } else { -slope } * others * f64::from(cost);
            }
        }
        Reference { gradient, variance: 0.0, groups: Vec::new(), description: String::new() }
    }
}
