use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::Path;
use super::path::Field;

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Products with the inputs of a layer.
    Weight {
        /// The axis whose indices are the outputs.
        output_axis: usize,
    },
    /// Added to the outputs of a layer.
    Bias,
    /// Factor or shift of a normalisation.
    Norm,
    /// A learned range of a quantiser, or what else learns below a reparameterization.
    Range,
    /// Follows the data instead of a gradient: running statistics, extremes.
    Statistic,
    /// Learned tokens and positions.
    Embedding,
    /// None of these.
    Other,
}

/// The role of each parameter by its name.
///
/// Known are the layers of [`layers`](crate::layers) and of Burn, by the types that hold a parameter, wherever they are
/// in the module. In types that are not known, a `weight` of two or more axes is one (its outputs are the last of two
/// axes, else the first) and a `bias` is one; what else learns is [`Role::Other`].
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use hardgrad::parameters::{Role, roles};
///
/// let roles = roles(&LinearConfig::new(2, 3).init(&Device::flex()));
/// assert_eq!(roles["weight"], Role::Weight { output_axis: 1 });
/// assert_eq!(roles["bias"], Role::Bias);
/// ```
pub fn roles<M: Module>(module: &M) -> BTreeMap<String, Role> {
    struct Roles {
        path: Path,
        out: BTreeMap<String, Role>,
    }
    impl ModuleVisitor for Roles {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.out.insert(self.path.name(), self.path.role(D, learns(parameter)));
        }
    }
    let mut visitor = Roles { path: Path::default(), out: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.out
}

/// Whether a parameter gets gradients in training, also where the module is prepared for evaluation.
fn learns<const D: usize>(parameter: &Param<Tensor<D>>) -> bool {
    let base = parameter.base();
    if base.is_autodiff() { base.is_require_grad() } else { parameter.clone().train().base().is_require_grad() }
}

