use std::collections::BTreeMap;
use std::str::FromStr;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use hardgrad::Surrogate;

use super::key::{Key, Values};
use super::{Operator, OperatorError, Outputs};
use crate::train::step::tensor_gradients;

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
    keys: Values,
}

impl Call {
    pub(super) fn new(
        operator: &Operator,
        inputs: BTreeMap<String, Array>,
        keys: Values,
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

    /// The value of a key with what it must be.
    pub(super) fn text(&self, key: &'static str) -> Result<(&str, &Key), OperatorError> {
        match self.keys.get(key) {
            Some((declared, Some(value))) => Ok((value.as_str(), declared)),
            Some((_, None)) | None => Err(OperatorError::MissingKey { operator: self.operator, key }),
        }
    }

    /// Whether a key has a value.
    fn has(&self, key: &'static str) -> bool {
        self.text(key).is_ok()
    }

    /// The value of a key that is a number, rounded to a `T`.
    pub(super) fn number<T: FromStr + Copy + Into<f64>>(&self, key: &'static str) -> Result<T, OperatorError> {
        let (value, declared) = self.text(key)?;
        let number = value.parse::<T>().ok().filter(|number| declared.holds((*number).into()));
        number.ok_or_else(|| self.wrong(key, &declared.expected, value))
    }

    /// The value of a key that is true or false.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, OperatorError> {
        Ok(self.text(key)?.0 == "true")
    }

    /// What the word of a key names.
    pub(super) fn word<T>(&self, key: &'static str, by_name: fn(&str) -> Option<T>) -> Result<T, OperatorError> {
        let (word, declared) = self.text(key)?;
        by_name(word).ok_or_else(|| self.wrong(key, &declared.expected, word))
    }

    /// The surrogate of the keys that [`Key::surrogate`] makes.
    pub(super) fn surrogate(&self) -> Result<Surrogate, OperatorError> {
        let surrogate = self.word("surrogate", Surrogate::by_name)?;
        match surrogate.sharpness() {
            Some(sharpness) => Ok(surrogate.with_sharpness(self.number(sharpness.key)?)),
            None => Ok(surrogate),
        }
    }

    pub(super) fn wrong(&self, key: &str, expected: &str, found: &str) -> OperatorError {
        let (operator, key) = (self.operator, key.to_string());
        OperatorError::Value { operator, key, expected: expected.to_string(), found: found.to_string() }
    }

    pub(super) fn useless(&self, key: &'static str, with: &str) -> OperatorError {
        OperatorError::UselessKey { operator: self.operator, key, with: with.to_string() }
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
        if scale.shape == [1] && !self.has("axis") {
            return Ok([1, 1, count]);
        }
        let axis = self.number::<u32>("axis")? as usize;
        let Some(&size) = x.shape.get(axis) else {
            return Err(self.wrong("axis", &format!("an axis of x, below {}", x.shape.len()), &axis.to_string()));
        };
        if scale.shape == [1] && size != 1 {
            return Err(self.useless("axis", "one scale"));
        }
        if scale.shape != [size] || size == 0 {
            return Err(self.wrong_shape("scale", format!("[{size}], one for each index of axis {axis} of x")));
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
        tensor_gradients((y.clone() * self.constant("grad", y.dims())).sum())
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

    /// An output that no float holds, with the likely mend: to change the input or key that is furthest from 1.
    ///
    /// What multiplies is large. What divides is small: the least of values that are all above 0 (a scale), or a whole input (a
    /// direction), but no gradient from above.
    pub(super) fn overflow(&self, output: String) -> OperatorError {
        let inputs = self.inputs.iter().flat_map(|(name, array)| {
            let sizes = || array.values.iter().map(|value| value.abs()).filter(|size| *size > 0.0);
            let largest = sizes().fold(0.0, f32::max);
            let least = match array.values.iter().all(|value| *value > 0.0) {
                true => sizes().fold(largest, f32::min),
                false => largest,
            };
            let divides = least > 0.0 && least < 1.0 && !name.starts_with("grad");
            let sizes = [(largest > 1.0).then_some(largest), divides.then_some(least)];
            sizes.into_iter().flatten().map(move |size| (name.as_str(), f64::from(size), format!("{size:e}")))
        });
        let keys = self.keys.iter().filter_map(|(name, (_, value))| {
            let value = value.as_ref()?;
            Some((*name, value.parse::<f64>().ok()?.abs(), value.clone()))
        });
        let distance = |size: f64| size.ln().abs();
        let furthest = inputs
            .chain(keys)
            .filter(|(_, size, _)| *size > 0.0)
            .max_by(|(_, a, _), (_, b, _)| distance(*a).total_cmp(&distance(*b)));
        let mend = match furthest {
            Some((name, size, value)) if size < 1.0 => format!("make {name} larger, it goes down to {value}"),
            Some((name, _, value)) => format!("make {name} smaller, it goes up to {value}"),
            None => "check the inputs".to_string(),
        };
        OperatorError::Overflow { operator: self.operator, output, mend }
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

#[cfg(test)]
mod tests {
    use super::super::key;
    use super::*;

    type Input<'a> = (&'a str, &'a [f32]);

    fn mend(inputs: &[Input<'_>], keys: &[&str]) -> String {
        let inputs = inputs.iter().map(|(name, values)| {
            let array = Array { shape: vec![values.len()], values: values.to_vec() };
            (name.to_string(), array)
        });
        let pairs: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let keys = key::read("some", &[Key::positive("tau")], &pairs).unwrap();
        Call { operator: "some", inputs: inputs.collect(), keys }.overflow("y".to_string()).to_string()
    }

    #[test]
    fn an_overflow_names_what_is_furthest_from_one() {
        let cases: [(&[Input<'_>], &[&str], &str); 5] = [
            (&[("x", &[3.0, -1e-41]), ("scale", &[1.0, 1e-42])], &[], "make scale larger, it goes down to 1e-42"),
            (&[("x", &[-3e38, 1e-41]), ("scale", &[0.5])], &[], "make x smaller, it goes up to 3e38"),
            (&[("x", &[1e-42, -2e-42]), ("grad", &[1e-45])], &[], "make x larger, it goes down to 2e-42"),
            (&[("x", &[5.0]), ("grad", &[-1e-45])], &["tau=1e-30"], "make tau larger, it goes down to 1e-30"),
            (&[("x", &[0.0]), ("grad", &[0.0])], &[], "check the inputs"),
        ];
        for (inputs, keys, expected) in cases {
            assert_eq!(mend(inputs, keys), format!("some: y is not finite in float32; {expected}"));
        }
    }
}
