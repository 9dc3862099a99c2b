//! Weights that were trained elsewhere, put into a network.

use std::path::Path;

use hardgrad::network::Network;
use hardgrad::parameters::{self, Parameter};
use hardgrad_runtime::{Description, Op};
use safetensors::tensor::TensorView;
use serde::Serialize;

use super::error::ModelError;
use super::rename::Rename;
use super::safetensors_file::{tensors, values};
use crate::config::changes::one_line;
use crate::{LabError, files};

/// What became of the tensors of a file of weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Parameters of the network that have their values from the file.
    pub loaded: Vec<String>,
    /// Parameters that keep the values with which the network begins, because the rename file says so.
    pub missing: Vec<String>,
    /// Tensors of the file that the network has no place for, under their names there.
    pub left_over: Vec<String>,
}

/// Puts the tensors of a safetensors file into a float network.
///
/// Names are those of PyTorch modules that are called as the nodes, after those of the `rename` file: `conv1.weight`,
/// `conv1.bias`, `norm1.weight`, `norm1.bias`, `norm1.running_mean`, `norm1.running_var`; a class token and a position
/// embedding have the name of their node. Shapes are PyTorch's, too: a linear weight is `[outputs, inputs]`, or
/// `[outputs, channels, height, width]` of a convolution over patches. Values are float32, float16, bfloat16 or
/// float64. How many batches a batch norm has seen is not read.
///
/// # Errors
/// If the file is none of tensors, if it lacks a parameter that the rename file does not let go, if a shape or a kind
/// does not fit, or if a value is not finite.
pub fn import(network: Network, file: &Path, rename: Option<&Path>) -> Result<(Network, Imported), LabError> {
    let rename = rename.map(Rename::read).transpose()?.unwrap_or_default();
    let bytes = files::read(file)?;
    let weights = |problem: String| ModelError::Weights { path: file.to_path_buf(), problem: one_line(&problem) };
    let mut tensors = tensors(&bytes).map_err(weights)?;
    tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let mut given = rename.apply(tensors)?;

    let mut parameters = parameters::read(&network);
    let places = parameters.iter().flat_map(|parameter| Place::of(&parameter.name, network.description()).names());
    rename.check_names(&places.collect::<Vec<_>>())?;
    let (mut found, mut missing) = (Imported::default(), Vec::new());
    for parameter in &mut parameters {
        let name = parameter.name.clone();
        let place = Place::of(&name, network.description());
        if place.names().iter().any(|name| rename.keeps(name)) {
            found.missing.push(name);
            continue;
        }
        let Some((theirs, tensor)) = place.names().iter().find_map(|name| given.remove(name)) else {
            // Under the name that the file is to have.
            missing.extend(place.names().into_iter().next());
            continue;
        };
        place.fill(parameter, &theirs, &tensor, file)?;
        found.loaded.push(name);
    }
    found.left_over = given.into_values().map(|(theirs, _)| theirs).collect();
    if !missing.is_empty() {
        let (path, left_over) = (file.to_path_buf(), found.left_over);
        return Err(ModelError::Missing { path, missing, left_over }.into());
    }
    let problem = |problem| LabError::Parameters { path: file.to_path_buf(), problem };
    Ok((parameters::write(network, parameters).map_err(problem)?, found))
}

/// Where a parameter stands in the network.
struct Place<'a> {
    node: &'a str,
    field: &'a str,
    op: Option<&'a Op>,
}

impl<'a> Place<'a> {
    fn of(parameter: &'a str, description: &'a Description) -> Self {
        let (node, field) = parameter.rsplit_once('.').unwrap_or((parameter, ""));
        let op = description.place(node).map(|place| &description.nodes[place].op);
        Self { node, field, op }
    }

    /// The names under which a file may have the parameter; the first is PyTorch's.
    fn names(&self) -> Vec<String> {
        let Self { node, field, op } = self;
        let theirs = match (op, *field) {
            (Some(Op::BatchNorm(_) | Op::LayerNorm(_)), "gamma") => format!("{node}.weight"),
            (Some(Op::BatchNorm(_) | Op::LayerNorm(_)), "beta") => format!("{node}.bias"),
            (Some(Op::BatchNorm(_)), "running_variance") => format!("{node}.running_var"),
            (Some(Op::ClassToken(_) | Op::PositionEmbedding(_)), _) => node.to_string(),
            _ => String::new(),
        };
        [theirs, format!("{node}.{field}")].into_iter().filter(|name| !name.is_empty()).collect()
    }

