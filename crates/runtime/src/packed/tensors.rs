//! The tensors of a file that is read, and of one that is made.

use std::collections::BTreeSet;

use hardgrad_kernels::bit_packing;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::error::{PackedError, TensorProblem};

/// The tensors of a file, each handed out once: so the model is never larger than the file can explain.
pub(crate) struct Tensors<'a> {
    metadata: Metadata,
    data: &'a [u8],
    used: BTreeSet<String>,
}

impl<'a> Tensors<'a> {
    /// The tensors of a checked header and the bytes behind it.
    pub(crate) fn new(metadata: Metadata, data: &'a [u8]) -> Self {
        Self { metadata, data, used: BTreeSet::new() }
    }

    /// The bytes and the length of the tensor `name`, which must have one dimension and the type `dtype`.
    fn take(&mut self, name: &str, dtype: Dtype, expected: &'static str) -> Result<(&'a [u8], usize), PackedError> {
        let failed = |problem| PackedError::Tensor { tensor: name.to_owned(), problem };
        let info: &TensorInfo = self.metadata.info(name).ok_or_else(|| failed(TensorProblem::Missing))?;
        if !self.used.insert(name.to_owned()) {
            return Err(failed(TensorProblem::Shared));
        }
        match info.shape[..] {
            [length] if info.dtype == dtype => Ok((&self.data[info.data_offsets.0..info.data_offsets.1], length)),
            _ => {
                let found = format!("{:?} {:?}", info.dtype, info.shape);
                Err(failed(TensorProblem::Type { expected, found }))
            }
        }
    }

    pub(crate) fn floats(&mut self, name: &str) -> Result<Vec<f32>, PackedError> {
        let (bytes, _) = self.take(name, Dtype::F32, "F32")?;
        let (values, _) = bytes.as_chunks();
        Ok(values.iter().map(|&value| f32::from_le_bytes(value)).collect())
    }

    pub(crate) fn float(&mut self, name: &str) -> Result<f32, PackedError> {
        match self.floats(name)?[..] {
            [value] => Ok(value),
            ref values => Err(wrong_length(name, 1, values.len())),
        }
    }

    pub(crate) fn codes(&mut self, name: &str, bits: u32, count: usize) -> Result<Vec<u8>, PackedError> {
        let (bytes, length) = self.take(name, Dtype::U8, "U8")?;
        let expected = bit_packing::packed_len(count, bits);
        if length != expected {
            return Err(wrong_length(name, expected, length));
        }
        bit_packing::unpack(bytes, bits, count)
            .ok_or_else(|| PackedError::Tensor { tensor: name.to_owned(), problem: TensorProblem::Padding })
    }

    /// Fails if a tensor was not used.
    pub(crate) fn finish(self) -> Result<(), PackedError> {
        match self.metadata.offset_keys().into_iter().find(|name| !self.used.contains(name)) {
            Some(tensor) => Err(PackedError::Tensor { tensor, problem: TensorProblem::Unused }),
            None => Ok(()),
        }
    }
}

fn wrong_length(tensor: &str, expected: usize, found: usize) -> PackedError {
    PackedError::Tensor { tensor: tensor.to_owned(), problem: TensorProblem::Length { expected, found } }
}

/// The tensors of a file that is being made: name, type, bytes.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<(String, Dtype, Vec<u8>)>);

impl Writer {
    /// Adds a tensor of this name.
    pub(crate) fn add_floats(&mut self, name: String, values: &[f32]) {
        self.0.push((name, Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }

    /// Adds the tensor `owner.part` and gives its name.
    pub(crate) fn floats(&mut self, owner: &str, part: &str, values: &[f32]) -> String {
        self.add(owner, part, Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Adds the tensor `owner.part` with packed codes and gives its name.
    pub(crate) fn codes(&mut self, owner: &str, part: &str, codes: &[u8], bits: u32) -> String {
        self.add(owner, part, Dtype::U8, bit_packing::pack(codes, bits))
    }

    fn add(&mut self, owner: &str, part: &str, dtype: Dtype, bytes: Vec<u8>) -> String {
        let name = format!("{owner}.{part}");
        self.0.push((name.clone(), dtype, bytes));
        name
    }
}
