//! The description of a packed model in its file, version 2: the network's own description, and how each tensor is stored.
//!
//! Real numbers are tensors and never JSON, so that no digit is lost.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::{FORMAT, PackedError, VERSION};
use super::model::{PackedModel, Pixels};
use super::tensors::{Tensors, Writer};
use crate::description::{Description, DescriptionError, INPUT};
use crate::ops::check::check_bits;
use crate::ops::weight::{Stored, Weight};

/// The description, word for word as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    format: String,
    version: u64,
    sha256: String,
    pixels: PixelsEntry,
    class_names: Vec<String>,
    network: Description,
    #[serde(deserialize_with = "each_once")]
    codes: BTreeMap<String, CodesEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PixelsEntry {
    scale: String,
    zero_point: u8,
}

/// A weight that is stored as codes; the others are floats.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodesEntry {
    bits: u32,
    first: Vec<i32>,
    step: i32,
}

/// How weights are coded, by their names, none of which may stand there twice: readers would take one entry or the other.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, CodesEntry>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = BTreeMap<String, CodesEntry>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("codes by the names of their weights")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut codes = BTreeMap::new();
            while let Some((name, entry)) = map.next_entry::<String, CodesEntry>()? {
                if codes.contains_key(&name) {
                    return Err(A::Error::custom(format!("codes have {name} twice")));
                }
                codes.insert(name, entry);
            }
            Ok(codes)
        }
    }
    deserializer.deserialize_map(Entries)
}

/// The model of a description, not yet checked as a whole, and the checksum that it claims.
pub(super) fn read(text: &str, tensors: &mut Tensors<'_>) -> Result<(PackedModel, String), PackedError> {
    let Entry { sha256, pixels, class_names, network, mut codes, .. } =
        serde_json::from_str(text).map_err(PackedError::Description)?;
    let pixels = Pixels { scale: tensors.float(&pixels.scale)?, zero_point: pixels.zero_point };
    let mut stored = BTreeMap::new();
    // Shapes come from the network, so that no length is taken from elsewhere.
    for report in network.check()? {
        for tensor in report.tensors {
            let name = format!("{}.{}", report.name, tensor.name);
            let values = match codes.remove(&name) {
                Some(CodesEntry { bits, first, step }) => {
                    let failed = |problem| DescriptionError::Node { node: report.name.clone(), problem };
                    check_bits("weight", bits).map_err(failed)?;
                    let codes = tensors.codes(&format!("{name}.codes"), bits, tensor.len())?;
                    let scale = tensors.floats(&format!("{name}.scale"))?;
                    Stored::Codes(Weight { bits, first, step, codes, scale })
                }
                None => Stored::Float(tensors.floats(&name)?),
            };
            stored.insert(name, values);
        }
    }
    match codes.into_keys().next() {
        Some(tensor) => Err(PackedError::Stranger { tensor }),
        None => Ok((PackedModel { description: network, pixels, class_names, tensors: stored }, sha256)),
    }
}

/// The description of a checked model, whose tensors go to the writer.
pub(super) fn write(model: &PackedModel, sha256: &str, tensors: &mut Writer) -> Result<String, PackedError> {
    let scale = tensors.floats(INPUT, "scale", &[model.pixels.scale]);
    let mut codes = BTreeMap::new();
    for (name, stored) in &model.tensors {
        match stored {
            Stored::Float(values) => tensors.add_floats(name.clone(), values),
            Stored::Codes(Weight { bits, first, step, codes: values, scale }) => {
                tensors.codes(name, "codes", values, *bits);
                tensors.floats(name, "scale", scale);
                codes.insert(name.clone(), CodesEntry { bits: *bits, first: first.clone(), step: *step });
            }
        }
    }
    let entry = Entry {
        format: FORMAT.to_owned(),
        version: VERSION,
        sha256: sha256.to_owned(),
        pixels: PixelsEntry { scale, zero_point: model.pixels.zero_point },
        class_names: model.class_names.clone(),
        network: model.description.clone(),
        codes,
    };
    serde_json::to_string(&entry).map_err(PackedError::Description)
}
