//! A network as a Burn module: a parameter is called by its node's name and its field.

use std::fmt;

use burn::module::{Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

use super::Network;
use super::entry::Entry;
use super::node::NodeModule;

/// What visitors are told that a node stands in.
const CONTAINER: &str = "Struct:Network";

impl Network {
    /// The network with each node changed.
    fn each(self, mut change: impl FnMut(&str, NodeModule) -> NodeModule) -> Self {
        let entries = self.entries.into_iter().map(|Entry { name, op, inputs, module }| {
            let module = change(&name, module);
            Entry { name, op, inputs, module }
        });
        Self { entries: entries.collect(), ..self }
    }
}

impl Module for Network {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.entries.iter().fold(devices, |devices, entry| entry.module.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|_, module| module.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(|_, module| module.to_device(device))
    }

    fn train(self) -> Self {
        self.each(|_, module| module.train())
    }

    fn valid(&self) -> Self {
        self.clone().each(|_, module| module.valid())
    }

    fn materialize(self) -> Self {
        self.each(|_, module| module.materialize())
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        for Entry { name, module, .. } in &self.entries {
            visitor.enter_module(name, CONTAINER);
            module.visit(visitor);
            visitor.exit_module(name, CONTAINER);
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.each(|name, module| {
            mapper.enter_module(name, CONTAINER);
            let module = module.map(mapper);
            mapper.exit_module(name, CONTAINER);
            module
        })
    }
}

impl ModuleDisplayDefault for Network {
    fn content(&self, content: Content) -> Option<Content> {
        let content = content.set_top_level_type("Network");
        self.entries.iter().fold(content, |content, Entry { name, module, .. }| content.add(name, module)).optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Network {}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&ModuleDisplay::format(self, Default::default()))
    }
}
