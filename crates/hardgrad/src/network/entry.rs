use super::node::NodeModule;
use crate::runtime::Op;

/// A node or a quantiser in the order in which they run.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: String,
    /// None for quantisers.
    pub op: Option<Op>,
    /// Places of what it reads: 0 is the network's input, n + 1 what entry n gives.
    pub inputs: Vec<usize>,
    pub module: NodeModule,
}
