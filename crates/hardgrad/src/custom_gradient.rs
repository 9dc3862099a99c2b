//! Any forward pass with any backward pass.
//!
//! [`straight_through`] is the estimator of the field in its plainest form. [`custom_vjp`] and [`custom_vjp2`] take the
//! backward pass as a closure: it gets the gradient of the output and returns the gradient of each input (the product of
//! the vector with the Jacobian that the estimator pretends). Users need no knowledge of Burn's internals for it.
//!
//! Inside a closure use plain tensors only: capture `x.clone().inner()`, never a tensor that is on a gradient tape, because
//! the tape is locked while closures run.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{GradientCheckpointingStrategy, Tensor};

use crate::flex::{on_flex, primitive};

/// The value of `hard` with the gradient of `soft`.
///
/// ```text
/// y = hard        dsoft = G
/// ```
/// Both have the same shape; `hard` is used as a constant. Source: Bengio, Léonard, Courville, 2013.
///
/// # Panics
/// If the shapes differ.
pub fn straight_through<const D: usize>(hard: Tensor<D>, soft: Tensor<D>) -> Tensor<D> {
    assert_eq!(hard.dims(), soft.dims(), "straight_through: hard and soft must have the same shape");
    if !on_flex(&soft) {
        return exactly(hard, soft);
    }
    custom_vjp(soft, hard, |gradient| gradient)
}

/// [`straight_through`] as a composition of Burn's operators: the value of `hard` to the bit where `soft` is finite.
///
/// The usual `soft + (hard - soft)` rounds; here what is added to `hard` is exactly 0.
pub(crate) fn exactly<const D: usize>(hard: Tensor<D>, soft: Tensor<D>) -> Tensor<D> {
    let zero = soft.clone() - soft.inner();
    zero + hard.inner()
}

/// `y` as a function of `x` whose backward pass is `vjp`: gradient of y in, gradient of x out.
///
/// `y` is used as a constant, however it was computed; the closure gets and returns plain tensors.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hardgrad::custom_gradient::custom_vjp;
///
/// // Round whose gradient is cut outside [-2, 2].
/// let x = Tensor::<1>::from_floats([0.6, 3.0], &Device::flex().autodiff()).require_grad();
/// let constant = x.clone().inner();
/// let y = custom_vjp(x.clone(), constant.clone().round(), move |gradient| {
///     gradient * constant.clone().abs().lower_equal_scalar(2.0).float()
/// });
/// let gradients = y.sum().backward();
/// assert_eq!(x.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap(), [1.0, 0.0]);
/// ```
///
/// # Panics
/// In the backward pass, if the closure returns another shape than that of `x`.
pub fn custom_vjp<const D: usize, const E: usize>(
    x: Tensor<D>,
    y: Tensor<E>,
    vjp: impl Fn(Tensor<E>) -> Tensor<D> + Send + Sync + 'static,
) -> Tensor<E> {
    let dims = x.dims();
    node([x.into()], y, move |gradient, _| [Some(checked(vjp(gradient), dims))])
}

/// As [`custom_vjp`] with two inputs; the closure is also told which gradients are wanted.
pub fn custom_vjp2<const A: usize, const B: usize, const E: usize>(
    a: Tensor<A>,
    b: Tensor<B>,
    y: Tensor<E>,
    vjp: impl Fn(Tensor<E>, [bool; 2]) -> (Option<Tensor<A>>, Option<Tensor<B>>) + Send + Sync + 'static,
) -> Tensor<E> {
    let (a_dims, b_dims) = (a.dims(), b.dims());
    node([a.into(), b.into()], y, move |gradient, wanted| {
        let (a, b) = vjp(gradient, wanted);
        [a.map(|a| checked(a, a_dims)), b.map(|b| checked(b, b_dims))]
    })
}

fn checked<const D: usize>(gradient: Tensor<D>, dims: [usize; D]) -> AnyRank {
    assert_eq!(gradient.dims(), dims, "the backward closure returned a gradient of the wrong shape");
    gradient.into()
}

/// A tensor whose rank the type does not tell, so that operators may have inputs of different ranks.
pub(crate) struct AnyRank(Tensor<1>);

impl<const D: usize> From<Tensor<D>> for AnyRank {
    fn from(tensor: Tensor<D>) -> Self {
        Self(Tensor::from_dispatch(tensor.into_dispatch()))
    }
}

