//! The operators as nodes of a network: how each is made, how it runs, how it is packed.
//!
//! To add one: its operator in [`crate::ops`], or its layer in [`crate::layers`], and one line in the registry below.
//! An operator with parameters is a [`Layer`]; of one without, the line says how it runs. What the operator
//! passes on, and whether its values can be negative, is said once, in the runtime.

use burn::module::Module;
use burn::tensor::Device;
use hardgrad_kernels::random::Random;

use super::layer::Layer;
use super::take_token::take_token;
use super::value::{Value, each};
use crate::layers::{BatchNorm, ClassToken, LayerNorm, PositionEmbedding, QuantConv2d, QuantLinear};
use crate::ops;
use crate::packing::{Edge, PackError, Packer};
use crate::quantize::Quantizer;
use crate::runtime::{Op, ops as described};

/// A node without parameters: its operator says all.
#[derive(Module, Debug)]
pub struct Plain {}

macro_rules! nodes {
    (layers { $($layer:ident: $module:ident,)* } plain { $($plain:ident: $run:expr,)* }) => {
        /// A node with its parameters.
        #[derive(Module, Debug)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum NodeModule {
            $($layer($module),)*
            Quantizer(Quantizer),
            Plain(Plain),
        }

        impl NodeModule {
            /// The module of an operator that reads items of the shape `input`, which was checked; none for quantisers,
            /// which follow from rules.
            pub(super) fn new(op: &Op, input: &[usize], random: &Random, device: &Device) -> Option<Self> {
                Some(match op {
                    $(Op::$layer(sizes) => {
                        Self::$layer(<$module as Layer<described::$layer>>::of(sizes, input, random, device))
                    })*
                    $(Op::$plain(_) => Self::Plain(Plain {}),)*
                    Op::Quantize(_) => return None,
                })
            }

            /// What the node gives; `op` is none for quantisers.
            pub(super) fn forward(&self, op: Option<&Op>, inputs: &[&Value]) -> Value {
                match (self, op) {
                    $((Self::$layer(layer), _) => {
                        <$module as Layer<described::$layer>>::run(layer, inputs[0].clone())
                    })*
                    (Self::Quantizer(quantizer), _) => {
                        each!(inputs[0].clone(), x => quantizer.encode(x.values()).into())
                    }
                    $((Self::Plain(_), Some(Op::$plain(sizes))) => call(sizes, inputs, $run),)*
                    (Self::Plain(_), op) => unreachable!("{:?} has a module of its own", op.map(Op::kind)),
                }
            }

            /// Adds the node to a packed model.
            pub(super) fn pack(
                &self,
                name: &str,
                op: Option<&Op>,
                inputs: &[&Edge],
                packer: &mut Packer,
            ) -> Result<Edge, PackError> {
                match (self, op) {
                    $((Self::$layer(layer), _) => layer.pack(name, inputs[0], packer),)*
                    (Self::Quantizer(quantizer), _) => packer.quantize(name, quantizer, inputs[0]),
                    (Self::Plain(_), Some(op)) => Ok(packer.op(name, op.clone(), inputs)),
                    (Self::Plain(_), None) => unreachable!("what is no quantiser has an operator"),
                }
            }
        }
    };
}

nodes! {
    layers {
        Conv2d: QuantConv2d,
        Linear: QuantLinear,
        BatchNorm: BatchNorm,
        LayerNorm: LayerNorm,
        ClassToken: ClassToken,
        PositionEmbedding: PositionEmbedding,
    }
    plain {
        Relu: |_, x| each!(x[0].clone(), x => ops::relu(x.values(), None, None).into()),
        Gelu: |_, x| each!(x[0].clone(), x => ops::gelu(x.values()).into()),
        Add: |_, x| add(x[0].clone(), x[1].clone()),
        MaxPool2d: |sizes, x| ops::max_pool2d(x[0].clone().image(), sizes.kernel, sizes.stride).into(),
        AvgPool2d: |sizes, x| ops::avg_pool2d(x[0].clone().image(), sizes.kernel, sizes.stride).into(),
        GlobalMean: |_, x| mean(x[0].clone()),
        Flatten: |_, x| each!(x[0].clone(), x => x.flatten().into()),
        Patches: |sizes, x| ops::patches(x[0].clone().image(), sizes.size).into(),
        TakeToken: |sizes, x| take_token(x[0].clone().tokens(), sizes.index).into(),
        Attention: |sizes, x| ops::attention(x[0].clone().tokens().values(), sizes.heads).into(),
    }
}

/// Runs a line of the registry.
fn call<Sizes>(sizes: &Sizes, inputs: &[&Value], run: impl Fn(&Sizes, &[&Value]) -> Value) -> Value {
    run(sizes, inputs)
}

fn add(x: Value, y: Value) -> Value {
    match (x, y) {
        (Value::Image(x), Value::Image(y)) => (x.values() + y.values()).into(),
        (Value::Tokens(x), Value::Tokens(y)) => (x.values() + y.values()).into(),
        (x, y) => (x.features().values() + y.features().values()).into(),
    }
}

fn mean(x: Value) -> Value {
    match x {
        Value::Tokens(x) => ops::token_mean(x).into(),
        x => ops::global_mean(x.image()).into(),
    }
}
