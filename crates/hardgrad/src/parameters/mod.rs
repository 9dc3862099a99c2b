//! Names, values and gradients of a module's parameters, in the order of its fields.
//!
//! A parameter is named by the path of its fields, `blocks.0.convolution.weight`; what an enum's variant is called does
//! not appear in it. Running statistics (of batch norm, of ranges) are parameters too, but not trainable. What a
//! parameter is for is its [`Role`].

mod path;
mod role;

pub(crate) use path::Path;
pub use role::{Role, roles};

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use thiserror::Error;

use crate::flex::{primitive, tensor, values};

/// One parameter: name, shape, values row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Path of fields from the module.
    pub name: String,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Values, row by row.
    pub values: Vec<f32>,
    /// True if it gets gradients.
    pub trainable: bool,
}

/// Parameters that do not belong to the module they are loaded into.
#[derive(Debug, Error, PartialEq)]
pub enum ParameterError {
    /// The module has a parameter that was not given.
    #[error("parameter {name} is missing; the file belongs to another network")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A parameter was given that the module does not have.
    #[error("parameter {name} is not part of this network; the file belongs to another network")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A parameter has another shape than the module's.
    #[error(
        "parameter {name} has shape {found:?}, the network needs {expected:?}; the file belongs to another network"
    )]
    Shape {
        /// Its name.
        name: String,
        /// The shape that was given.
        found: Vec<usize>,
        /// The shape of the module's parameter.
        expected: Vec<usize>,
    },
}

/// All parameters with their values.
pub fn read<M: Module>(module: &M) -> Vec<Parameter> {
    struct Read {
        path: Path,
        out: Vec<Parameter>,
    }
    impl ModuleVisitor for Read {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let base = parameter.base();
            self.out.push(Parameter {
                name: self.path.name(),
                shape: base.dims().to_vec(),
                values: values(&base).to_vec(),
                trainable: parameter.is_require_grad(),
            });
        }
    }
    let mut visitor = Read { path: Path::default(), out: Vec::new() };
    module.visit(&mut visitor);
    visitor.out
}

/// The module with its parameters replaced by those of the same name.
pub fn write<M: Module>(module: M, parameters: Vec<Parameter>) -> Result<M, ParameterError> {
    let mut given: BTreeMap<String, Parameter> =
        parameters.into_iter().map(|parameter| (parameter.name.clone(), parameter)).collect();
    let known = read(&module);
    for expected in &known {
        let name = &expected.name;
        match given.get(name) {
            None => return Err(ParameterError::Missing { name: name.clone() }),
            Some(parameter) if parameter.shape != expected.shape => {
                let (found, expected) = (parameter.shape.clone(), expected.shape.clone());
                return Err(ParameterError::Shape { name: name.clone(), found, expected });
            }
            Some(_) => {}
        }
    }
    if let Some(name) = given.keys().find(|name| known.iter().all(|parameter| parameter.name != **name)) {
        return Err(ParameterError::Unknown { name: name.clone() });
    }
    Ok(update(module, |name, _, target| {
        if let Some(parameter) = given.remove(name) {
            target.copy_from_slice(&parameter.values);
        }
    }))
}

/// The module after `change(name, id, values)` of each parameter; values are changed in place where nothing shares
/// them.
pub fn update<M: Module>(module: M, change: impl FnMut(&str, ParamId, &mut [f32])) -> M {
    update_some(module, |_| true, change)
}

/// As [`update`], for the parameters that are `wanted` by their names; the others are not touched, nor copied.
pub fn update_some<M: Module>(
    module: M,
    wanted: impl Fn(&str) -> bool,
    change: impl FnMut(&str, ParamId, &mut [f32]),
) -> M {
    struct Update<W, F> {
        path: Path,
        wanted: W,
        change: F,
    }
    impl<W: Fn(&str) -> bool, F: FnMut(&str, ParamId, &mut [f32])> ModuleMapper for Update<W, F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (name, id) = (self.path.name(), parameter.id);
            if !(self.wanted)(&name) {
                return parameter;
            }
            parameter.map(|tensor| in_place(tensor, |values| (self.change)(&name, id, values)))
        }
    }
    module.map(&mut Update { path: Path::default(), wanted, change })
}

