//! Random choices among categories, and the estimators of the gradient of their expected cost.
//!
//! A layer holds `logits` `[batch, variables, categories]`; each variable of each row chooses one category with probability
//! softmax(logits), and a cost judges the choices of a row, given as one-hot vectors of the same shape. Wanted is the
//! gradient of the expected cost with respect to the logits. A Bernoulli variable is one with two categories: its logit is the
//! difference of the second and the first.
//!
//! All estimators implement [`Estimator`] and are known by name ([`by_name`], [`ESTIMATORS`]). Some give choices that carry a
//! gradient ([`Estimator::sample`]) and can stand anywhere in a network; the others must see the cost
//! ([`Estimator::cost`]), which the first kind can serve as well.
//!
//! The operators of this family have compositions of Burn's operators for other devices; the estimators themselves check and
//! draw on the CPU and run on the Flex device.
//!
//! | name | needs the cost | unbiased | temperature |
//! |---|---|---|---|
//! | `straight_through`, `decoupled`, `gapped_straight_through`, `reinmax` | no | no | yes |
//! | `gumbel_softmax`, `gumbel_softmax_hard`, `gumbel_rao` | no | no | yes |
//! | `reinforce`, `reinforce_moving_average`, `reinforce_leave_one_out` | yes | yes | no |
//! | `arm`, `disarm` (two categories) | yes | yes | no |
//! | `rebar`, `relax` | yes, on relaxed choices too | yes | yes |
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::categorical::by_name;
//! use hardgrad::random::Random;
//!
//! // Two rows, three variables, four categories; the cost is the number of variables that choose category 0.
//! let logits = Tensor::<3>::zeros([2, 3, 4], &Device::flex().autodiff()).require_grad();
//! let mut estimator = by_name("reinmax").unwrap();
//! let mut cost = |choices: Tensor<3>| choices.slice([0..2, 0..3, 0..1]).sum_dim(1).reshape([2]);
//! let costs = estimator.cost(logits.clone(), &mut cost, 1.0, &Random::new(0, 0, 0)).unwrap();
//! let gradient = logits.grad(&costs.mean().backward()).unwrap();
//! assert_eq!(gradient.dims(), [2, 3, 4]);
//! ```

mod arm;
mod decoupled;
mod disarm;
mod error;
mod estimator;
pub(crate) mod gapped_straight_through;
pub(crate) mod gumbel_rao;
pub(crate) mod gumbel_softmax;
mod rebar;
mod reinforce;
pub(crate) mod reinmax;
mod relax;
mod sampling;
pub(crate) mod straight_through;
mod temperature;

pub use arm::Arm;
pub use decoupled::Decoupled;
pub use disarm::DisArm;
pub use error::CategoricalError;
pub use estimator::{Cost, Entry, Estimator, by_name, find};
pub use gapped_straight_through::{GappedStraightThrough, gapped_straight_through};
pub use gumbel_rao::{GumbelRao, gumbel_rao};
pub use gumbel_softmax::{GumbelSoftmax, gumbel_softmax};
pub use rebar::Rebar;
pub use reinforce::{LeaveOneOut, MovingAverage, Reinforce};
pub use reinmax::{ReinMax, reinmax};
pub use relax::Relax;
pub use sampling::{one_hot, sample};
pub use straight_through::{StraightThrough, straight_through_categorical};
pub use temperature::{TemperatureKind, TemperatureSchedule};

/// All estimators, by name.
pub static ESTIMATORS: &[&Entry] = &[
    &straight_through::ENTRY,
    &decoupled::ENTRY,
    &gapped_straight_through::ENTRY,
    &gumbel_softmax::SOFT,
    &gumbel_softmax::HARD,
    &gumbel_rao::ENTRY,
    &reinmax::ENTRY,
    &reinforce::NO_BASELINE,
    &reinforce::MOVING_AVERAGE,
    &reinforce::LEAVE_ONE_OUT,
    &arm::ENTRY,
    &disarm::ENTRY,
    &rebar::ENTRY,
    &relax::ENTRY,
];
