use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

use crate::custom_gradient::{custom_vjp, exactly};
use crate::flex::on_flex;

/// Learned numbers that stay above 0: the parameter is their natural logarithm.
///
/// ```text
/// v = exp(log)        dlog = G v        (G: the gradient of v, as the operator that reads it states it)
/// ```
/// A step, a bound or a threshold that is itself the parameter falls through 0 in one long update, and what it scales is lost for
/// good. A logarithm has no such place, and the learning rate means the same for numbers of any size: an update of the logarithm by
/// 0.01 changes v by 1 %. That is what one step of an optimizer like Adam does at a rate of 0.01; plain SGD moves the logarithm by
/// rate times G v, so that small numbers want a higher rate. Weight decay pulls a logarithm towards 0, that is v towards 1: leave it off.
///
/// The exponential is rounded from f64, so that every machine gives the same bits, and kept among the normal f32 numbers.
///
/// ```
/// use burn::tensor::Device;
/// use hardgrad::quantize::Positive;
///
/// let step = Positive::new(&[0.5], &Device::flex()).unwrap();
/// assert_eq!(step.values(), [0.5]);
/// assert!(Positive::new(&[0.0], &Device::flex()).is_err());
/// ```
#[derive(Module, Debug)]
pub struct Positive {
    /// The natural logarithm of each number.
    pub log: Param<Tensor<1>>,
}

/// A learned number cannot begin here.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("a learned scale, bound or threshold must begin above 0 and finite, got {value}")]
pub struct NotPositive {
    /// What was asked for.
    pub value: f32,
}

impl Positive {
    /// Numbers that begin at `values`, each above 0 and finite.
    pub fn new(values: &[f32], device: &Device) -> Result<Self, NotPositive> {
        let logs: Vec<f32> = values.iter().map(|&value| logarithm(value)).collect::<Result<_, _>>()?;
        Ok(Self { log: Param::from_tensor(Tensor::from_floats(logs.as_slice(), device)) })
    }

    /// The numbers, on the gradient tape.
    pub fn val(&self) -> Tensor<1> {
        let log = self.log.val();
        let numbers = Tensor::<1>::from_floats(self.values().as_slice(), &log.clone().inner().device());
        if !on_flex(&log) {
            return exactly(numbers.clone(), log * numbers);
        }
        custom_vjp(log, numbers.clone(), move |gradient| gradient * numbers.clone())
    }

    /// The numbers; the same bits as those of [`val`](Self::val).
    pub fn values(&self) -> Vec<f32> {
        let logs: Vec<f32> = self.log.val().inner().into_data().try_into_vec().expect("parameters are f32");
        logs.into_iter().map(number).collect()
    }

    /// Gives all numbers this value, above 0 and finite; the parameter stays the same one.
    pub fn set(&mut self, value: f32) -> Result<(), NotPositive> {
        let log = logarithm(value)?;
        self.log = self.log.clone().map(|old| {
            let (device, trainable) = (old.device(), old.is_require_grad());
            Tensor::full(old.dims(), log, &device).set_require_grad(trainable)
        });
        Ok(())
    }
}

fn logarithm(value: f32) -> Result<f32, NotPositive> {
    match value > 0.0 && value.is_finite() {
        true => Ok(libm::log(f64::from(value)) as f32),
        false => Err(NotPositive { value }),
    }
}

/// A logarithm that is not a number stays so.
fn number(log: f32) -> f32 {
    (libm::exp(f64::from(log)) as f32).clamp(f32::MIN_POSITIVE, f32::MAX)
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use proptest::prelude::*;

    use super::*;

    fn numbers(values: &[f32]) -> Positive {
        Positive::new(values, &Device::flex().autodiff()).unwrap()
    }

    fn floats(tensor: Tensor<1>) -> Vec<f32> {
        tensor.inner().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_gradient_of_the_logarithm_is_that_of_the_number_times_the_number() {
        let positive = numbers(&[0.5, 3.0]);
        let weights = Tensor::<1>::from_floats([2.0, -7.0], &Device::flex());
        let loss = (positive.val() * weights).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &positive);
        let found = floats(gradients.get::<1>(positive.log.id).unwrap());
        let expected: Vec<f32> =
            positive.values().iter().zip([2.0, -7.0]).map(|(value, weight)| value * weight).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn any_logarithm_makes_a_number_above_0() {
        for log in [-1e30, -200.0, -88.0, 0.0, 88.0, 200.0, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(number(log) >= f32::MIN_POSITIVE && number(log).is_finite(), "{log}");
        }
        assert!(number(f32::NAN).is_nan());
    }

    #[test]
    fn what_is_not_above_0_is_refused_and_changes_nothing() {
        let mut positive = numbers(&[0.25, 2.0]);
        let before = positive.values();
        for value in [0.0, -0.0, -1.0, f32::INFINITY, f32::NAN] {
            assert!(Positive::new(&[1.0, value], &Device::flex()).is_err(), "{value}");
            assert!(positive.set(value).is_err(), "{value}");
        }
        assert_eq!(positive.values(), before);
        let id = positive.log.id;
        positive.set(0.125).unwrap();
        assert_eq!((positive.values(), positive.log.id), (vec![0.125; 2], id));
        assert!(positive.log.val().is_require_grad());
    }

    proptest! {
        #[test]
        fn a_number_comes_back_and_reads_the_same_everywhere(exponent in -80.0f64..80.0) {
            let value = exponent.exp() as f32;
            let positive = numbers(&[value]);
            // The logarithm is rounded: by up to 2^-18 between 64 and 128.
            prop_assert!((positive.values()[0] / value - 1.0).abs() < 1e-5);
            prop_assert_eq!(floats(positive.val()), positive.values());
            let composed = crate::composed::only(|| floats(positive.val()));
            prop_assert_eq!(composed, positive.values());
        }
    }
}
