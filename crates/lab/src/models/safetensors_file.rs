//! Tensors of a safetensors file that any program may have written.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The key under which hardgrad's own files describe themselves.
const OWN: &str = "hardgrad";

/// How zip files begin, and with them what `torch.save` writes.
const ZIP: &[u8] = b"PK\x03\x04";

/// The tensors of a file by their names; the error is one line.
pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, TensorView<'_>>, String> {
    if bytes.starts_with(ZIP) {
        let mend = "load it with torch.load and write it with safetensors.torch.save_file";
        return Err(format!("it is no safetensors file but a zip, such as PyTorch's own files; {mend}"));
    }
    hardgrad_runtime::check_header(bytes).map_err(|error| format!("it is no whole safetensors file: {error}"))?;
    let problem = |error: safetensors::SafeTensorError| format!("it is no whole safetensors file: {error}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(problem)?;
    if metadata.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(OWN)) {
        return Err("it is a file of a run of hardgrad; give the folder of the run".to_string());
    }
    Ok(SafeTensors::deserialize(bytes).map_err(problem)?.tensors().into_iter().collect())
}

/// The values of a tensor, row by row; the error is one line without the tensor's name.
pub(super) fn values(tensor: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let bytes = tensor.data();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value) as f32).collect(),
        Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks::<2>().0.iter().map(|value| bf16::from_le_bytes(*value).to_f32()).collect(),
        other => return Err(format!("is {other:?}; weights must be F32, F16, BF16 or F64")),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("has the value {value}; weights must be finite float32 numbers")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(tensors: &[(&str, Dtype, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, kind, bytes)| {
            let shape = vec![bytes.len() * 8 / kind.bitsize()];
            (*name, TensorView::new(*kind, shape, bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn all_kinds_of_floats_become_float32() {
        let numbers = [1.5f64, -0.0, 0.25, 6.0e-5];
        let bytes = file(&[
            ("f64", Dtype::F64, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
            ("f32", Dtype::F32, numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()),
            ("f16", Dtype::F16, numbers.iter().flat_map(|x| f16::from_f64(*x).to_le_bytes()).collect()),
            ("bf16", Dtype::BF16, numbers.iter().flat_map(|x| bf16::from_f64(*x).to_le_bytes()).collect()),
            ("count", Dtype::I64, vec![0; 8]),
            ("nan", Dtype::F32, f32::NAN.to_le_bytes().to_vec()),
        ]);
        let found = tensors(&bytes).unwrap();
        for (name, tolerance) in [("f64", 1e-9), ("f32", 1e-9), ("f16", 1e-7), ("bf16", 1e-6)] {
            let values = values(&found[name]).unwrap();
            assert_eq!(values[..3], [1.5, 0.0, 0.25], "{name}");
            assert!(values[1].is_sign_negative() && (f64::from(values[3]) - 6.0e-5).abs() < tolerance, "{name}");
        }
        assert!(values(&found["count"]).unwrap_err().contains("I64"));
        assert!(values(&found["nan"]).unwrap_err().contains("NaN"));
    }

    #[test]
    fn files_of_others_are_told_what_they_are() {
        assert!(tensors(b"PK\x03\x04archive").unwrap_err().contains("torch.load"));
        let metadata = [("hardgrad".to_string(), "{}".to_string())].into();
        let own = safetensors::serialize(std::iter::empty::<(&str, TensorView<'_>)>(), Some(metadata)).unwrap();
        assert!(tensors(&own).unwrap_err().contains("folder of the run"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_tensors_or_one_line(mut bytes in prop::collection::vec(any::<u8>(), 0..200), length in any::<Option<u8>>()) {
            if let (Some(length), Some(start)) = (length, bytes.first_chunk_mut::<8>()) {
                *start = u64::from(length).to_le_bytes();
            }
            if let Err(problem) = tensors(&bytes) {
                prop_assert!(!problem.contains('\n'), "{}", problem);
            }
        }

        #[test]
        fn a_changed_file_gives_tensors_or_one_line(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = file(&[("conv1.weight", Dtype::F32, vec![0; 24]), ("b", Dtype::BF16, vec![1; 6])]);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            match tensors(&bytes) {
                Ok(found) => found.values().for_each(|tensor| drop(values(tensor))),
                Err(problem) => prop_assert!(!problem.contains('\n'), "{}", problem),
            }
        }
    }
}
