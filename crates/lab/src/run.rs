use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hardgrad::parameters::Parameter;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{self, FileError};
use crate::{Config, LabError, NetworkShape};

/// A folder that one execution of a recipe fills.
///
/// | file | content |
/// |---|---|
/// | `config.toml` | every setting |
/// | `metrics.csv` | a row an epoch |
/// | `checkpoints/` | what `--resume` continues from |
/// | `float.safetensors` | the network after the float stage |
/// | `model.safetensors` | the network after the quantised stage |
/// | `model.packed.safetensors` | the packed model, verified |
/// | `summary.json` | the table that training prints, for machines |
/// | `curve.svg` | loss and accuracy by epoch |
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Opens a run that exists.
    pub fn open(folder: &Path) -> Result<Self, LabError> {
        let run = Self { folder: folder.to_path_buf() };
        let missing = |problem: &str| LabError::NotARun { path: folder.to_path_buf(), problem: problem.to_string() };
        if !folder.is_dir() {
            return Err(missing("there is no such folder"));
        }
        if !run.config_path().is_file() {
            return Err(missing("config.toml is missing"));
        }
        Ok(run)
    }

    /// Makes the folder of a new run with its config; `replace` empties one that exists.
    pub fn create(folder: &Path, config: &Config, replace: bool) -> Result<Self, LabError> {
        let run = Self { folder: folder.to_path_buf() };
        if std::fs::symlink_metadata(folder).is_ok() {
            let empty = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
            if !empty && !replace {
                return Err(LabError::RunExists { path: folder.to_path_buf() });
            }
            if !empty {
                // Only a run may be deleted: --force must not empty somebody's home.
                Run::open(folder)?;
                std::fs::remove_dir_all(folder).map_err(|cause| FileError::new(folder, "replacing the run", cause))?;
            }
        }
        files::create_folder(&run.checkpoints())?;
        files::write_atomically(&run.config_path(), config.to_toml().as_bytes())?;
        Ok(run)
    }

    /// The first of `runs/NAME-1`, `runs/NAME-2`, ... that does not exist.
    pub fn next_folder(name: &str) -> PathBuf {
        (1u64..)
            .map(|number| Path::new("runs").join(format!("{name}-{number}")))
            .find(|folder| std::fs::symlink_metadata(folder).is_err())
            .unwrap_or_else(|| PathBuf::from("runs"))
    }

    /// The config with which the run was started.
    pub fn config(&self) -> Result<Config, LabError> {
        let path = self.config_path();
        let config = Config::from_toml(&files::read_text(&path)?, &path.display().to_string())?;
        config.check()?;
        Ok(config)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.folder.join("metrics.csv")
    }

    pub(crate) fn curve_path(&self) -> PathBuf {
        self.folder.join("curve.svg")
    }

    pub(crate) fn float_model_path(&self) -> PathBuf {
        self.folder.join("float.safetensors")
    }

    /// The network after the quantised stage.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    /// The packed model.
    pub fn packed_path(&self) -> PathBuf {
        self.folder.join("model.packed.safetensors")
    }

    /// The table for machines.
    pub fn summary_path(&self) -> PathBuf {
        self.folder.join("summary.json")
    }
}

/// What training prints at its end, and `summary.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the data set.
    pub data: String,
    /// True if the files of the set have their published checksums.
    pub data_verified: bool,
    /// Seed of the run.
    pub seed: u64,
    /// Float, post-training quantisation, quantisation-aware training.
    pub rows: Vec<Row>,
    /// Outputs of the packed model that equal the trained model's, and outputs compared; none if it could not be packed.
    pub verified: Option<[usize; 2]>,
    /// Why there is no packed model.
    pub not_packed: Option<String>,
    /// The run folder.
    pub folder: PathBuf,
}

/// One model of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub model: String,
    /// Bits of weights and activations between the first and the last layer.
    pub bits: [u32; 2],
    /// Share of held-out images that are classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Size of its file.
    pub bytes: u64,
    /// Time for one image, in microseconds, when the held-out set is classified on all threads.
    pub microseconds_per_image: f64,
    /// What computed the outputs: the packed model's integers, or float32.
    pub arithmetic: String,
}

/// Tensors with a JSON description, as `model.safetensors` and the checkpoints hold them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorFile<T> {
    /// What the tensors are.
    pub description: T,
    /// Name, shape and values.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// The description of a model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelDescription {
    /// The word that tells model files from others.
    pub format: String,
    /// Images and classes.
    pub shape: NetworkShape,
}

pub(crate) const MODEL_FORMAT: &str = "hardgrad model 1";

/// The key of the JSON description in a safetensors header.
const KEY: &str = "hardgrad";

