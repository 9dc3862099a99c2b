use std::collections::BTreeMap;
use std::str::FromStr;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use hardgrad::Surrogate;

use super::{Operator, OperatorError, Outputs};

/// An output of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Numbers.
    Float(Array),
    /// Places or codes: shape and values, row by row.
    Index(Vec<usize>, Vec<i64>),
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Values, row by row.
    pub values: Vec<f32>,
}

/// One call of an operator: its inputs, finite and complete, and its keys.
pub struct Call {
    operator: &'static str,
    inputs: BTreeMap<String, Array>,
    keys: BTreeMap<&'static str, String>,
}

impl Call {
    pub(super) fn new(
        operator: &Operator,
        inputs: BTreeMap<String, Array>,
        keys: BTreeMap<&'static str, String>,
    ) -> Result<Self, OperatorError> {
        let optional = operator.optional_inputs.iter().map(|input| format!("[{input}]"));
        let expected: Vec<String> = operator.inputs.iter().map(|input| input.to_string()).chain(optional).collect();
        let expected = || expected.join(", ");
        if let Some(&input) = operator.inputs.iter().find(|input| !inputs.contains_key(**input)) {
            return Err(OperatorError::MissingInput { operator: operator.name, input, expected: expected() });
        }
        for (name, array) in &inputs {
            let known = operator.inputs.iter().chain(operator.optional_inputs).any(|known| known == name);
            if !known {
                let (operator, input) = (operator.name, name.clone());
                return Err(OperatorError::UnknownInput { operator, input, expected: expected() });
            }
            if let Some(index) = array.values.iter().position(|value| !value.is_finite()) {
                return Err(OperatorError::NotFinite { operator: operator.name, input: name.clone(), index });
            }
        }
        Ok(Self { operator: operator.name, inputs, keys })
    }

    /// An input that [`Call::new`] made sure of.
    pub(super) fn input(&self, name: &str) -> &Array {
        &self.inputs[name]
    }

    /// An input that may be missing.
    pub(super) fn optional(&self, name: &str) -> Option<&Array> {
        self.inputs.get(name)
    }

    /// The value of a key, read as a `T` for which `valid` holds; `expected` says so in words.
    pub(super) fn key<T: FromStr>(
        &self,
        key: &'static str,
        expected: &str,
        valid: impl Fn(&T) -> bool,
    ) -> Result<T, OperatorError> {
        let value = self.keys.get(key).ok_or(OperatorError::MissingKey { operator: self.operator, key })?;
        value.parse().ok().filter(|value| valid(value)).ok_or_else(|| self.wrong(key, expected, value))
    }

    /// The value of a key without a default, if it was given.
    pub(super) fn optional_key(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Bits of a code.
    pub(super) fn bits(&self, least: u32) -> Result<u32, OperatorError> {
        let expected = format!("a whole number from {least} to 24");
        self.key("bits", &expected, |bits: &u32| (least..=24).contains(bits))
    }

    pub(super) fn wrong(&self, key: &str, expected: &str, found: &str) -> OperatorError {
        let (operator, key) = (self.operator, key.to_string());
        OperatorError::Value { operator, key, expected: expected.to_string(), found: found.to_string() }
    }

    pub(super) fn wrong_shape(&self, input: &'static str, expected: impl ToString) -> OperatorError {
        let found = self.input(input).shape.clone();
        OperatorError::Shape { operator: self.operator, input, found, expected: expected.to_string() }
    }

    /// Fails unless `input` has the shape of `like`.
    pub(super) fn check_same_shape(&self, input: &'static str, like: &str) -> Result<(), OperatorError> {
        let expected = &self.input(like).shape;
        match self.input(input).shape == *expected {
            true => Ok(()),
            false => Err(self.wrong_shape(input, format!("{expected:?}, the shape of {like}"))),
        }
    }

    /// The sizes of an input that must have this many axes; `expected` shows them.
    pub(super) fn shape<const D: usize>(
        &self,
        input: &'static str,
        expected: &str,
    ) -> Result<[usize; D], OperatorError> {
        self.input(input).shape.as_slice().try_into().map_err(|_| self.wrong_shape(input, expected))
    }

    /// Fails unless `input` has these sizes.
    pub(super) fn check_shape(&self, input: &'static str, expected: &[usize]) -> Result<(), OperatorError> {
        match self.input(input).shape == expected {
            true => Ok(()),
            false => Err(self.wrong_shape(input, format!("{expected:?}"))),
        }
    }

    /// Fails unless every value of an input that is there lies strictly between 0 and 1.
    pub(super) fn check_uniform(&self) -> Result<(), OperatorError> {
        let values = self.optional("uniform").map_or(&[][..], |uniform| &uniform.values);
        match values.iter().find(|value| !(**value > 0.0 && **value < 1.0)) {
            None => Ok(()),
            Some(value) => Err(self.wrong("uniform", "strictly between 0 and 1", &value.to_string())),
        }
    }

    /// `uniform` as a plain tensor, if it is there; it must have the shape of `like`.
    pub(super) fn uniform<const D: usize>(
        &self,
        like: &'static str,
        shape: [usize; D],
    ) -> Result<Option<Tensor<D>>, OperatorError> {
        if self.optional("uniform").is_some() {
            self.check_same_shape("uniform", like)?;
            self.check_uniform()?;
        }
        Ok(self.optional("uniform").map(|_| self.constant("uniform", shape)))
    }

    /// A number above 0.
    pub(super) fn positive(&self, key: &'static str) -> Result<f32, OperatorError> {
        self.key(key, "a number above 0", |value: &f32| *value > 0.0 && value.is_finite())
    }

    /// A finite number.
    pub(super) fn number(&self, key: &'static str) -> Result<f32, OperatorError> {
        self.key(key, "a finite number", |value: &f32| value.is_finite())
    }

    /// True or false.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, OperatorError> {
        self.key(key, "true or false", |_: &bool| true)
    }

