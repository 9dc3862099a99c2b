//! The operators: one file each, with its sizes, its shapes, what it holds, what it costs, and how it runs.
//!
//! To add one: its file, which implements `Operator`, and one line in the registry below.

pub(crate) mod check;
mod keys;
pub(crate) mod limits;
mod operator;
pub(crate) mod problem;
mod products;
mod sizes;
pub(crate) mod step;
pub(crate) mod tensor;
#[cfg(test)]
mod testing;
pub(crate) mod weight;
mod window;

use operator::{Operator, Signs};
use problem::Problem;
use serde_json::Value;
use step::{Domain, Packed, Runner};
use tensor::TensorShape;

/// The registry: the module, the type and its variant, in the order of lists.
macro_rules! operators {
    ($($module:ident $name:ident,)*) => {
        $(mod $module;)*
        $(pub use $module::$name;)*

        /// An operator with its sizes.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op {
            $($name($name),)*
        }

        $(impl From<$name> for Op {
            fn from(sizes: $name) -> Self {
                Self::$name(sizes)
            }
        })*

        impl Op {
            /// The words for all operators.
            pub const KINDS: &'static [&'static str] = &[$($name::KIND,)*];

            /// The word for it.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $name::KIND,)* }
            }

            /// The operator of this kind with these sizes; `None` if there is none.
            pub(crate) fn read(kind: &str, sizes: Value) -> Option<Result<Self, serde_json::Error>> {
                $(if kind == $name::KIND {
                    return Some(serde_json::from_value(sizes).map(Self::$name));
                })*
                None
            }

            /// The names of the sizes of this kind; none if there is no such kind.
            pub(crate) fn keys(kind: &str) -> &'static [&'static str] {
                $(if kind == $name::KIND {
                    return keys::keys::<$name>();
                })*
                &[]
            }

            /// Its sizes, without those that are as usual.
            pub(crate) fn sizes(&self) -> Value {
                let sizes = match self { $(Self::$name(op) => serde_json::to_value(op),)* };
                sizes.expect("sizes are plain numbers")
            }

            /// How many values it reads.
            pub fn inputs(&self) -> usize {
                match self { $(Self::$name(_) => $name::INPUTS,)* }
            }

            /// Whether it only moves values or chooses among them: then codes stay codes.
            pub fn passes_codes(&self) -> bool {
                match self { $(Self::$name(_) => $name::PASSES_CODES,)* }
            }

            /// Whether it cannot give negative values, where `inputs` tells of each of its inputs whether that cannot be
            /// negative.
            pub fn is_never_negative(&self, inputs: &[bool]) -> bool {
                let signs = match self { $(Self::$name(_) => $name::SIGNS,)* };
                match signs {
                    Signs::Any => false,
                    Signs::Kept => inputs.iter().all(|never_negative| *never_negative),
                    Signs::NeverNegative => true,
                }
            }

            /// Whether it multiplies by weights that may be quantised.
            pub fn has_weights(&self) -> bool {
                match self { $(Self::$name(_) => $name::HAS_WEIGHTS,)* }
            }

            pub(crate) fn output(&self, inputs: &[Vec<usize>]) -> Result<Vec<usize>, Problem> {
                match self { $(Self::$name(op) => op.output(inputs),)* }
            }

            pub(crate) fn tensors(&self, inputs: &[Vec<usize>]) -> Vec<TensorShape> {
                match self { $(Self::$name(op) => op.tensors(inputs),)* }
            }

            pub(crate) fn multiply_accumulates(&self, inputs: &[Vec<usize>], output: &[usize]) -> u64 {
                match self { $(Self::$name(op) => op.multiply_accumulates(inputs, output),)* }
            }

            pub(crate) fn check(&self, node: &Packed<'_>) -> Result<Domain, Problem> {
                match self { $(Self::$name(op) => op.check(node),)* }
            }

            pub(crate) fn runner(&self, node: &Packed<'_>) -> Runner {
                match self { $(Self::$name(op) => op.runner(node),)* }
            }
        }
    };
}

operators! {
    conv2d Conv2d,
    linear Linear,
    batch_norm BatchNorm,
    relu Relu,
    gelu Gelu,
    add Add,
    max_pool2d MaxPool2d,
    avg_pool2d AvgPool2d,
    global_mean GlobalMean,
    flatten Flatten,
    patches Patches,
    class_token ClassToken,
    take_token TakeToken,
    position_embedding PositionEmbedding,
    layer_norm LayerNorm,
    attention Attention,
    quantize Quantize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_and_read_back() {
        let mut kinds = Op::KINDS.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), Op::KINDS.len());
        let op = Op::from(Conv2d { bias: false, ..Conv2d::new(8, [3, 5]) });
        assert_eq!(op.sizes(), serde_json::json!({"channels": 8, "kernel": [3, 5], "bias": false}));
        assert_eq!(Op::read("conv2d", op.sizes()).map(Result::unwrap), Some(op));
        assert!(Op::read("relu", serde_json::json!({"size": 1})).is_some_and(|read| read.is_err()));
        assert!(Op::read("nothing", Value::Null).is_none());
    }
}
