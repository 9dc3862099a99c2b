//! Small problems with random choices, on which estimators are measured and compared.
//!
//! An `Objective` judges the choices of some variables; a `Learner` holds what is trained: the logits themselves, or a
//! network that computes them. Each is known by name, with settings behind it: `polynomial:p=3`.

mod digits;
mod learner;
mod linear;
mod polynomial;
mod quadratic;
mod rebar_toy;

use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::settings::{self, Setting};
use thiserror::Error;

pub(crate) use learner::Learner;

/// Variables that choose among categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of variables.
    pub variables: usize,
    /// Categories of each.
    pub categories: usize,
}

/// A cost of choices.
pub(crate) trait Objective: Sync {
    /// Variables and categories.
    fn size(&self) -> Size;

    /// Parameters at the start. `spread` is the standard deviation of logits that are parameters themselves.
    fn learner(&self, seed: u64, spread: f32) -> Learner {
        Learner::table(self.size(), seed, spread)
    }

    /// How many different inputs there are: images, or 1 where nothing is input.
    fn contexts(&self) -> usize {
        1
    }

    /// Logits `[rows, variables, categories]`, a row for each input in `contexts`.
    fn logits(&self, learner: &Learner, contexts: &[u32]) -> Tensor<3> {
        learner.table_rows(contexts.len())
    }

    /// The cost of each row of one-hot or relaxed choices `[rows, variables, categories]`, given its input.
    fn cost(&self, learner: &Learner, choices: Tensor<3>, contexts: &[u32]) -> Tensor<1>;

    /// Where the cost is the mean over the variables of a cost of each one's category: those costs, variable by variable.
    fn variable_costs(&self) -> Option<Vec<f64>> {
        None
    }

    /// The least cost that choices can have, where it is known.
    fn floor(&self) -> Option<f64> {
        let costs = self.variable_costs()?;
        let categories = self.size().categories;
        let least = costs.chunks(categories).map(|costs| costs.iter().copied().fold(f64::INFINITY, f64::min));
        Some(least.sum::<f64>() / self.size().variables as f64)
    }
}

/// One line of the list of objectives.
pub struct ObjectiveEntry {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Variables when nothing is said.
    pub variables: usize,
    /// Variables at most.
    pub most: usize,
    /// Settings behind the name.
    pub settings: &'static [Setting],
    make: fn(Size, &[f64], u64) -> Box<dyn Objective>,
}

/// All objectives.
pub static OBJECTIVES: &[&ObjectiveEntry] =
    &[&linear::ENTRY, &quadratic::ENTRY, &polynomial::ENTRY, &rebar_toy::ENTRY, &digits::ENTRY];

/// An objective that cannot be.
#[derive(Debug, Error, PartialEq)]
pub enum ObjectiveError {
    /// There is none of that name.
    #[error("unknown objective {name}; expected one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A setting behind the name.
    #[error("objective {objective}: {problem}")]
    Setting {
        /// The objective.
        objective: &'static str,
        /// What is wrong.
        problem: settings::SettingError,
    },
    /// Too few or too many variables or categories.
    #[error("objective {objective}: {what} must be {expected}, got {found}")]
    Size {
        /// The objective.
        objective: &'static str,
        /// Which number.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: usize,
    },
}

/// Categories of all variables together, at most.
const CHOICES: usize = 1 << 15;

/// The objective that `description` names, with its usual number of variables where none is given.
pub(crate) fn by_name(
    description: &str,
    variables: Option<usize>,
    categories: usize,
    seed: u64,
) -> Result<Box<dyn Objective>, ObjectiveError> {
    let name = settings::name(description);
    let entry = OBJECTIVES.iter().find(|entry| entry.name == name).ok_or_else(|| ObjectiveError::Unknown {
        name: name.to_string(),
        known: OBJECTIVES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
    })?;
    let numbers = settings::read(entry.settings, description);
    let numbers = numbers.map_err(|problem| ObjectiveError::Setting { objective: entry.name, problem })?;
    let size = Size { variables: variables.unwrap_or(entry.variables), categories };
    let refuse = |what, expected: String, found| ObjectiveError::Size { objective: entry.name, what, expected, found };
    if !(1..=entry.most).contains(&size.variables) {
        return Err(refuse("--variables", format!("from 1 to {}", entry.most), size.variables));
    }
    if categories < 2 || size.variables.saturating_mul(categories) > CHOICES {
        let expected = format!("from 2 to {}, {CHOICES} choices over all variables", CHOICES / size.variables);
        return Err(refuse("--categories", expected, categories));
    }
    Ok((entry.make)(size, &numbers, seed))
}

/// A plain tensor.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// The value of a category: evenly from 0 to 1.
fn category_value(category: usize, categories: usize) -> f64 {
    category as f64 / (categories - 1).max(1) as f64
}

/// The mean value of each variable's choice: `[rows, variables]`.
fn values(choices: Tensor<3>) -> Tensor<2> {
    let [rows, variables, categories] = choices.dims();
    let values = (0..categories).map(|category| category_value(category, categories) as f32).collect();
    (choices * tensor(values, [1, 1, categories])).sum_dim(2).reshape([rows, variables])
}
