//! What flows between the nodes of a network.

use burn::tensor::Tensor;

use crate::coded::{Activation, CodedTensor};

/// Values of a batch, floats or codes, by what one item is.
#[derive(Clone, Debug)]
pub enum Value {
    /// `[batch, channels, height, width]`.
    Image(Activation<4>),
    /// `[batch, tokens, width]`.
    Tokens(Activation<3>),
    /// `[batch, features]`.
    Features(Activation<2>),
}

/// Runs the same expression on the activation of each kind.
macro_rules! each {
    ($value:expr, $x:ident => $body:expr) => {
        match $value {
            $crate::network::Value::Image($x) => $body,
            $crate::network::Value::Tokens($x) => $body,
            $crate::network::Value::Features($x) => $body,
        }
    };
}
pub(super) use each;

impl Value {
    /// Sizes of the axes, the batch first.
    pub fn dims(&self) -> Vec<usize> {
        each!(self, x => x.dims().to_vec())
    }

    /// All values in one row, as floats.
    pub fn row(self) -> Tensor<1> {
        each!(self, x => { let x = x.values(); let count = x.dims().iter().product::<usize>(); x.reshape([count]) })
    }

    /// An image.
    ///
    /// # Panics
    /// If it is none: the description was checked, so it is one wherever it must be.
    pub(super) fn image(self) -> Activation<4> {
        match self {
            Self::Image(x) => x,
            other => panic!("an image is expected, not {:?}", other.dims()),
        }
    }

    /// Tokens; panics as [`image`](Self::image).
    pub(super) fn tokens(self) -> Activation<3> {
        match self {
            Self::Tokens(x) => x,
            other => panic!("tokens are expected, not {:?}", other.dims()),
        }
    }

    /// Features; panics as [`image`](Self::image).
    pub(super) fn features(self) -> Activation<2> {
        match self {
            Self::Features(x) => x,
            other => panic!("features are expected, not {:?}", other.dims()),
        }
    }
}

macro_rules! from {
    ($rank:literal $kind:ident) => {
        impl From<Activation<$rank>> for Value {
            fn from(x: Activation<$rank>) -> Self {
                Self::$kind(x)
            }
        }

        impl From<Tensor<$rank>> for Value {
            fn from(x: Tensor<$rank>) -> Self {
                Self::$kind(x.into())
            }
        }

        impl From<CodedTensor<$rank>> for Value {
            fn from(x: CodedTensor<$rank>) -> Self {
                Self::$kind(x.into())
            }
        }
    };
}
from!(4 Image);
from!(3 Tokens);
from!(2 Features);
