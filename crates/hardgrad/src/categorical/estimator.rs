use burn::tensor::Tensor;
use hardgrad_kernels::random::Random;
use hardgrad_kernels::reduce::{all_finite, inner_product};

use super::{CategoricalError, ESTIMATORS, sample};
use crate::flex::values;
use crate::settings::{self, Setting};

/// What choices cost: one-hot (or relaxed) choices `[batch, variables, categories]` in, one value a row `[batch]` out.
///
/// Row r of the choices belongs to row r of the logits. The function may be called several times a step and must compute
/// everything that depends on parameters anew each time; it must accept relaxed choices for `rebar` and `relax`.
pub type Cost<'a> = dyn FnMut(Tensor<3>) -> Tensor<1> + 'a;

/// An estimator of the gradient of an expected cost with respect to the logits of random choices.
///
/// There are two kinds: one implements [`sample`](Self::sample) and can stand anywhere in a network, the other implements
/// [`cost`](Self::cost) and must see the cost. Whoever has a cost at hand calls `cost` on either.
pub trait Estimator: Send {
    /// The name that configs and reports use.
    fn name(&self) -> &'static str;

    /// Choices `[batch, variables, categories]` that carry the estimator's gradient, or `None` if it needs the cost.
    ///
    /// The same `random` gives the same choices.
    ///
    /// # Errors
    /// If the temperature is out of range or the logits are not finite.
    fn sample(
        &self,
        logits: Tensor<3>,
        temperature: f32,
        random: &Random,
    ) -> Result<Option<Tensor<3>>, CategoricalError> {
        let _ = (logits, temperature, random);
        Ok(None)
    }

    /// Costs `[batch]` of sampled choices; the gradient of their mean with respect to `logits` estimates that of the expected
    /// cost. What the cost depends on besides the choices gets its ordinary gradient.
    ///
    /// # Errors
    /// If the temperature or the number of categories does not suit the estimator, or logits or costs are not finite.
    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        temperature: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        let rows = logits.dims()[0];
        let choices = self.sample(logits, temperature, random)?;
        evaluate(self.name(), cost, choices.expect("an estimator implements `sample` or `cost`"), rows)
    }
}

/// One line of the list of estimators.
#[derive(Debug)]
pub struct Entry {
    /// The name that configs and reports use.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Whether its expectation is the exact gradient.
    pub unbiased: bool,
    /// Whether a temperature changes it.
    pub uses_temperature: bool,
    /// The least temperature that it can have; above 0 in any case.
    pub least_temperature: f32,
    /// Whether it works on two categories only.
    pub binary: bool,
    /// Whether its choices are relaxed instead of one-hot.
    pub relaxed: bool,
    /// Whether it keeps something from call to call that settles after some of them.
    pub learns: bool,
    /// Settings with their default and what they must be; one called `samples` says how many copies of the choices a call holds.
    pub settings: &'static [Setting],
    pub(super) make: fn(&[f64]) -> Box<dyn Estimator>,
}

/// The estimator that `description` names, such as `reinmax` or `gumbel_rao:samples=100`.
///
/// # Errors
/// If there is no such estimator or setting, or a value is out of range.
///
/// ```
/// use hardgrad::categorical::by_name;
/// assert_eq!(by_name("gumbel_rao:samples=100").unwrap().name(), "gumbel_rao");
/// assert!(by_name("gumbel_rao:samples=0").is_err());
/// ```
pub fn by_name(description: &str) -> Result<Box<dyn Estimator>, CategoricalError> {
    let (entry, numbers) = find(description)?;
    Ok((entry.make)(&numbers))
}

