//! The file: one safetensors file whose metadata holds a description in JSON. See `docs/packed-format.md`.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::{FORMAT, PackedError, VERSION};
use super::header::after_header;
use super::model::PackedModel;
use super::tensors::{Tensors, Writer};
use super::{format, version_1};

/// The part of a description that every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

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

    /// The model in the bytes of a file of any version, checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PackedError> {
        let data = after_header(bytes)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let description = match metadata.metadata() {
            Some(entries) if entries.len() == 1 => entries.get(KEY).cloned(),
            _ => None,
        };
        let description = description.ok_or(PackedError::NotPacked)?;
        let Head { format, version } = serde_json::from_str(&description).map_err(PackedError::Description)?;
        if format != FORMAT || !(1..=VERSION).contains(&version) {
            return Err(PackedError::Version { format, version });
        }
        let mut tensors = Tensors::new(metadata, data);
        let (model, sha256) = match version {
            1 => version_1::read(&description, &mut tensors)?,
            _ => format::read(&description, &mut tensors)?,
        };
        tensors.finish()?;
        model.check()?;
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
        let description = format::write(self, NO_CHECKSUM, &mut tensors)?;
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