    /// Takes the values of the tensor `theirs`, in the order of the parameter's own layout.
    fn fill(
        &self,
        parameter: &mut Parameter,
        theirs: &str,
        tensor: &TensorView<'_>,
        file: &Path,
    ) -> Result<(), ModelError> {
        let found = tensor.shape();
        let (expected, fits) = match (self.op, &parameter.shape[..]) {
            (Some(Op::Linear(_)), &[inputs, outputs]) => {
                // The values of a patch are in the order of a kernel that covers it: channel, row, column.
                let flat = |rest: &[usize]| rest.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
                let fits = found.split_first().is_some_and(|(&first, rest)| {
                    first == outputs && matches!(rest.len(), 1 | 3) && flat(rest) == Some(inputs)
                });
                (vec![outputs, inputs], fits)
            }
            (Some(Op::ClassToken(_) | Op::PositionEmbedding(_)), shape) => {
                // PyTorch's have an axis for the batch, or for the one token, in front.
                let extra = found.len().saturating_sub(shape.len());
                (shape.to_vec(), found.ends_with(shape) && found[..extra].iter().all(|&size| size == 1))
            }
            (_, shape) => (shape.to_vec(), found == shape),
        };
        if !fits {
            let name = &parameter.name;
            let tensor = if theirs == name { name.clone() } else { format!("{} (for {name})", one_line(theirs)) };
            return Err(ModelError::Shape { path: file.to_path_buf(), tensor, found: found.to_vec(), expected });
        }
        let values = values(tensor).map_err(|problem| ModelError::Weights {
            path: file.to_path_buf(),
            problem: format!("{} {problem}", one_line(theirs)),
        })?;
        if self.field == "running_variance" && values.iter().any(|value| *value < 0.0) {
            let problem = format!("{} has values below 0, and is a variance; give the right tensor", one_line(theirs));
            return Err(ModelError::Weights { path: file.to_path_buf(), problem });
        }
        parameter.values = match (self.op, &parameter.shape[..]) {
            (Some(Op::Linear(_)), &[inputs, outputs]) => turned(&values, inputs, outputs),
            _ => values,
        };
        Ok(())
    }
}

