//! The order in which a network runs: node by node, or with chains as one operator.
//!
//! A chain is batch norm, the addition of a shortcut, ReLU and a quantiser, as far as they follow each other and
//! nothing else reads what lies between.

use std::collections::HashSet;

use super::entry::Entry;
use super::node::NodeModule;
use crate::runtime::Op;

/// Steps, each of which fills one place. Place 0 is the network's input, place n + 1 what entry n gives.
#[derive(Clone, Debug)]
pub(super) struct Plan(pub Vec<Step>);

/// A step of a [`Plan`].
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// What runs.
    pub kind: Kind,
    /// The entry whose place is filled.
    pub entry: usize,
    /// Places that are read.
    pub reads: Vec<usize>,
    /// Places that nothing reads afterwards, its own among them where nothing ever does.
    pub frees: Vec<usize>,
}

/// What a step runs.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The entry alone.
    Node,
    /// A ReLU with what stands around it; reads x, and the shortcut if there is one.
    Chain {
        /// The entry of the batch norm.
        norm: Option<usize>,
        /// Whether a shortcut is added.
        shortcut: bool,
        /// The entry of the quantiser.
        quantizer: Option<usize>,
    },
}

impl Plan {
    /// Every entry on its own.
    pub fn node_by_node(entries: &[Entry]) -> Self {
        let steps = entries.iter().enumerate();
        Self::with_frees(steps.map(|(entry, found)| Step::new(Kind::Node, entry, found.inputs.clone())).collect())
    }

    /// Chains as one operator each.
    pub fn fused(entries: &[Entry]) -> Self {
        let mut readers = vec![Vec::new(); entries.len() + 1];
        for (place, entry) in entries.iter().enumerate() {
            entry.inputs.iter().for_each(|&input| readers[input].push(place));
        }
        // What an entry gives is read by one other alone.
        let only = |entry: usize| match readers[entry + 1][..] {
            [reader] => Some(reader),
            _ => None,
        };
        let producer = |place: usize| place.checked_sub(1);
        let is_norm = |entry: usize| matches!(entries[entry].module, NodeModule::BatchNorm(_));
        let mut steps: Vec<Option<Step>> = entries
            .iter()
            .enumerate()
            .map(|(entry, found)| Some(Step::new(Kind::Node, entry, found.inputs.clone())))
            .collect();
        for (relu, entry) in entries.iter().enumerate() {
            if !matches!(entry.op, Some(Op::Relu(_))) {
                continue;
            }
            let mut inside = vec![relu];
            // The batch norm that gives `place`, where only `reader` reads it.
            let norm_before = |place: usize, reader: usize| {
                producer(place).filter(|&entry| is_norm(entry) && only(entry) == Some(reader))
            };
            let (mut x, mut shortcut, mut norm) = (entry.inputs[0], None, None);
            let before = producer(x).filter(|&before| only(before) == Some(relu));
            match before {
                Some(add) if matches!(entries[add].op, Some(Op::Add(_))) => {
                    let [a, b] = [entries[add].inputs[0], entries[add].inputs[1]];
                    inside.push(add);
                    norm = norm_before(a, add);
                    (x, shortcut) = match norm {
                        None if norm_before(b, add).is_some() => (b, Some(a)),
                        _ => (a, Some(b)),
                    };
                    norm = norm.or_else(|| norm_before(x, add));
                }
                Some(before) => norm = Some(before).filter(|&before| is_norm(before)),
                None => {}
            }
            if let Some(norm) = norm {
                inside.push(norm);
                x = entries[norm].inputs[0];
            }
            let quantizer = only(relu).filter(|&next| matches!(entries[next].module, NodeModule::Quantizer(_)));
            inside.extend(quantizer);
            if norm.is_none() && shortcut.is_none() && quantizer.is_none() {
                continue;
            }
            inside.iter().for_each(|&entry| steps[entry] = None);
            let last = quantizer.unwrap_or(relu);
            let reads = [x].into_iter().chain(shortcut).collect();
            let kind = Kind::Chain { norm, shortcut: shortcut.is_some(), quantizer };
            steps[last] = Some(Step::new(kind, last, reads));
        }
        Self::with_frees(steps.into_iter().flatten().collect())
    }

    fn with_frees(mut steps: Vec<Step>) -> Self {
        // The last value is the output, and stays.
        let mut needed: HashSet<usize> = steps.last().map(|step| step.entry + 1).into_iter().collect();
        for step in steps.iter_mut().rev() {
            let places = step.reads.iter().copied().chain([step.entry + 1]);
            step.frees = places.filter(|place| needed.insert(*place)).collect();
        }
        Self(steps)
    }

    /// Runs the steps, on values of any kind: tensors, or the edges of a packed model. Each step gets what it reads and
    /// gives what others read; what nothing reads any more is dropped. This is the only loop over a network.
    ///
    /// # Errors
    /// The first of a step.
    pub fn walk<V, E>(&self, input: V, mut run: impl FnMut(&Step, &[&V]) -> Result<V, E>) -> Result<V, E> {
        let places = self.0.iter().map(|step| step.entry + 2).max().unwrap_or(1);
        let mut values: Vec<Option<V>> = (0..places).map(|_| None).collect();
        values[0] = Some(input);
        let mut last = 0;
        for step in &self.0 {
            let read = |&place: &usize| values[place].as_ref().expect("steps read what stands before them");
            let output = run(step, &step.reads.iter().map(read).collect::<Vec<&V>>())?;
            last = step.entry + 1;
            values[last] = Some(output);
            step.frees.iter().for_each(|&place| values[place] = None);
        }
        Ok(values[last].take().expect("the output stays"))
    }
}

impl Step {
    fn new(kind: Kind, entry: usize, reads: Vec<usize>) -> Self {
        Self { kind, entry, reads, frees: Vec::new() }
    }
}