impl Role {
    /// The role of the parameter at the end of this path.
    pub(super) fn of(path: &[Field], rank: usize, learns: bool) -> Self {
        let of_data = if learns { Self::Other } else { Self::Statistic };
        if path.iter().any(|field| matches!(field.container.as_str(), "Reparameterization" | "Struct:Quantizer")) {
            return if learns { Self::Range } else { Self::Statistic };
        }
        let Some(Field { name, container }) = path.last() else { return of_data };
        match (container.strip_prefix("Struct:").unwrap_or_default(), name.as_str()) {
            ("QuantConv2d" | "Conv1d" | "Conv2d" | "Conv3d" | "DeformConv2d", "weight") => {
                Self::Weight { output_axis: 0 }
            }
            // Burn's layers of rows multiply from the right; its transposed convolutions begin with their inputs.
            (
                "QuantLinear" | "Linear" | "Embedding" | "ConvTranspose1d" | "ConvTranspose2d" | "ConvTranspose3d",
                "weight",
            ) => Self::Weight { output_axis: 1 },
            (_, "weight") if rank >= 2 => Self::Weight { output_axis: usize::from(rank == 2) },
            (_, "bias") => Self::Bias,
            ("BatchNorm" | "LayerNorm" | "GroupNorm" | "InstanceNorm" | "RmsNorm", "gamma" | "beta") => Self::Norm,
            ("ClassToken", "token") | ("PositionEmbedding", "embedding") => Self::Embedding,
            _ => of_data,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
    use burn::nn::{self, Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::layers::{
        BatchNorm, BatchNormConfig, ClassToken, ClassTokenConfig, LayerNorm, LayerNormConfig, PositionEmbedding,
        PositionEmbeddingConfig, QuantConv2d, QuantConv2dConfig, QuantLinear, QuantLinearConfig, QuantRelu,
    };
    use crate::quantize::{QuantizeWeights, QuantizerConfig, RangeMethod, StepClock};
    use crate::random::Random;

    #[derive(Module, Debug)]
    struct Ours {
        convolutions: Vec<QuantConv2d>,
        norm: BatchNorm,
        relu: QuantRelu,
        token: ClassToken,
        positions: PositionEmbedding,
        rows: LayerNorm,
        output: QuantLinear,
        temperature: Param<Tensor<1>>,
    }

    fn ours(device: &Device) -> Ours {
        let (random, clock) = (Random::new(0, 0, 0), StepClock::default());
        let weights = QuantizerConfig::weights(4);
        let seen = QuantizerConfig { range: RangeMethod::MinMax, delay: 2, ..QuantizerConfig::activations(4) };
        let convolution = QuantConv2dConfig::new([1, 2], [3, 3]).with_bias(true).init(&random, device);
        Ours {
            convolutions: vec![convolution.quantize(Some(&weights), Some(&seen), &clock).unwrap()],
            norm: BatchNormConfig::new(2).init(device),
            relu: QuantRelu::new().quantize(&QuantizerConfig::activations(4), &clock, device).unwrap(),
            token: ClassTokenConfig::new(4).init(&random, device),
            positions: PositionEmbeddingConfig::new(3, 4).init(&random, device),
            rows: LayerNormConfig::new(4).init(device),
            output: QuantLinearConfig::new(4, 2).init(&random, device),
            temperature: Param::from_tensor(Tensor::ones([1], device)),
        }
    }

    #[test]
    fn roles_of_our_layers_in_training_and_in_evaluation() {
        let expected = [
            ("convolutions.0.bias", Role::Bias),
            ("convolutions.0.input_quantizer.begun", Role::Statistic),
            ("convolutions.0.input_quantizer.range.extremes", Role::Statistic),
            ("convolutions.0.weight", Role::Weight { output_axis: 0 }),
            ("convolutions.0.weight.quantizer.range.scale.log", Role::Range),
            ("norm.beta", Role::Norm),
            ("norm.gamma", Role::Norm),
            ("norm.running_mean", Role::Statistic),
            ("norm.running_variance", Role::Statistic),
            ("output.bias", Role::Bias),
            ("output.weight", Role::Weight { output_axis: 1 }),
            ("positions.embedding", Role::Embedding),
            ("relu.quantizer.range.scale.log", Role::Range),
            ("rows.beta", Role::Norm),
            ("rows.gamma", Role::Norm),
            ("temperature", Role::Other),
            ("token.token", Role::Embedding),
        ];
        let expected: BTreeMap<String, Role> = expected.map(|(name, role)| (name.to_string(), role)).into();
        let training = ours(&Device::flex().autodiff());
        assert_eq!(roles(&training), expected);
        assert_eq!(roles(&training.valid()), expected);
        assert_eq!(roles(&ours(&Device::flex())), expected);
    }

    #[derive(Module, Debug)]
    struct Stock {
        convolution: Conv2d,
        norm: nn::BatchNorm,
        turned: ConvTranspose2d,
        output: Linear,
    }

    #[test]
    fn roles_of_stock_layers_quantised_or_not() {
        let device = Device::flex().autodiff();
        let stock = Stock {
            convolution: Conv2dConfig::new([1, 2], [3, 3]).init(&device),
            norm: nn::BatchNormConfig::new(2).init(&device),
            turned: ConvTranspose2dConfig::new([2, 3], [2, 2]).init(&device),
            output: LinearConfig::new(3, 4).init(&device),
        };
        let float = roles(&stock);
        for (name, role) in [
            ("convolution.weight", Role::Weight { output_axis: 0 }),
            ("norm.gamma", Role::Norm),
            ("norm.running_var", Role::Statistic),
            ("turned.weight", Role::Weight { output_axis: 1 }),
            ("output.weight", Role::Weight { output_axis: 1 }),
            ("output.bias", Role::Bias),
        ] {
            assert_eq!(float[name], role, "{name}");
        }
        let quantised = QuantizeWeights::new(QuantizerConfig::weights(2)).unwrap().apply(stock).unwrap();
        let quantised = roles(&quantised);
        assert!(float.iter().all(|(name, role)| quantised[name] == *role), "{quantised:?}");
        assert_eq!(quantised["turned.weight.quantizer.range.scale.log"], Role::Range);
    }

    /// Types that this crate has never heard of.
    #[derive(Module, Debug)]
    struct Foreign {
        weight: Param<Tensor<2>>,
        kernel: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
    }

    #[test]
    fn weights_of_unknown_layers_are_found_by_field_and_axes() {
        let device = Device::flex();
        let foreign = Foreign {
            weight: Param::from_tensor(Tensor::ones([2, 3], &device)),
            kernel: Param::from_tensor(Tensor::ones([2, 3], &device)),
            bias: Param::from_tensor(Tensor::ones([3], &device)),
        };
        let found = roles(&foreign);
        let expected = [("bias", Role::Bias), ("kernel", Role::Other), ("weight", Role::Weight { output_axis: 1 })];
        assert!(found.into_iter().eq(expected.map(|(name, role)| (name.to_string(), role))));
    }
}