/// A weight `[outputs, inputs]` as `[inputs, outputs]`.
fn turned(values: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    (0..inputs).flat_map(|input| (0..outputs).map(move |output| values[output * inputs + input])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::Device;
    use safetensors::tensor::Dtype;

    use super::*;
    use crate::models::parse_description;

    const NETWORK: &str = r#"
        [input]
        shape = [2, 4, 4]

        [[node]]
        name = "conv1"
        op = "conv2d"
        channels = 3
        kernel = 3
        padding = 1
        bias = false

        [[node]]
        name = "norm1"
        op = "batch_norm"

        [[node]]
        name = "patches"
        op = "patches"
        size = 2

        [[node]]
        name = "embedding"
        op = "linear"
        outputs = 5

        [[node]]
        name = "position"
        op = "position_embedding"

        [[node]]
        name = "norm"
        op = "layer_norm"

        [[node]]
        name = "mean"
        op = "global_mean"

        [[node]]
        name = "output"
        op = "linear"
        outputs = 2
    "#;

    fn network() -> Network {
        Network::new(&parse_description(NETWORK, "x").unwrap(), 7, &Device::flex()).unwrap()
    }

    /// Values that tell a tensor and a place.
    fn counted(first: usize, count: usize) -> Vec<f32> {
        (first..first + count).map(|value| value as f32).collect()
    }

    type Tensor = (&'static str, Vec<usize>);

    /// What PyTorch's network of this kind has.
    fn theirs() -> Vec<Tensor> {
        vec![
            ("conv1.weight", vec![3, 2, 3, 3]),
            ("norm1.weight", vec![3]),
            ("norm1.bias", vec![3]),
            ("norm1.running_mean", vec![3]),
            ("norm1.running_var", vec![3]),
            ("norm1.num_batches_tracked", vec![1]),
            ("embedding.weight", vec![5, 3, 2, 2]),
            ("embedding.bias", vec![5]),
            ("position", vec![1, 4, 5]),
            ("norm.weight", vec![5]),
            ("norm.bias", vec![5]),
            ("output.weight", vec![2, 5]),
            ("output.bias", vec![2]),
        ]
    }

    fn write(folder: &Path, tensors: &[Tensor]) -> std::path::PathBuf {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .enumerate()
            .map(|(place, (_, shape))| {
                counted(100 * place, shape.iter().product()).iter().flat_map(|value| value.to_le_bytes()).collect()
            })
            .collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape), bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let path = folder.join("weights.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }

    fn refused(tensors: &[Tensor], names: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let rename = names.map(|text| {
            let path = folder.path().join("names.txt");
            std::fs::write(&path, text).unwrap();
            path
        });
        import(network(), &write(folder.path(), tensors), rename.as_deref()).unwrap_err().to_string()
    }

    #[test]
    fn tensors_of_pytorch_take_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let mut tensors = theirs();
        tensors.push(("head.weight", vec![2]));
        let (network, imported) = import(network(), &write(folder.path(), &tensors), None).unwrap();
        assert_eq!((imported.loaded.len(), imported.missing.len()), (12, 0));
        assert_eq!(imported.left_over, ["head.weight"]);
        let found: BTreeMap<String, Vec<f32>> =
            parameters::read(&network).into_iter().map(|parameter| (parameter.name, parameter.values)).collect();
        assert_eq!(found["conv1.weight"], counted(0, 54));
        assert_eq!(found["norm1.gamma"], counted(100, 3));
        assert_eq!(found["norm1.running_mean"], counted(300, 3));
        assert_eq!(found["norm1.running_variance"], counted(400, 3));
        assert_eq!(found["position.embedding"], counted(800, 20));
        assert_eq!(found["norm.beta"], counted(1000, 5));
        // Turned: the first row has the first input of each output.
        assert_eq!(
            found["output.weight"],
            [1100.0, 1105.0, 1101.0, 1106.0, 1102.0, 1107.0, 1103.0, 1108.0, 1104.0, 1109.0]
        );
        assert_eq!(found["embedding.weight"][..6], [600.0, 612.0, 624.0, 636.0, 648.0, 601.0]);
    }

    #[test]
    fn names_of_others_are_changed_and_parts_may_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut tensors = theirs();
        tensors.retain(|(name, _)| !name.starts_with("output"));
        tensors[0].0 = "stem.0.weight";
        let names = folder.path().join("names.txt");
        std::fs::write(&names, "stem.0 conv1\n- output\n").unwrap();
        let (_, imported) = import(network(), &write(folder.path(), &tensors), Some(&names)).unwrap();
        assert_eq!(imported.missing, ["output.weight", "output.bias"]);
        assert!(imported.loaded.contains(&"conv1.weight".to_string()) && imported.left_over.is_empty());
        // Also where the file has such tensors, of any shape.
        let mut tensors = theirs();
        tensors[11].1 = vec![1000, 5];
        std::fs::write(&names, "- output\n").unwrap();
        let (_, imported) = import(network(), &write(folder.path(), &tensors), Some(&names)).unwrap();
        assert_eq!(imported.missing, ["output.weight", "output.bias"]);
        assert_eq!(imported.left_over, ["output.bias", "output.weight"]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_the_mend() {
        let mut tensors = theirs();
        tensors[0].0 = "stem.0.weight";
        let error = refused(&tensors, None);
        assert!(
            error.contains("it has no conv1.weight (and stem.0.weight that the network has no place for)"),
            "{error}"
        );
        assert!(refused(&tensors, Some("stem.1 conv1")).contains("names.txt:1: the file has no tensor stem.1"));
        let error = refused(&tensors, Some("stem.0 conv11"));
        assert!(error.contains("names.txt:1: the network has no conv11; did you mean conv1.weight?"), "{error}");
        tensors.retain(|(name, _)| !name.ends_with("running_var"));
        let error = refused(&tensors, Some("stem.0 conv1"));
        assert!(error.contains("it has no norm1.running_var;") && error.contains("`- norm1.running_var`"), "{error}");
        let error = refused(&tensors, Some("stem.0 conv1\n- norm1.running_var\n- output\n- nothing"));
        assert!(error.contains("names.txt:4: the network has no nothing"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), &theirs());
        let mut bytes = std::fs::read(&path).unwrap();
        // The values 400, 401 and 402 of the variance.
        let place = bytes.windows(4).position(|window| window == 401f32.to_le_bytes()).unwrap();
        bytes[place..place + 4].copy_from_slice(&(-1f32).to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = import(network(), &path, None).unwrap_err().to_string();
        assert!(error.contains("norm1.running_var has values below 0"), "{error}");
        let mut tensors = theirs();
        tensors[11].1 = vec![5, 2];
        let error = refused(&tensors, None);
        assert!(error.contains("output.weight has shape [5, 2], the network needs [2, 5]"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
