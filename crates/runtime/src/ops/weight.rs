//! How the tensors of a packed model are stored.

/// A tensor of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// `f32`, in the order of its shape.
    Float(Vec<f32>),
    /// Codes: only the weights of conv2d and linear.
    Codes(Weight),
}

impl Stored {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Codes(weight) => weight.codes.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Quantised weights: code n means the whole number `first + step * n`, and the real number `scale` times that.
///
/// `first` and `scale` hold one value for all outputs, or one an output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Bits of a code, 1 to 8.
    pub bits: u32,
    /// Whole number of code 0.
    pub first: Vec<i32>,
    /// Distance of the whole numbers, at least 1.
    pub step: i32,
    /// One code a byte, in the order of the weight's shape, outputs first; the file packs them.
    pub codes: Vec<u8>,
    /// Real number of the whole number 1.
    pub scale: Vec<f32>,
}

impl Weight {
    /// The whole numbers that the codes mean; only for weights that were checked.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i16> {
        let step = self.step;
        let of_one_first = self.codes.chunks((self.codes.len() / self.first.len()).max(1)).zip(&self.first);
        of_one_first
            .flat_map(move |(codes, first)| codes.iter().map(move |&code| (first + step * i32::from(code)) as i16))
    }

    /// The factor of output channel `channel`.
    pub(crate) fn scale_of(&self, channel: usize) -> f32 {
        if self.scale.len() == 1 { self.scale[0] } else { self.scale[channel] }
    }
}