/// Gradients of a module's parameters by their names, after a backward pass; parameters without a gradient have none.
pub fn gradients<M: Module>(module: &M, gradients: &mut GradientsParams) -> Vec<(String, Vec<f32>)> {
    struct Take<'a> {
        path: Path,
        gradients: &'a mut GradientsParams,
        out: Vec<(String, Vec<f32>)>,
    }
    impl ModuleVisitor for Take<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(parameter.id) {
                self.out.push((self.path.name(), into_values(gradient)));
            }
        }
    }
    let mut visitor = Take { path: Path::default(), gradients, out: Vec::new() };
    module.visit(&mut visitor);
    visitor.out
}

/// The way back: gradients by parameter name, of the module's shapes, for Burn's optimizers.
///
/// # Panics
/// If a name or a size is not that of a parameter.
pub fn gradients_params<M: Module>(
    module: &M,
    gradients: impl IntoIterator<Item = (String, Vec<f32>)>,
) -> GradientsParams {
    struct Put {
        path: Path,
        gradients: BTreeMap<String, Vec<f32>>,
        out: GradientsParams,
    }
    impl ModuleVisitor for Put {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove(&self.path.name()) {
                self.out.register(parameter.id, tensor::<D>(gradient, parameter.base().dims()));
            }
        }
    }
    let gradients = gradients.into_iter().collect();
    let mut visitor = Put { path: Path::default(), gradients, out: GradientsParams::new() };
    module.visit(&mut visitor);
    let stranger = visitor.gradients.into_keys().next();
    assert!(stranger.is_none(), "there is a gradient for {stranger:?}, but the module has no such parameter");
    visitor.out
}

/// The values of a tensor, without a copy where nothing else holds them.
fn into_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("hardgrad's gradients are f32")
}

/// The tensor after `change`, with the same place among leaves: it requires gradients if it did before.
fn in_place<const D: usize>(old: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let (shape, tracked, trainable) = (old.dims(), old.is_autodiff(), old.is_require_grad());
    let mut inner = primitive(old);
    let count: usize = shape.iter().product();
    let whole =
        inner.layout().contiguous_offsets() == Some((0, count)) && inner.bytes().len() == count * size_of::<f32>();
    let new = match inner.try_storage_mut::<f32>().filter(|_| whole) {
        Some(values) => {
            change(values);
            Tensor::from_primitive::<burn::backend::Flex>(inner)
        }
        None => {
            let mut copy = values(&Tensor::<D>::from_primitive::<burn::backend::Flex>(inner)).to_vec();
            change(&mut copy);
            tensor(copy, shape)
        }
    };
    if tracked { Tensor::from_inner(new).set_require_grad(trainable) } else { new }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    fn layer() -> Linear {
        LinearConfig::new(2, 3).init(&Device::flex().autodiff())
    }

    #[test]
    fn values_written_are_values_read_and_still_train() {
        let mut parameters = read(&layer());
        assert_eq!(parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["weight", "bias"]);
        for (index, value) in parameters.iter_mut().flat_map(|p| p.values.iter_mut()).enumerate() {
            *value = index as f32;
        }
        let module = write(layer(), parameters.clone()).unwrap();
        assert_eq!(read(&module), parameters);
        let x = Tensor::<2>::ones([1, 2], &Device::flex());
        let mut found = GradientsParams::from_grads(module.forward(x).sum().backward(), &module);
        let found = gradients(&module, &mut found);
        assert_eq!(found, [("weight".into(), vec![1.0; 6]), ("bias".into(), vec![1.0; 3])]);
        let mut back = gradients_params(&module, found.clone());
        assert_eq!(gradients(&module, &mut back), found);
    }

    #[test]
    fn parameters_of_another_network_are_named() {
        let parameters = read(&layer());
        let error = write(layer(), parameters[..1].to_vec()).unwrap_err();
        assert_eq!(error, ParameterError::Missing { name: "bias".into() });
        let mut more = parameters.clone();
        more.push(Parameter { name: "extra".into(), ..parameters[0].clone() });
        assert_eq!(write(layer(), more).unwrap_err(), ParameterError::Unknown { name: "extra".into() });
        let mut other = parameters;
        other[0].shape = vec![3, 2];
        assert!(matches!(write(layer(), other).unwrap_err(), ParameterError::Shape { name, .. } if name == "weight"));
    }
}
