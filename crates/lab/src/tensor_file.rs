//! Files of f32 tensors: with a sealed description (model files and checkpoints) or bare (`hardgrad op`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use hardgrad::parameters::Parameter;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::of_runs::{KEY, format_in};
use crate::{LabError, files};

/// Shape and values by name.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Shape and whole numbers by name.
pub(crate) type Indices = BTreeMap<String, (Vec<usize>, Vec<i64>)>;

/// Tensors with a JSON description, as `model.safetensors` and the checkpoints hold them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorFile<T> {
    /// What the tensors are.
    pub description: T,
    /// Name, shape and values.
    pub tensors: Tensors,
}

/// The format that a file of a run names, whatever its version.
fn format_of(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    format_in(rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?)
}

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
        let description = &self.description;
        let sealed = Sealed { description, sha256: checksum(description, &self.tensors) };
        let header = serde_json::to_string(&sealed).expect("descriptions are plain structs");
        encode(&self.tensors, &Indices::new(), Some([(KEY.to_string(), header)].into()))
    }

    /// Reads a file that nothing is known about; `kind` names what is expected, for errors, and `format` its version.
    ///
    /// # Errors
    /// [`LabError::OtherVersion`] if it names another format, [`LabError::Damaged`] if it is not whole.
    pub fn read(path: &Path, kind: &str, format: &str) -> Result<Self, LabError> {
        let bytes = files::read(path)?;
        let path = path.to_path_buf();
        if let Some(found) = format_of(&bytes).filter(|found| found != format) {
            let problem = format!(
                "{found:?} is not of this version of hardgrad, which reads {format:?}; use that version or train again"
            );
            return Err(LabError::OtherVersion { path, problem });
        }
        Self::from_bytes(&bytes, kind).map_err(|problem| LabError::Damaged { path, problem })
    }

    /// As [`read`](Self::read), from memory; the error is one line without the path.
    pub fn from_bytes(bytes: &[u8], kind: &str) -> Result<Self, String> {
        Self::decode(bytes).map_err(|problem| format!("not a whole {kind} ({problem}); copy it again or train again"))
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let tensors = decode(bytes)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or("its header has no entry of hardgrad")?;
        let Sealed { description, sha256 } = serde_json::from_str(header).map_err(|error| error.to_string())?;
        match checksum(&description, &tensors) == sha256 {
            true => Ok(Self { description, tensors }),
            false => Err("its checksum does not hold".to_string()),
        }
    }
}

/// The bytes of a safetensors file of f32 tensors, and of i64 ones.
pub(crate) fn encode(tensors: &Tensors, indices: &Indices, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let floats = tensors.iter().map(|(name, (shape, values))| {
        (name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    });
    let whole = indices.iter().map(|(name, (shape, values))| {
        (name, Dtype::I64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    });
    let bytes: Vec<(&String, Dtype, &Vec<usize>, Vec<u8>)> = floats.chain(whole).collect();
    let views = bytes.iter().map(|(name, kind, shape, bytes)| {
        (*name, TensorView::new(*kind, shape.to_vec(), bytes).expect("shape and values go together"))
    });
    safetensors::serialize(views, metadata).expect("tensors of these kinds can be written")
}

/// The tensors of a safetensors file that nothing is known about; all must be f32. The error is one line.
pub(crate) fn decode(bytes: &[u8]) -> Result<Tensors, String> {
    hardgrad_runtime::check_header(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor {name} is {:?} instead of F32", view.dtype()));
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok((name, (view.shape().to_vec(), values)))
    });
    tensors.collect()
}

fn checksum<T: Serialize>(description: &T, tensors: &Tensors) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_string(description).expect("descriptions are plain structs"));
    for (name, (shape, values)) in tensors {
        hash.update(format!("{name}{shape:?}"));
        values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    hexadecimal(hash)
}

/// The checksum of any bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hexadecimal(hash)
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parameters as tensors of a file, under a prefix.
pub(crate) fn to_tensors(parameters: Vec<Parameter>, prefix: &str) -> Tensors {
    let named = parameters
        .into_iter()
        .map(|Parameter { name, shape, values, .. }| (format!("{prefix}{name}"), (shape, values)));
    named.collect()
}

/// The tensors of a file under a prefix as parameters.
pub(crate) fn to_parameters(tensors: &Tensors, prefix: &str) -> Vec<Parameter> {
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
    use crate::files::of_runs::is_header_of_a_run;

    /// A description, as models and checkpoints have one.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Words {
        format: String,
        seed: u64,
        scale: f32,
        class_names: Vec<String>,
    }

    fn file() -> TensorFile<Words> {
        let tensors = [("b", vec![2, 2], vec![1.0, -0.0, f32::MIN, 3.5]), ("a.c", vec![1], vec![2.0])];
        let tensors = tensors.into_iter().map(|(name, shape, values)| (name.to_string(), (shape, values))).collect();
        let format = "hardgrad model 3".to_string();
        TensorFile { description: Words { format, seed: 7, scale: 0.1, class_names: vec!["a".into()] }, tensors }
    }

    fn read(bytes: &[u8]) -> Result<TensorFile<Words>, String> {
        TensorFile::from_bytes(bytes, "model file")
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&file().to_bytes()).unwrap(), file());
        assert_eq!(file().to_bytes(), file().to_bytes());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let header = r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
        let error = decode(&bytes).unwrap_err();
        assert!(error.contains('x') && !error.contains('\n'), "{error}");
    }

    #[test]
    fn the_header_tells_files_of_a_run_from_others() {
        let header = |bytes: &[u8]| bytes[8..][..u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize].to_vec();
        assert!(is_header_of_a_run(&header(&file().to_bytes())));
        assert!(!is_header_of_a_run(&header(&encode(&file().tensors, &Indices::new(), None))));
        assert!(!is_header_of_a_run(b"{}") && !is_header_of_a_run(b"text"));
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
