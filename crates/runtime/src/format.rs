//! The file: one safetensors file whose metadata holds a description in JSON. See `docs/packed-format.md`.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use hardgrad_kernels::bit_packing;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::description::{Description, Head, InputEntry, LayerEntry};
use crate::header::after_header;
use crate::{Input, PackedError, PackedModel, TensorProblem};

/// Name of the format, in every file.
pub(crate) const FORMAT: &str = "hardgrad packed model";
/// Version of the format that this crate writes and reads.
pub(crate) const VERSION: u64 = 1;
/// Largest file that is read: 4 GiB.
pub const MAX_FILE: u64 = 4 << 30;
/// Where the description is in the safetensors metadata.
const KEY: &str = "hardgrad";

impl PackedModel {
    /// The model in the file at `path`.
    pub fn read(path: &Path) -> Result<Self, PackedError> {
        let failed = |source| PackedError::Io { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(PackedError::NotAFile { path: path.to_owned() });
        }
        let length = metadata.len();
        if length > MAX_FILE {
            return Err(PackedError::TooLarge { path: path.to_owned(), length, limit: MAX_FILE });
        }
        let mut bytes = Vec::with_capacity(length as usize);
        // A file that grows meanwhile is read up to the length that was allowed.
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(&bytes)
    }

    /// The model in the bytes of a file, checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PackedError> {
        let (mut tensors, description) = open(bytes)?;
        let sha256 = description.sha256;
        let entry = description.input;
        let input = Input {
            channels: entry.channels,
            height: entry.height,
            width: entry.width,
            scale: tensors.float(&entry.scale)?,
            zero_point: entry.zero_point,
        };
        let layers = description.layers.into_iter().map(|entry| entry.read(&mut tensors)).collect::<Result<_, _>>()?;
        tensors.finish()?;
        let model = Self::new(input, description.class_names, layers)?;
        // Last, so that a file that somebody edited is answered with what is wrong in it.
        match checksum(bytes, &sha256) == sha256 {
            true => Ok(model),
            false => Err(PackedError::Checksum),
        }
    }

    /// The bytes of a file: the same for the same model, and [`from_bytes`](Self::from_bytes) gives the model back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackedError> {
        self.check()?;
        let mut tensors = Writer::default();
        let description = Description {
            format: FORMAT.to_owned(),
            version: VERSION,
            sha256: NO_CHECKSUM.to_owned(),
            input: InputEntry {
                channels: self.input.channels,
                height: self.input.height,
                width: self.input.width,
                scale: tensors.floats("input", "scale", &[self.input.scale]),
                zero_point: self.input.zero_point,
            },
            class_names: self.class_names.clone(),
            layers: self.layers.iter().map(|layer| LayerEntry::write(layer, &mut tensors)).collect(),
        };
        let description = serde_json::to_string(&description).map_err(PackedError::Description)?;
        let views = tensors.0.iter().map(|(name, dtype, data)| {
            let values = data.len() * 8 / dtype.bitsize();
            Ok((name, TensorView::new(*dtype, vec![values], data)?))
        });
        let views = views.collect::<Result<Vec<_>, PackedError>>()?;
        let mut bytes = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), description)])))?;
        let sha256 = checksum(&bytes, NO_CHECKSUM);
        if let Some(place) = place_of(&bytes, NO_CHECKSUM) {
            bytes[place].copy_from_slice(sha256.as_bytes());
        }
        Ok(bytes)
    }
}

/// What stands in the place of the checksum while it is computed.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 of all bytes of a file, with zeros in the place of the checksum itself.
fn checksum(bytes: &[u8], written: &str) -> String {
    let mut hash = Sha256::new();
    match place_of(bytes, written).filter(|_| written.len() == NO_CHECKSUM.len()) {
        Some(place) => {
            hash.update(&bytes[..place.start]);
            hash.update(NO_CHECKSUM);
            hash.update(&bytes[place.end..]);
        }
        None => hash.update(bytes),
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first place of `text` in `bytes`; the header comes first in a file.
fn place_of(bytes: &[u8], text: &str) -> Option<Range<usize>> {
    if text.is_empty() {
        return None;
    }
    let start = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
    Some(start..start + text.len())
}

/// The tensors and the description in the bytes of a file.
fn open(bytes: &[u8]) -> Result<(Tensors<'_>, Description), PackedError> {
    let data = after_header(bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let description = match metadata.metadata() {
        Some(entries) if entries.len() == 1 => entries.get(KEY),
        _ => None,
    };
    let description = description.ok_or(PackedError::NotPacked)?;
    let head: Head = serde_json::from_str(description).map_err(PackedError::Description)?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(PackedError::Version { format: head.format, version: head.version });
    }
    let description = serde_json::from_str(description).map_err(PackedError::Description)?;
    Ok((Tensors { metadata, data, used: BTreeSet::new() }, description))
}

/// The tensors of a file, each handed out once: so the model is never larger than the file can explain.
pub(crate) struct Tensors<'a> {
    metadata: Metadata,
    data: &'a [u8],
    used: BTreeSet<String>,
}

impl<'a> Tensors<'a> {
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
    fn finish(self) -> Result<(), PackedError> {
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
pub(crate) struct Writer(Vec<(String, Dtype, Vec<u8>)>);

impl Writer {
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