/// The line of the list that `description` names, with the values of its settings in their order.
///
/// # Errors
/// As [`by_name`].
pub fn find(description: &str) -> Result<(&'static Entry, Vec<f64>), CategoricalError> {
    let name = settings::name(description);
    let entry =
        ESTIMATORS.iter().find(|entry| entry.name == name).ok_or_else(|| CategoricalError::UnknownEstimator {
            name: name.to_string(),
            known: ESTIMATORS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
        })?;
    let numbers = settings::read(entry.settings, description);
    let numbers = numbers.map_err(|problem| CategoricalError::Setting { estimator: entry.name, problem })?;
    Ok((*entry, numbers))
}

/// Choices that `operator` makes of logits `[n, categories]` and a sample of them, after the checks that all such estimators need.
pub(super) fn of_sample(
    estimator: &'static Entry,
    logits: Tensor<3>,
    temperature: f32,
    random: &Random,
    operator: impl FnOnce(Tensor<2>, Tensor<1>) -> Tensor<2>,
) -> Result<Option<Tensor<3>>, CategoricalError> {
    check(estimator.name, &logits, temperature, estimator.least_temperature)?;
    let (dims, logits) = (logits.dims(), flatten(logits));
    let choice = sample(&logits, random);
    Ok(Some(operator(logits, choice).reshape(dims)))
}

/// The cost of `choices`, checked.
pub(super) fn evaluate(
    estimator: &'static str,
    cost: &mut Cost<'_>,
    choices: Tensor<3>,
    rows: usize,
) -> Result<Tensor<1>, CategoricalError> {
    let costs = cost(choices);
    let found = costs.dims()[0];
    if found != rows {
        return Err(CategoricalError::CostShape { estimator, expected: rows, found });
    }
    check_finite(estimator, "the cost", &costs)?;
    Ok(costs)
}

/// Costs with the value of `costs` and `gradient` `[batch, variables, categories]` as the gradient of each row with respect
/// to its logits; fails if the gradient is not finite.
pub(super) fn with_gradient(
    estimator: &'static str,
    costs: Tensor<1>,
    logits: Tensor<3>,
    gradient: Tensor<3>,
) -> Result<Tensor<1>, CategoricalError> {
    check_finite(estimator, "the gradient", &gradient)?;
    let rows = logits.dims()[0];
    // Exactly 0, with the wanted gradient.
    let zero = (logits.clone() - logits.inner()) * gradient;
    Ok(costs + zero.sum_dim(2).sum_dim(1).reshape([rows]))
}

/// The sum of all products of the values of two tensors; the same for any number of threads.
pub(super) fn product<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    inner_product(&values(a), &values(b))
}

/// Fails if a value is NaN or infinite.
pub(super) fn check_finite<const D: usize>(
    estimator: &'static str,
    what: &'static str,
    tensor: &Tensor<D>,
) -> Result<(), CategoricalError> {
    match all_finite(&values(tensor)) {
        true => Ok(()),
        false => Err(CategoricalError::NotFinite { estimator, what }),
    }
}

/// Fails unless the logits are finite and the temperature is one.
pub(super) fn check(
    estimator: &'static str,
    logits: &Tensor<3>,
    temperature: f32,
    least: f32,
) -> Result<(), CategoricalError> {
    if !(temperature > 0.0 && temperature >= least && temperature.is_finite()) {
        let expected = if least > 0.0 { format!("at least {least}") } else { "above 0".to_string() };
        return Err(CategoricalError::Temperature { estimator, expected, found: temperature });
    }
    check_finite(estimator, "the logits tensor", logits)
}

/// Fails unless the variables have two categories and finite logits.
pub(super) fn check_binary(estimator: &'static str, logits: &Tensor<3>) -> Result<(), CategoricalError> {
    let categories = logits.dims()[2];
    if categories != 2 {
        return Err(CategoricalError::NotBinary { estimator, categories });
    }
    check_finite(estimator, "the logits tensor", logits)
}

/// Variables of all rows below each other: `[batch * variables, categories]`.
pub(super) fn flatten(logits: Tensor<3>) -> Tensor<2> {
    let [batch, variables, categories] = logits.dims();
    logits.reshape([batch * variables, categories])
}