/// Puts `y` on the gradient tape as a function of `inputs`, unless all of them are plain.
///
/// The closure gets the gradient of `y` and which inputs want one; all its tensors are plain.
pub(crate) fn node<const N: usize, const E: usize>(
    inputs: [AnyRank; N],
    y: Tensor<E>,
    vjp: impl Fn(Tensor<E>, [bool; N]) -> [Option<AnyRank>; N] + Send + Sync + 'static,
) -> Tensor<E> {
    let y = primitive(y);
    let Some(strategy) = inputs.iter().find_map(|input| input.0.gradient_checkpointing_strategy()) else {
        return Tensor::from_primitive::<Flex>(y);
    };
    let vjp = Vjp::<N>(Arc::new(move |gradient, wanted| {
        vjp(Tensor::from_primitive::<Flex>(gradient), wanted)
            .map(|gradient| gradient.map(|gradient| primitive(gradient.0)))
    }));
    // A plain input becomes a constant on the tape that the tracked ones are on.
    let inputs = inputs.map(|AnyRank(input)| match input.is_autodiff() {
        true => input,
        false => input.autodiff().with_gradient_checkpointing_strategy(strategy),
    });
    macro_rules! attach_with {
        ($checkpointing:ty) => {
            Tensor::from_primitive::<Autodiff<Flex, $checkpointing>>(attach::<$checkpointing, N>(
                inputs.map(|input| {
                    let input = input.try_into_primitive::<Autodiff<Flex, $checkpointing>>();
                    input.expect("hardgrad's operators run on the Flex device")
                }),
                y,
                vjp,
            ))
        };
    }
    match strategy {
        GradientCheckpointingStrategy::Disabled => attach_with!(NoCheckpointing),
        GradientCheckpointingStrategy::Balanced => attach_with!(BalancedCheckpointing),
    }
}

fn attach<C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
    y: FlexTensor,
    vjp: Vjp<N>,
) -> FloatTensor<Autodiff<Flex, C>> {
    match Step.prepare::<C>(inputs.map(|input| input.node())).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(vjp, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}

type Closure<const N: usize> = dyn Fn(FlexTensor, [bool; N]) -> [Option<FlexTensor>; N] + Send + Sync;

/// The backward closure, kept on the tape.
#[derive(Clone)]
struct Vjp<const N: usize>(Arc<Closure<N>>);

impl<const N: usize> fmt::Debug for Vjp<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vjp")
    }
}

#[derive(Debug)]
struct Step;

impl<const N: usize> Backward<Flex, N> for Step {
    type State = Vjp<N>;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let wanted = std::array::from_fn(|index| ops.parents[index].is_some());
        for (parent, gradient) in ops.parents.into_iter().zip((ops.state.0)(gradient, wanted)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn leaf(values: [f32; 3], device: &Device) -> Tensor<1> {
        Tensor::from_floats(values, device).require_grad()
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn straight_through_has_the_hard_value_to_the_bit_and_the_soft_gradient() {
        let x = leaf([0.3, -1.7, 2.5], &Device::flex().autodiff());
        let y = straight_through(x.clone().round(), x.clone().tanh());
        assert_eq!(floats(y.clone().inner()), [0.0, -2.0, 2.0]);
        let gradient = floats(x.grad(&y.sum().backward()).unwrap());
        let expected = [0.3f32, -1.7, 2.5].map(|x| 1.0 - x.tanh().powi(2));
        assert!(gradient.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn two_inputs_any_of_which_may_be_a_constant() {
        for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
            for tracked in [[true, true], [true, false], [false, true]] {
                let plain = Device::flex();
                let on = |wanted: bool| {
                    if wanted { leaf([1.0, 2.0, 3.0], &device) } else { Tensor::from_floats([1.0, 2.0, 3.0], &plain) }
                };
                let (a, b) = (on(tracked[0]), on(tracked[1]));
                let y = a.clone().inner() * b.clone().inner();
                let y = custom_vjp2(a.clone(), b.clone(), y, move |gradient, wanted| {
                    assert_eq!(wanted, tracked);
                    (wanted[0].then(|| gradient.clone() * 10.0), wanted[1].then(|| gradient * 20.0))
                });
                let gradients = (y * 2.0).sum().backward();
                for (x, tracked, expected) in [(a, tracked[0], 20.0), (b, tracked[1], 40.0)] {
                    if tracked {
                        assert_eq!(floats(x.grad(&gradients).unwrap()), [expected; 3]);
                    }
                }
            }
        }
    }

    #[test]
    fn plain_inputs_stay_off_the_tape() {
        let x = Tensor::<1>::from_floats([1.5], &Device::flex());
        assert!(!custom_vjp(x.clone(), x.round(), |gradient| gradient).is_autodiff());
    }
}
