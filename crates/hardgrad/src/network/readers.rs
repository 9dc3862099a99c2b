//! What reads a network node by node: calibration, statistics of hard values, packing.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::Network;
use super::entry::Entry;
use super::node::NodeModule;
use super::value::{Value, each};
use super::walk::Reader;
use crate::diagnose::{Vanishing, WeightCodes, vanishing, weight_codes};
use crate::packing::{PackError, Packer};
use crate::quantize::{QuantizeError, Quantizer, Range};
use crate::runtime::{PackedModel, Pixels};

impl Network {
    /// The network with the ranges of its quantisers set from a sample of inputs, node by node: each sees what the
    /// quantised nodes before it give in evaluation. Batch norm behind weights that quantisation stretches takes its
    /// statistics from the sample, too.
    ///
    /// Also gives the nodes that the sample told nothing, with the reason; they stay as they were. The sample is plain;
    /// nothing is put on a gradient tape.
    pub fn calibrate(mut self, x: impl Into<Value>) -> (Self, Vec<(String, QuantizeError)>) {
        let (plain, stretched) = (self.valid(), self.behind_stretched());
        let mut calibrate = Calibrate { entries: &mut self.entries, stretched, problems: Vec::new() };
        plain.run(x, &mut calibrate);
        let problems = calibrate.problems;
        (self, problems)
    }

    /// The batch norms that read a layer whose quantised weights have another scale than the float ones.
    fn behind_stretched(&self) -> Vec<String> {
        let stretches = |place: usize| {
            let quantizer = match place.checked_sub(1).map(|entry| &self.entries[entry].module) {
                Some(NodeModule::Conv2d(layer)) => layer.weight.reparameterization::<Quantizer>(),
                Some(NodeModule::Linear(layer)) => layer.weight.reparameterization::<Quantizer>(),
                _ => None,
            };
            quantizer.is_some_and(|quantizer| matches!(quantizer.range, Range::Dorefa(_)))
        };
        let norms = self.entries.iter().filter(|entry| matches!(entry.module, NodeModule::BatchNorm(_)));
        norms.filter(|entry| stretches(entry.inputs[0])).map(|entry| entry.name.clone()).collect()
    }

    /// The codes of all quantised weights.
    pub fn weight_codes(&self) -> Vec<WeightCodes> {
        self.of_weights(weight_codes, weight_codes)
    }

    /// The weights that have channels whose quantised values say nothing any more of the weights.
    pub fn vanishing(&self) -> Vec<Vanishing> {
        self.of_weights(vanishing, vanishing)
    }

    /// What a function gives for the weights of all layers, by their names.
    fn of_weights<T>(
        &self,
        of_convolution: impl Fn(&str, &Param<Tensor<4>>) -> Option<T>,
        of_linear: impl Fn(&str, &Param<Tensor<2>>) -> Option<T>,
    ) -> Vec<T> {
        let weights = self.entries.iter().map(|Entry { name, module, .. }| match module {
            NodeModule::Conv2d(layer) => of_convolution(&format!("{name}.weight"), &layer.weight),
            NodeModule::Linear(layer) => of_linear(&format!("{name}.weight"), &layer.weight),
            _ => None,
        });
        weights.flatten().collect()
    }

    /// Calls `visit` with the name of each quantiser of activations that has begun, the quantiser, and the values that
    /// it gets for these plain inputs, in the network's order.
    pub fn visit_inputs(&self, x: impl Into<Value>, visit: &mut dyn FnMut(&str, &Quantizer, Tensor<1>)) {
        self.valid().run(x, &mut Inputs(visit));
    }

    /// The packed model, which takes bytes of these pixels; node by node, each with its name.
    ///
    /// # Errors
    /// If a quantiser has not begun, is not set or not finite, or if a quantised weight would meet floats.
    pub fn pack(&self, pixels: Pixels, class_names: Vec<String>) -> Result<PackedModel, PackError> {
        let mut packer = Packer::new(self.description.input.shape.clone(), pixels);
        let input = packer.input();
        let output = self.plain.walk(input, |step, edges| {
            let Entry { name, op, module, .. } = &self.entries[step.entry];
            module.pack(name, op.as_ref(), edges, &mut packer)
        })?;
        packer.finish(&output, class_names)
    }
}

/// Sets ranges as the walk goes on, and lets the nodes behind see what comes of them.
struct Calibrate<'a> {
    /// Those of the network whose plain copy runs.
    entries: &'a mut [Entry],
    stretched: Vec<String>,
    problems: Vec<(String, QuantizeError)>,
}

impl Reader for Calibrate<'_> {
    fn before(&mut self, name: &str, _: &NodeModule, inputs: &[&Value]) -> Option<NodeModule> {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name)?;
        let is_stretched = self.stretched.iter().any(|stretched| stretched == name);
        let x = inputs[0].clone();
        let result = match &mut entry.module {
            NodeModule::Quantizer(quantizer) => each!(x, x => quantizer.calibrate(&x.values())),
            NodeModule::BatchNorm(norm) if is_stretched => each!(x, x => norm.calibrate(&x.values())),
            _ => return None,
        };
        self.problems.extend(result.err().map(|problem| (name.to_string(), problem)));
        Some(entry.module.valid())
    }
}

/// Shows what quantisers get.
struct Inputs<'a>(&'a mut dyn FnMut(&str, &Quantizer, Tensor<1>));

impl Reader for Inputs<'_> {
    fn node(&mut self, name: &str, module: &NodeModule, inputs: &[&Value], _: &Value) {
        if let NodeModule::Quantizer(quantizer) = module
            && quantizer.is_active()
        {
            (self.0)(name, quantizer, inputs[0].clone().row());
        }
    }
}
