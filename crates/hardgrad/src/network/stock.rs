//! Parameters of a stock Burn module, moved by their names.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;

use super::Network;
use super::error::NetworkError;
use crate::parameters::{self, Parameter};
use crate::runtime::Description;

impl Network {
    /// The network of a description with the parameters of a module whose fields are called as the nodes are:
    /// `conv1.weight` of a [`Conv2d`](burn::nn::conv::Conv2d), [`Linear`](burn::nn::Linear),
    /// [`BatchNorm`](burn::nn::BatchNorm) or [`LayerNorm`](burn::nn::LayerNorm); a class token or position embedding is
    /// a parameter called as its node. The network can be quantised, trained and packed; the module stays as it is.
    /// What is no parameter, such as a stride or an epsilon, is as the description says.
    ///
    /// # Errors
    /// If the description is that of no network, or if a parameter is missing, left over or of another shape.
    ///
    /// ```
    /// use burn::module::Module;
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use hardgrad::network::Network;
    ///
    /// #[derive(Module, Debug)]
    /// struct Model {
    ///     output: Linear,
    /// }
    ///
    /// let device = Device::flex();
    /// let model = Model { output: LinearConfig::new(4, 2).init(&device) };
    /// let description = serde_json::from_str(
    ///     r#"{"input": {"shape": [4]}, "node": [{"name": "output", "op": "linear", "outputs": 2}]}"#,
    /// )?;
    /// let network = Network::from_module(&description, &model)?;
    /// let x = Tensor::<2>::ones([1, 4], &device);
    /// let (a, b) = (network.forward(x.clone()).into_data(), model.output.forward(x).into_data());
    /// a.assert_approx_eq::<f32>(&b, Default::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_module<M: Module>(description: &Description, module: &M) -> Result<Self, NetworkError> {
        let device = module.devices().into_iter().next().unwrap_or_else(Device::flex);
        let found = parameters::read(module);
        let device = if found.iter().any(|parameter| parameter.trainable) { device.autodiff() } else { device };
        let network = Self::new(description, 0, &device)?;
        let mut given: BTreeMap<String, Parameter> = found
            .into_iter()
            .map(|parameter| {
                let name = match parameter.name.strip_suffix(".running_var") {
                    // What Burn calls the running variance.
                    Some(node) => format!("{node}.running_variance"),
                    None => parameter.name.clone(),
                };
                (name.clone(), Parameter { name, ..parameter })
            })
            .collect();
        let mut moved = Vec::new();
        for own in parameters::read(&network) {
            let refuse = |problem: String| NetworkError::Parameter { parameter: own.name.clone(), problem };
            let parameter = given.remove(&own.name).or_else(|| given.remove(&token_name(&own.name)?));
            let parameter = parameter.ok_or_else(|| {
                refuse("the module has no such parameter; call its fields as the nodes are called".to_string())
            })?;
            // A token may have an axis for the batch.
            let extra = parameter.shape.len().saturating_sub(own.shape.len());
            if parameter.shape[extra..] != own.shape || parameter.shape[..extra].iter().any(|&size| size != 1) {
                return Err(refuse(format!(
                    "it has the shape {:?} in the module and {:?} in the description; give both the same sizes",
                    parameter.shape, own.shape
                )));
            }
            moved.push(Parameter { name: own.name, shape: own.shape, ..parameter });
        }
        if let Some(parameter) = given.into_keys().next() {
            let problem = "the description has no node for it; add the node, or leave the field out".to_string();
            return Err(NetworkError::Parameter { parameter, problem });
        }
        parameters::write(network, moved).map_err(|problem| NetworkError::Parameter {
            parameter: "parameters".to_string(),
            problem: problem.to_string(),
        })
    }
}

/// The name of a field that is itself a class token or a position embedding, from that of the node's parameter.
fn token_name(own: &str) -> Option<String> {
    own.strip_suffix(".token").or_else(|| own.strip_suffix(".embedding")).map(str::to_string)
}