    /// The place of a word among the allowed ones.
    pub(super) fn word(&self, key: &'static str, words: &[&str]) -> Result<usize, OperatorError> {
        let expected = format!("one of {}", words.join(", "));
        let word: String = self.key(key, &expected, |word: &String| words.contains(&word.as_str()))?;
        Ok(words.iter().position(|known| *known == word).expect("checked above"))
    }

    /// The surrogate that the keys `surrogate`, `beta` and `t` name.
    pub(super) fn surrogate(&self) -> Result<Surrogate, OperatorError> {
        let name = Surrogate::NAMES[self.word("surrogate", &Surrogate::NAMES)?];
        Ok(match name {
            "identity" => Surrogate::Identity,
            "clipped" => Surrogate::Clipped,
            "relu" => Surrogate::Relu,
            "approx_sign" => Surrogate::ApproxSign,
            "tanh" => Surrogate::Tanh,
            "swish_sign" => Surrogate::SwishSign { beta: self.positive("beta")? },
            _ => Surrogate::Ede { t: self.positive("t")? },
        })
    }

    /// Fails unless every value of `input` is above 0.
    pub(super) fn check_positive(&self, input: &'static str) -> Result<(), OperatorError> {
        match self.input(input).values.iter().find(|value| **value <= 0.0) {
            None => Ok(()),
            Some(value) => Err(self.wrong(input, "above 0", &value.to_string())),
        }
    }

    /// How `x` shares the values of `scale`: its sizes before, along and after the axis.
    pub(super) fn channels(&self) -> Result<[usize; 3], OperatorError> {
        let (x, scale) = (self.input("x"), self.input("scale"));
        let count = x.values.len();
        if scale.shape == [1] && !self.optional_key("axis") {
            return Ok([1, 1, count]);
        }
        let rank = x.shape.len();
        let axis: usize = self.key("axis", &format!("an axis of x, below {rank}"), |axis: &usize| *axis < rank)?;
        let size = x.shape[axis];
        if scale.shape == [1] {
            return Ok([1, 1, count]);
        }
        if scale.shape != [size] || size == 0 {
            return Err(self.wrong_shape("scale", format!("[1] or [{size}], one a index of axis {axis} of x")));
        }
        Ok([x.shape[..axis].iter().product(), size, x.shape[axis + 1..].iter().product()])
    }

    /// An input as a leaf of the gradient tape, in any shape with as many values.
    pub(super) fn leaf<const D: usize>(&self, input: &str, shape: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(self.input(input).values.clone(), shape);
        Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
    }

    /// An input as a plain tensor, in any shape with as many values.
    pub(super) fn constant<const D: usize>(&self, input: &str, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.input(input).values.clone(), shape), &Device::flex())
    }

    /// Gradients of `y` with upstream gradient `grad`.
    pub(super) fn backward<const D: usize>(&self, y: &Tensor<D>) -> Gradients {
        (y.clone() * self.constant("grad", y.dims())).sum().backward()
    }

    /// Output `y`, in the shape of the first of these inputs, and the gradients of them.
    pub(super) fn outputs<const D: usize>(&self, y: Tensor<D>, gradients: Vec<(&str, Vec<f32>)>) -> Outputs {
        let shape = self.input(gradients[0].0).shape.clone();
        let mut outputs = Outputs::from([("y".to_string(), Output::Float(Array { shape, values: floats(y.inner()) }))]);
        for (input, values) in gradients {
            let shape = self.input(input).shape.clone();
            outputs.insert(format!("grad_{input}"), Output::Float(Array { shape, values }));
        }
        outputs
    }

    /// Runs a function of `input` alone, which does not look at its shape, forward and backward.
    pub(super) fn unary(
        &self,
        input: &'static str,
        function: impl Fn(Tensor<1>) -> Tensor<1>,
    ) -> Result<Outputs, OperatorError> {
        self.check_same_shape("grad", input)?;
        let x = self.leaf(input, [self.input(input).values.len()]);
        let y = function(x.clone());
        let gradients = self.backward(&y);
        Ok(self.outputs(y, vec![(input, gradient(&x, &gradients))]))
    }

    /// Runs a function of the rows of `input` `[n, size]`, forward and backward.
    pub(super) fn rows(
        &self,
        input: &'static str,
        function: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Result<Outputs, OperatorError> {
        let shape = self.shape(input, "[n, size]")?;
        self.check_same_shape("grad", input)?;
        let x = self.leaf(input, shape);
        let y = function(x.clone());
        let gradients = self.backward(&y);
        Ok(self.outputs(y, vec![(input, gradient(&x, &gradients))]))
    }
}

/// The gradient of a leaf.
pub(super) fn gradient<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    leaf.grad(gradients).map(floats).unwrap_or_else(|| vec![0.0; leaf.shape().num_elements()])
}

/// Values row by row.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("operators give f32 tensors")
}
