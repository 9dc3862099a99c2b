//! Which parameters are probed, and how wide.

use burn::module::{Module, ModuleVisitor, Param, Reparameterization};
use burn::tensor::Tensor;

use super::Smoothing;
use crate::parameters::Path;
use crate::quantize::{Quantizer, recorded};

/// A parameter that is moved by probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Perturbed {
    /// Its name, a path of fields.
    pub name: String,
    /// Its quantiser's step, in units of the parameter; the mean over the channels where each has its own.
    pub step: f32,
    /// The noise that belongs to its surrogate.
    pub smoothing: Smoothing,
}

/// The parameters of a module that a [`Quantizer`] quantises now (its delay is over), in the module's order.
///
/// Hard functions of your own are not known here: name their parameters as [`Perturbed`] yourself.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::quantize::{QuantizeWeights, QuantizerConfig, RangeMethod};
/// use hardgrad::zeroth_order::quantized;
///
/// let config = QuantizerConfig { range: RangeMethod::Fixed, fixed_scale: 0.5, ..QuantizerConfig::weights(2) };
/// let layer = LinearConfig::new(4, 3).init(&Device::flex());
/// let layer = QuantizeWeights::new(config).unwrap().apply(layer).unwrap();
/// let found = quantized(&layer);
/// assert_eq!((found.len(), found[0].name.as_str(), found[0].step), (1, "weight", 0.5));
/// ```
pub fn quantized<M: Module>(module: &M) -> Vec<Perturbed> {
    struct Names {
        path: Path,
        last: String,
        found: Vec<String>,
    }
    impl ModuleVisitor for Names {
        fn enter_module(&mut self, name: &str, container: &str) {
            // Burn shows a parameter first, then what reparameterizes it.
            if container == "Reparameterization" && name == Quantizer::NAME {
                self.found.push(self.last.clone());
            }
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.last = self.path.name();
        }
    }
    let mut names = Names { path: Path::default(), last: String::new(), found: Vec::new() };
    module.visit(&mut names);
    let steps = recorded(|| drop(module.valid().materialize()));
    assert_eq!(steps.len(), names.found.len(), "a module is visited and materialized in the same order");
    let steps = steps.into_iter().zip(names.found);
    let perturbed =
        |(step, name): (Option<f32>, String)| Some(Perturbed { name, step: step?, smoothing: Smoothing::round() });
    steps.filter_map(perturbed).collect()
}
