//! What nodes read and give when a packed model runs.

use std::collections::BTreeMap;

use hardgrad_kernels::integer;

use super::weight::{Stored, Weight};

/// What kind of values passes from node to node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Domain {
    /// `f32`.
    Float,
    /// Whole numbers with one scale.
    Codes(Codes),
}

/// Whole numbers from `lowest` to `highest`; each stands for itself times `scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Codes {
    pub lowest: i32,
    pub highest: i32,
    pub scale: f32,
}

impl Codes {
    /// The largest absolute whole number.
    pub fn largest(&self) -> i64 {
        i64::from(self.lowest.abs().max(self.highest.abs()))
    }
}

/// A value's shape without the batch, and its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Typed {
    pub shape: Vec<usize>,
    pub domain: Domain,
}

impl Typed {
    /// Values of one item.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// How floats are made of it.
    pub fn form(&self) -> Form {
        match self.domain {
            Domain::Float => Form::Float,
            Domain::Codes(codes) => Form::Codes(codes.scale),
        }
    }
}

/// How floats are made of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// It holds floats.
    Float,
    /// It holds whole numbers of this scale.
    Codes(f32),
}

impl Form {
    /// The floats of a buffer, which are put into `room` where they are codes.
    pub fn floats<'a>(self, buffer: &'a Buffer, room: &'a mut Vec<f32>) -> &'a [f32] {
        match self {
            Self::Float => &buffer.floats,
            Self::Codes(scale) => {
                room.resize(buffer.codes.len(), 0.0);
                integer::decode(&buffer.codes, scale, room);
                room
            }
        }
    }
}

/// A node of a packed model with its tensors, and what it reads and gives.
pub(crate) struct Packed<'a> {
    pub name: &'a str,
    pub inputs: &'a [Typed],
    pub output: &'a [usize],
    pub tensors: &'a BTreeMap<String, Stored>,
}

impl<'a> Packed<'a> {
    /// A tensor of the node, as it is stored.
    pub fn stored(&self, tensor: &str) -> Option<&'a Stored> {
        self.tensors.get(&format!("{}.{tensor}", self.name))
    }

    /// A tensor of floats; empty where there is none, which a checked model does not have.
    pub fn floats(&self, tensor: &str) -> &'a [f32] {
        match self.stored(tensor) {
            Some(Stored::Float(values)) => values,
            Some(Stored::Codes(_)) | None => &[],
        }
    }

    /// The weight of the node where it is codes.
    pub fn weight(&self) -> Option<&'a Weight> {
        match self.stored("weight") {
            Some(Stored::Codes(weight)) => Some(weight),
            Some(Stored::Float(_)) | None => None,
        }
    }
}

/// Values of the items of a group, of one of the two kinds.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub floats: Vec<f32>,
    pub codes: Vec<i16>,
}

/// Working memory of one thread that all steps share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Floats of inputs that are codes.
    pub floats: [Vec<f32>; 2],
    /// What a step lays out for itself.
    pub room: Vec<f32>,
    pub codes: Vec<i16>,
    pub sums: Vec<i32>,
}

/// Runs a node.
pub(crate) trait Step: std::fmt::Debug + Send + Sync {
    /// Fills `output` for so many items.
    fn run(&self, items: usize, inputs: &[&Buffer], output: &mut Buffer, scratch: &mut Scratch);
}

/// Runs a node that gives a float for each float.
pub(crate) trait Elementwise: std::fmt::Debug + Send + Sync {
    /// Replaces the values of whole items.
    fn run(&self, values: &mut [f32], scratch: &mut Scratch);
}

/// How a node runs.
#[derive(Debug)]
pub(crate) enum Runner {
    /// From inputs to a buffer of its own.
    Step(Box<dyn Step>),
    /// In the place of its input.
    Elementwise(Box<dyn Elementwise>),
    /// It changes no value.
    Nothing,
}