/// The description as it stands in the header.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    description: T,
    /// Checksum of the description and of all names, shapes and values.
    sha256: String,
}

impl<T: Serialize + for<'a> Deserialize<'a>> TensorFile<T> {
    /// The file's bytes; the same tensors give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let values: Vec<(&str, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (name.as_str(), shape.as_slice(), bytes)
            })
            .collect();
        let sha256 =
            checksum(&self.description, values.iter().map(|(name, shape, bytes)| (*name, *shape, bytes.as_slice())));
        let header = serde_json::to_string(&Sealed { description: &self.description, sha256 })
            .expect("descriptions are plain structs");
        let views = values.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("shape and values go together");
            (*name, view)
        });
        safetensors::serialize(views, Some([(KEY.to_string(), header)].into())).expect("f32 tensors can be written")
    }

    /// Reads a file that nothing is known about; `kind` names what is expected, for errors.
    pub fn read(path: &Path, kind: &str) -> Result<Self, LabError> {
        let bytes = files::read(path)?;
        Self::from_bytes(&bytes, kind).map_err(|problem| LabError::Damaged { path: path.to_path_buf(), problem })
    }

    /// As [`read`](Self::read), from memory; the error is one line without the path.
    pub fn from_bytes(bytes: &[u8], kind: &str) -> Result<Self, String> {
        let damaged = |problem: String| format!("not a whole {kind} ({problem}); copy it again or train again");
        check_header_length(bytes).map_err(damaged)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or_else(|| damaged("its header has no entry of hardgrad".to_string()))?;
        let sealed: Sealed<T> = serde_json::from_str(header).map_err(|error| damaged(error.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let mut views = file.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let parts = views.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data()));
        if checksum(&sealed.description, parts) != sealed.sha256 {
            return Err(damaged("its checksum does not hold".to_string()));
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in views {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor {name} is {:?} instead of F32", view.dtype())));
            }
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(Self { description: sealed.description, tensors })
    }
}

/// Refuses headers that end behind the file before anything is allocated for them.
fn check_header_length(bytes: &[u8]) -> Result<(), String> {
    let Some(length) = bytes.first_chunk::<8>() else { return Err(format!("it has {} bytes", bytes.len())) };
    let length = u64::from_le_bytes(*length);
    if length > bytes.len() as u64 - 8 {
        return Err(format!("its header claims {length} bytes, the file has {}", bytes.len()));
    }
    Ok(())
}

fn checksum<'a, T: Serialize>(
    description: &T,
    tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [u8])>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_string(description).expect("descriptions are plain structs"));
    for (name, shape, bytes) in tensors {
        hash.update(format!("{name}{shape:?}"));
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parameters as tensors of a file, under a prefix.
pub(crate) fn to_tensors(parameters: Vec<Parameter>, prefix: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let named = parameters
        .into_iter()
        .map(|Parameter { name, shape, values, .. }| (format!("{prefix}{name}"), (shape, values)));
    named.collect()
}

/// The tensors of a file under a prefix as parameters.
pub(crate) fn to_parameters(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>, prefix: &str) -> Vec<Parameter> {
    tensors
        .iter()
        .filter_map(|(name, (shape, values))| {
            let name = name.strip_prefix(prefix)?.to_string();
            Some(Parameter { name, shape: shape.clone(), values: values.clone(), trainable: false })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> TensorFile<ModelDescription> {
        let shape = NetworkShape { height: 2, width: 3, scale: 0.1, zero_point: 7, class_names: vec!["a".into()] };
        let tensors = [("b", vec![2, 2], vec![1.0, -0.0, f32::MIN, 3.5]), ("a.c", vec![1], vec![2.0])];
        let tensors = tensors.into_iter().map(|(name, shape, values)| (name.to_string(), (shape, values))).collect();
        TensorFile { description: ModelDescription { format: MODEL_FORMAT.into(), shape }, tensors }
    }

    fn read(bytes: &[u8]) -> Result<TensorFile<ModelDescription>, String> {
        TensorFile::from_bytes(bytes, "model file")
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&file().to_bytes()).unwrap(), file());
        assert_eq!(file().to_bytes(), file().to_bytes());
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let bytes = file().to_bytes();
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_changed_file_is_refused_or_the_same(place in any::<prop::sample::Index>(), byte in any::<u8>(), claim in any::<Option<u64>>()) {
            let mut bytes = file().to_bytes();
            match claim {
                Some(claim) => bytes[..8].copy_from_slice(&claim.to_le_bytes()),
                None => {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            if let Ok(found) = read(&bytes) {
                prop_assert_eq!(found, file());
            }
        }
    }
}
