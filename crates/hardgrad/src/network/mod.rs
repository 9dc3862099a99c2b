//! A network made from its description: one Burn module, one walk over its nodes, and what reads it.
//!
//! Which parts are hard is said by rules over node names. The weight of a convolution or linear layer gets a quantiser;
//! what the layer reads gets one as a node of its own, called after the node behind which it stands: `relu1.quantizer`.
//! It stands behind the value that max pooling, flattening, cutting into patches and taking a token only move. Where
//! that value cannot be negative (behind a ReLU), its codes are unsigned and all that read it read them; elsewhere they
//! are signed and only convolutions and linear layers read them, so that a residual sum stays real. The network's input
//! is bytes, which are codes from the start.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::network::Network;
//! use hardgrad::quantize::StepClock;
//! use hardgrad::runtime::{Description, Pixels, Rule};
//!
//! let description: Description = serde_json::from_str(
//!     r#"{"input": {"shape": [1, 8, 8]}, "node": [
//!         {"name": "conv", "op": "conv2d", "channels": 4, "kernel": 3}, {"name": "relu", "op": "relu"},
//!         {"name": "flatten", "op": "flatten"}, {"name": "output", "op": "linear", "outputs": 2}]}"#,
//! )?;
//! let rule = Rule { weight_bits: Some(4), activation_bits: Some(4), ..Rule::all() };
//! let network = Network::new(&description, 0, &Device::flex())?.quantize(&[rule], &StepClock::default())?;
//! assert_eq!(network.forward(Tensor::<4>::zeros([3, 1, 8, 8], &Device::flex())).dims(), [3, 2]);
//! let packed = network.pack(Pixels { scale: 0.01, zero_point: 0 }, vec!["cat".into(), "dog".into()])?;
//! assert_eq!(packed.description.nodes[2].name, "relu.quantizer");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod error;
mod layer;
mod module;
mod node;
mod plan;
mod readers;
mod rules;
mod stock;
mod take_token;
mod value;
mod walk;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use entry::Entry;
pub use error::NetworkError;
use hardgrad_kernels::random::Random;
pub use node::{NodeModule, Plain};
use plan::Plan;
pub use value::Value;
pub use walk::Reader;

use crate::quantize::StepClock;
use crate::runtime::{Description, INPUT, Rule};

/// The stream of first weights; the step is the place of the node.
const WEIGHTS: u32 = 0;

/// A network that a description became.
#[derive(Clone, Debug)]
pub struct Network {
    description: Arc<Description>,
    entries: Vec<Entry>,
    /// Node by node, for readers.
    plain: Arc<Plan>,
    /// With chains as one operator.
    fused: Arc<Plan>,
}

impl Network {
    /// A float network whose weights are drawn from counters of `seed`, one stream a node; biases begin at 0.
    ///
    /// # Errors
    /// If the description is that of no network, or its last node gives no row of outputs.
    pub fn new(description: &Description, seed: u64, device: &Device) -> Result<Self, NetworkError> {
        let reports = description.check()?;
        let mut entries: Vec<Entry> = Vec::with_capacity(reports.len());
        for (place, (node, report)) in description.nodes.iter().zip(&reports).enumerate() {
            let random = Random::new(seed, place as u32, WEIGHTS);
            let module = NodeModule::new(&node.op, &report.inputs[0], &random, device)
                .ok_or_else(|| NetworkError::Quantize { node: node.name.clone() })?;
            let inputs = node.inputs.iter().map(|input| match input == INPUT {
                true => 0,
                false => 1 + description.place(input).expect("a checked description names earlier nodes"),
            });
            let inputs = inputs.collect();
            entries.push(Entry { name: node.name.clone(), op: Some(node.op.clone()), inputs, module });
        }
        let last = reports.last().expect("a checked description has nodes");
        match last.output.len() {
            1 => Ok(Self::of(description.clone(), entries)),
            _ => Err(NetworkError::Output { node: last.name.clone(), shape: last.output.clone() }),
        }
    }

    fn of(description: Description, entries: Vec<Entry>) -> Self {
        let (plain, fused) = (Plan::node_by_node(&entries), Plan::fused(&entries));
        Self { description: Arc::new(description), entries, plain: Arc::new(plain), fused: Arc::new(fused) }
    }

    /// The description, without quantisers: these follow from rules.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The network with quantisers as the rules say: these first, then those of the description, which win. Quantisers
    /// with a delay wait on `clock`.
    ///
    /// # Errors
    /// If a rule is for no node or cannot work, if two nodes would quantise one value in two ways, or if the network is
    /// quantised already.
    pub fn quantize(self, rules: &[Rule], clock: &StepClock) -> Result<Self, NetworkError> {
        self.quantize_after(rules, 0, clock)
    }

    /// As [`quantize`](Self::quantize), with values that pass unchanged until the clock reaches `delay`.
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize).
    pub fn quantize_after(self, rules: &[Rule], delay: u64, clock: &StepClock) -> Result<Self, NetworkError> {
        let all: Vec<Rule> = rules.iter().chain(&self.description.rules).cloned().collect();
        rules::quantized(self, &all, delay, clock)
    }

    /// Outputs `[batch, outputs]` of a batch of inputs; chains of nodes run as one operator.
    ///
    /// # Panics
    /// If the input does not have the shape of the description.
    pub fn forward(&self, x: impl Into<Value>) -> Tensor<2> {
        self.walk(&self.fused, self.input(x.into()), &mut ()).features().values()
    }

    /// The same, node by node, with a reader that looks at each; the bits are those of [`forward`](Self::forward).
    ///
    /// # Panics
    /// If the input does not have the shape of the description.
    pub fn run(&self, x: impl Into<Value>, reader: &mut dyn Reader) -> Value {
        self.walk(&self.plain, self.input(x.into()), reader)
    }

    fn input(&self, x: Value) -> Value {
        let (dims, shape) = (x.dims(), &self.description.input.shape);
        assert_eq!(dims[1..], shape[..], "an input of this network has the shape {shape:?}, behind the batch");
        x
    }
}
