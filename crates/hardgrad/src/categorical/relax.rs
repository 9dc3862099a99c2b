use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use hardgrad_kernels::random::Random;

use super::estimator::{check, evaluate, with_gradient};
use super::rebar::Draw;
use super::reinforce::a_row;
use super::{CategoricalError, Cost, Entry, Estimator};
use crate::settings::Setting;

/// The score function with a control variate that a small network learns.
///
/// ```text
/// c(z) = eta f(s(z)) + r(s(z)),  s(z) = softmax(z/temperature),  r = a perceptron with one layer of hidden units (tanh)
/// dlogits = (f(b) - c(z')) dln p(b) + dc(z) - dc(z')        (z, b and z' as for `rebar`)
/// ```
/// After each call eta and the perceptron take an Adam step that lowers the sum of squares of the gradient, so that no step
/// is biased by its own noise. The cost must accept relaxed choices; it is called three times.
/// Source: Grathwohl et al., "Backpropagation through the void: optimizing control variates for black-box gradient
/// estimation", ICLR 2018.
pub struct Relax {
    /// Hidden units of the perceptron.
    hidden: usize,
    /// Step size of its Adam.
    learning_rate: f64,
    /// Made when the first call tells the number of variables and categories, and anew when they change.
    state: Option<(ControlVariate, ModuleOptimizer)>,
}

impl Relax {
    /// A control variate with `hidden` units that learns with `learning_rate`.
    pub fn new(hidden: usize, learning_rate: f64) -> Self {
        Self { hidden, learning_rate, state: None }
    }
}

pub(super) static ENTRY: Entry = Entry {
    name: "relax",
    summary: "score function with a control variate that a small network learns",
    unbiased: true,
    uses_temperature: true,
    least_temperature: 0.0,
    binary: false,
    relaxed: false,
    learns: true,
    settings: &[
        Setting {
            key: "hidden",
            default: 16.0,
            expected: "a whole number from 1 to 4096",
            valid: |value| (1.0..=4096.0).contains(&value) && value.fract() == 0.0,
        },
        Setting {
            key: "learning_rate",
            default: 0.003,
            expected: "above 0",
            valid: |value| value > 0.0 && value.is_finite(),
        },
    ],
    make: |settings| Box::new(Relax::new(settings[0] as usize, settings[1])),
};

/// eta and the perceptron r(s) = output . tanh(weight s + bias) + constant; the constant is a baseline of the cost.
#[derive(Module, Debug)]
struct ControlVariate {
    eta: Param<Tensor<1>>,
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    output: Param<Tensor<1>>,
    constant: Param<Tensor<1>>,
}

impl ControlVariate {
    /// r is 0 at the start: the estimator begins as `rebar` with eta 1.
    fn new(inputs: usize, hidden: usize, device: &Device) -> Self {
        let mut weight = vec![0.0; inputs * hidden];
        // A fixed draw: the estimator is a function of what it is called with.
        Random::new(0, 0, WEIGHT_STREAM).fill_normal(&mut weight);
        let scale = (inputs as f32).sqrt().recip();
        let weight = Tensor::<1>::from_floats(weight.as_slice(), device) * scale;
        let parameter = |tensor: Tensor<2>| Param::from_tensor(Tensor::from_inner(tensor.inner()));
        Self {
            eta: Param::from_tensor(Tensor::ones([1], device)),
            weight: parameter(weight.reshape([inputs, hidden])),
            bias: Param::from_tensor(Tensor::zeros([hidden], device)),
            output: Param::from_tensor(Tensor::zeros([hidden], device)),
            constant: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }

    /// r `[batch]` and its gradient with respect to z `[batch, variables, categories]`, as expressions that can be
    /// differentiated once more, with respect to the parameters.
    fn perceptron(&self, noisy: &Tensor<3>, temperature: f32) -> (Tensor<1>, Tensor<3>) {
        let dims @ [batch, variables, categories] = noisy.dims();
        let soft = softmax(noisy.clone() / temperature, 2);
        let flat = soft.clone().reshape([batch, variables * categories]);
        let hidden = (flat.matmul(self.weight.val()) + self.bias.val().unsqueeze()).tanh();
        let output: Tensor<2> = self.output.val().unsqueeze();
        let value = (hidden.clone() * output.clone()).sum_dim(1).reshape([batch]) + self.constant.val();
        let slope = (-(hidden.clone() * hidden) + 1.0) * output;
        let by_soft = slope.matmul(self.weight.val().transpose()).reshape(dims);
        let centred = by_soft.clone() - (by_soft * soft.clone()).sum_dim(2);
        (value, soft * centred / temperature)
    }
}

/// The random stream of the perceptron's first weights.
const WEIGHT_STREAM: u32 = 120;

impl Estimator for Relax {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn cost(
        &mut self,
        logits: Tensor<3>,
        cost: &mut Cost<'_>,
        temperature: f32,
        random: &Random,
    ) -> Result<Tensor<1>, CategoricalError> {
        check(self.name(), &logits, temperature, 0.0)?;
        let draw = Draw::new(&logits, random);
        let costs = evaluate(self.name(), cost, draw.choices.clone(), logits.dims()[0])?;
        let relaxed = draw.relaxed(self.name(), cost, temperature)?;
        let [_, variables, categories] = logits.dims();
        let inputs = variables * categories;
        let fitting = self.state.take().filter(|(control, _)| control.weight.dims()[0] == inputs);
        let (control, mut optimizer) = fitting.unwrap_or_else(|| {
            let control = ControlVariate::new(inputs, self.hidden, &logits.device().autodiff());
            (control, AdamConfig::new().with_epsilon(1e-8).init())
        });
        let score = draw.score();
        let (_, noisy) = control.perceptron(&draw.noisy, temperature);
        let (conditional_value, conditional) = control.perceptron(&draw.conditional, temperature);
        let rows = conditional_value.dims()[0];
        let learned = draw.to_logits(noisy - conditional * draw.conditional_slope.clone())
            - score.clone() * conditional_value.reshape([rows, 1, 1]);
        let gradient =
            score * a_row(costs.clone()) + draw.control(relaxed) * control.eta.val().reshape([1, 1, 1]) + learned;
        let used = gradient.clone().inner();
        // Rows first: a long sum over everything would depend on the number of threads.
        let squares = (gradient.clone() * gradient).mean_dim(2).mean_dim(1).mean();
        let learns = squares.clone().inner().into_scalar::<f32>().is_finite();
        let gradients = GradientsParams::from_grads(squares.backward(), &control);
        let control = if learns { optimizer.step(self.learning_rate, control, gradients) } else { control };
        self.state = Some((control, optimizer));
        with_gradient(self.name(), costs, logits, used)
    }
}
