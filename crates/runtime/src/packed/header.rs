//! The header of a safetensors file: looked at before anything is believed or allocated.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Formatter};

use safetensors::SafeTensorError;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::PackedError;

/// Longest header that the `safetensors` crate reads.
const MAX_HEADER: u64 = 100_000_000;

/// Checks what the `safetensors` crate takes on trust: the header ends inside the file, no name is in it twice, and the last
/// tensor ends where the file ends.
///
/// Fails with [`CutOff`](PackedError::CutOff), [`Header`](PackedError::Header), [`DuplicateName`](PackedError::DuplicateName)
/// or [`ExtraBytes`](PackedError::ExtraBytes), and with [`Safetensors`](PackedError::Safetensors) for a header of more than
/// 100 MB. Any safetensors file may be checked; what is allocated meanwhile grows with its header alone.
///
/// ```
/// use hardgrad_runtime::{PackedError, check_header};
///
/// let file = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
/// let x = r#""x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
/// assert!(check_header(&file(&format!("{{{x}}}"))).is_ok());
/// assert!(matches!(check_header(&file(&format!("{{{x},{x}}}"))), Err(PackedError::DuplicateName(name)) if name == "x"));
/// ```
pub fn check_header(bytes: &[u8]) -> Result<(), PackedError> {
    after_header(bytes).map(drop)
}

/// The bytes of the tensors, which follow the header, of a file whose header was checked.
pub(crate) fn after_header(bytes: &[u8]) -> Result<&[u8], PackedError> {
    let length = bytes.len();
    let cut_off = |part, needed| PackedError::CutOff { part, needed, length };
    let (header_len, rest) = bytes.split_first_chunk().ok_or_else(|| cut_off("length of the header", 8))?;
    let header_len = u64::from_le_bytes(*header_len);
    let (header, data) = usize::try_from(header_len)
        .ok()
        .and_then(|header_len| rest.split_at_checked(header_len))
        .ok_or_else(|| cut_off("header", header_len.saturating_add(8)))?;
    if header_len > MAX_HEADER {
        return Err(SafeTensorError::HeaderTooLarge.into());
    }
    // A JSON map keeps the last of two entries with one name, without a word.
    let Repeated(repeated) = serde_json::from_slice(header).map_err(PackedError::Header)?;
    if let Some(name) = repeated {
        return Err(PackedError::DuplicateName(name));
    }
    // The safetensors crate adds up what the header claims: looking first where the last tensor ends keeps its sums small
    // and tells a file that was cut off from one that is broken.
    let Extents { tensors, .. } = serde_json::from_slice(header).map_err(PackedError::Header)?;
    let end = tensors.values().map(|extent| extent.data_offsets.1).max().unwrap_or(0);
    let needed = end.saturating_add(8 + header_len);
    if needed > length as u64 {
        return Err(cut_off("last tensor", needed));
    }
    if needed < length as u64 {
        return Err(PackedError::ExtraBytes { needed, length });
    }
    Ok(data)
}

/// Where the tensors of a header lie.
#[derive(Deserialize)]
struct Extents {
    /// Lies nowhere.
    #[serde(rename = "__metadata__")]
    _metadata: Option<IgnoredAny>,
    #[serde(flatten)]
    tensors: HashMap<String, Extent>,
}

/// Where one tensor lies.
#[derive(Deserialize)]
struct Extent {
    data_offsets: (u64, u64),
}

/// The first name that an object of a JSON document has twice, at any depth.
struct Repeated(Option<String>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(Self)
    }
}

/// Walks through a JSON value; what is no list and no object has no names.
struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        while let Some(Repeated(found)) = list.next_element()? {
            first = first.or(found);
        }
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let (mut names, mut first) = (HashSet::new(), None);
        while let Some(name) = object.next_key::<String>()? {
            let Repeated(found) = object.next_value()?;
            first = first.or(names.replace(name)).or(found);
        }
        Ok(first)
    }
}
