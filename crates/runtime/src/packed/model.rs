//! What a packed model consists of, and what must hold before it can be run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::PackedError;
use crate::description::{Description, DescriptionError};
use crate::ops::check::{check_finite, check_length, check_scales};
use crate::ops::problem::Problem;
use crate::ops::step::{Codes, Domain, Packed, Typed};
use crate::ops::weight::Stored;

/// A network that can be written to a file and run.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedModel {
    /// Its nodes, quantisers among them.
    pub description: Description,
    /// How pixels become numbers.
    pub pixels: Pixels,
    /// What its outputs mean, one name a logit.
    pub class_names: Vec<String>,
    /// The tensors of its nodes, `node.tensor`.
    pub tensors: BTreeMap<String, Stored>,
}

/// How the bytes of an input become numbers.
///
/// Byte p has the real value (p - zero_point) * scale, so p - zero_point is an exact whole number.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// Real size of one step of a byte.
    pub scale: f32,
    /// The byte that means 0.
    pub zero_point: u8,
}

/// A node that was checked, with what it reads and gives.
pub(crate) struct Checked {
    /// Places of the nodes that it reads; none for the input of the model.
    pub sources: Vec<Option<usize>>,
    pub inputs: Vec<Typed>,
    pub output: Typed,
    pub parameters: usize,
    pub multiply_accumulates: u64,
}

impl PackedModel {
    /// A model whose nodes fit each other; fails where they do not, or where a sum could leave 32 bits.
    pub fn new(
        description: Description,
        pixels: Pixels,
        class_names: Vec<String>,
        tensors: BTreeMap<String, Stored>,
    ) -> Result<Self, PackedError> {
        let model = Self { description, pixels, class_names, tensors };
        model.check()?;
        Ok(model)
    }

    /// Each node with what it reads and gives, if the model can be run.
    pub(crate) fn check(&self) -> Result<Vec<Checked>, PackedError> {
        if !self.description.rules.is_empty() {
            return Err(PackedError::Rules);
        }
        let reports = self.description.check()?;
        check_scales("scale", &[self.pixels.scale]).map_err(PackedError::Pixels)?;
        let mut left = self.tensors.keys().map(String::as_str).collect::<BTreeSet<_>>();
        let mut checked: Vec<Checked> = Vec::with_capacity(reports.len());
        // Where each node stands; the network's input stands nowhere.
        let mut places = HashMap::new();
        for (place, (node, report)) in self.description.nodes.iter().zip(reports).enumerate() {
            let failed = |problem| PackedError::from(DescriptionError::Node { node: node.name.clone(), problem });
            for tensor in &report.tensors {
                let name = format!("{}.{}", node.name, tensor.name);
                let Some(stored) = self.tensors.get(&name) else { return Err(PackedError::NoTensor { tensor: name }) };
                left.remove(name.as_str());
                check_length(tensor.name, tensor.len(), stored.len()).map_err(failed)?;
                match stored {
                    Stored::Float(values) => check_finite(tensor.name, values).map_err(failed)?,
                    Stored::Codes(_) if tensor.name == "weight" => {}
                    Stored::Codes(_) => return Err(failed(Problem::NoCodes { field: tensor.name })),
                }
            }
            let sources: Vec<Option<usize>> =
                node.inputs.iter().map(|input| places.get(input.as_str()).copied()).collect();
            places.insert(node.name.as_str(), place);
            let inputs = sources.iter().map(|source| match source {
                None => self.input(),
                Some(place) => checked[*place].output.clone(),
            });
            let inputs: Vec<Typed> = inputs.collect();
            let packed = Packed { name: &node.name, inputs: &inputs, output: &report.output, tensors: &self.tensors };
            let domain = node.op.check(&packed).map_err(failed)?;
            checked.push(Checked {
                sources,
                output: Typed { shape: report.output, domain },
                inputs,
                parameters: report.parameters,
                multiply_accumulates: report.multiply_accumulates,
            });
        }
        if let Some(name) = left.into_iter().next() {
            return Err(PackedError::Stranger { tensor: name.to_string() });
        }
        match checked.last().map(|last| &last.output) {
            Some(Typed { shape, domain: Domain::Float }) if shape[..] == [self.class_names.len()] => Ok(checked),
            Some(Typed { shape, .. }) => {
                Err(PackedError::Output { shape: shape.clone(), classes: self.class_names.len() })
            }
            None => Err(DescriptionError::Empty.into()),
        }
    }

    /// The bytes of an item, as whole numbers.
    pub(crate) fn input(&self) -> Typed {
        let Pixels { scale, zero_point } = self.pixels;
        let zero_point = i32::from(zero_point);
        let codes = Codes { lowest: -zero_point, highest: 255 - zero_point, scale };
        Typed { shape: self.description.input.shape.clone(), domain: Domain::Codes(codes) }
    }
}
