//! The forward pass of a network: its nodes, and chains of nodes that run as one operator.

use std::convert::Infallible;

use super::Network;
use super::entry::Entry;
use super::layer::on_its_tape;
use super::node::NodeModule;
use super::plan::{Kind, Plan, Step};
use super::value::Value;
use crate::coded::Activation;
use crate::layers::{BatchNorm, fused_relu};
use crate::ops;
use crate::quantize::Quantizer;

/// Looks at a network node by node while it runs; see [`Network::run`].
pub trait Reader {
    /// Sees what a node reads, before it runs; a module that it gives runs in its place.
    fn before(&mut self, _name: &str, _module: &NodeModule, _inputs: &[&Value]) -> Option<NodeModule> {
        None
    }

    /// Sees what a node read and gave.
    fn node(&mut self, _name: &str, _module: &NodeModule, _inputs: &[&Value], _output: &Value) {}
}

/// Looks at nothing.
impl Reader for () {}

impl Network {
    /// Runs the steps of a plan; every forward pass is this one.
    pub(super) fn walk(&self, plan: &Plan, x: Value, reader: &mut dyn Reader) -> Value {
        let Ok(output) = plan.walk(x, |step, reads| {
            Ok::<Value, Infallible>(match step.kind {
                Kind::Node => self.node(&self.entries[step.entry], reads, reader),
                Kind::Chain { .. } => self.chain(step, reads),
            })
        });
        output
    }

    fn node(&self, entry: &Entry, reads: &[&Value], reader: &mut dyn Reader) -> Value {
        let Entry { name, op, module, .. } = entry;
        let other = reader.before(name, module, reads);
        let module = other.as_ref().unwrap_or(module);
        let output = module.forward(op.as_ref(), reads);
        reader.node(name, module, reads, &output);
        output
    }

    fn chain(&self, step: &Step, reads: &[&Value]) -> Value {
        let Kind::Chain { norm, shortcut, quantizer } = step.kind else { unreachable!("a node is no chain") };
        let norm = norm.map(|entry| match &self.entries[entry].module {
            NodeModule::BatchNorm(norm) => norm,
            other => unreachable!("{other:?} is no batch norm"),
        });
        let quantizer = quantizer.map(|entry| match &self.entries[entry].module {
            NodeModule::Quantizer(quantizer) => quantizer,
            other => unreachable!("{other:?} is no quantiser"),
        });
        let shortcut = shortcut.then(|| reads[1].clone());
        match reads[0].clone() {
            Value::Image(x) => chain(norm, x, shortcut.map(Value::image), quantizer).into(),
            Value::Tokens(x) => chain(norm, x, shortcut.map(Value::tokens), quantizer).into(),
            Value::Features(x) => chain(norm, x, shortcut.map(Value::features), quantizer).into(),
        }
    }
}

fn chain<const D: usize>(
    norm: Option<&BatchNorm>,
    x: Activation<D>,
    shortcut: Option<Activation<D>>,
    quantizer: Option<&Quantizer>,
) -> Activation<D> {
    let x = x.values();
    match norm {
        Some(norm) => norm.forward_relu_then(on_its_tape(norm, x), shortcut, quantizer),
        None => fused_relu(quantizer, |step| ops::relu(x, shortcut, step)),
    }
}
