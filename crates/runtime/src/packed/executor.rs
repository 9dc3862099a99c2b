//! Runs a packed model.
//!
//! The nodes run in order over a few items at a time, so that the weights of a linear layer are fetched once for all of them;
//! rayon spreads such groups over threads. Whole-number sums are exact and real ones are added in a stated order, so neither
//! the size of a group nor the number of threads can change a bit. A buffer is used again after its last reader.

use hardgrad_kernels::integer;
use rayon::prelude::*;

use super::error::{MAX_MEMORY, PackedError};
use super::model::{Checked, PackedModel, Pixels};
use crate::ops::step::{Buffer, Form, Packed, Runner, Scratch};

/// A model ready to run: weights unpacked, scales multiplied.
#[derive(Debug)]
pub struct Executor {
    pixels: Pixels,
    /// Bytes of an item.
    item: usize,
    classes: usize,
    stages: Vec<Stage>,
    /// Buffers that are needed at once; the first holds the input.
    slots: usize,
    /// Where the output ends up.
    output: usize,
    /// Most items of one group.
    group: usize,
}

/// A node with the slots that it reads and fills.
#[derive(Debug)]
struct Stage {
    runner: Runner,
    inputs: Vec<usize>,
    output: usize,
    /// How floats are made of the first input.
    form: Form,
}

/// Working memory of one thread.
struct Memory {
    buffers: Vec<Buffer>,
    scratch: Scratch,
}

impl PackedModel {
    /// Checks the model and lays out its weights for running.
    pub fn plan(&self) -> Result<Executor, PackedError> {
        let checked = self.check()?;
        let largest = checked.iter().map(|node| node.output.len()).max().unwrap_or(1);
        let item = self.input().len();
        // Place 0 is the input, place n + 1 the output of node n.
        let reads = |node: &Checked| -> Vec<usize> {
            node.sources.iter().map(|source| source.map_or(0, |place| place + 1)).collect()
        };
        let mut last_reader = vec![0; checked.len() + 1];
        for (place, node) in checked.iter().enumerate() {
            reads(node).into_iter().for_each(|source| last_reader[source] = place);
        }
        let mut slots = Slots { free: Vec::new(), lengths: vec![item] };
        let mut slot_of = vec![0; checked.len() + 1];
        let mut stages = Vec::with_capacity(checked.len());
        for (place, (node, entry)) in self.description.nodes.iter().zip(&checked).enumerate() {
            let packed =
                Packed { name: &node.name, inputs: &entry.inputs, output: &entry.output.shape, tensors: &self.tensors };
            let runner = node.op.runner(&packed);
            let sources = reads(entry);
            let inputs: Vec<usize> = sources.iter().map(|&source| slot_of[source]).collect();
            let ends = |source: usize| last_reader[source] == place;
            let keeps_place = !matches!(runner, Runner::Step(_)) && ends(sources[0]);
            let output = if keeps_place { inputs[0] } else { slots.take() };
            slots.lengths[output] = slots.lengths[output].max(entry.output.len());
            slot_of[place + 1] = output;
            for (index, &source) in sources.iter().enumerate() {
                if ends(source) && inputs[index] != output && !inputs[..index].contains(&inputs[index]) {
                    slots.free.push(inputs[index]);
                }
            }
            stages.push(Stage { runner, inputs, output, form: entry.inputs[0].form() });
        }
        let values = slots.lengths.iter().fold(0, |sum: usize, &length| sum.saturating_add(length));
        if values > MAX_MEMORY {
            return Err(PackedError::Memory { values });
        }
        Ok(Executor {
            pixels: self.pixels,
            item,
            classes: self.class_names.len(),
            stages,
            slots: slots.lengths.len(),
            output: slot_of[checked.len()],
            // A megabyte of the largest activation: more items would only leave the cache.
            group: ((1 << 18) / largest).clamp(1, 16),
        })
    }
}

/// Buffers that nothing needs any more.
struct Slots {
    free: Vec<usize>,
    /// Most values of an item that each slot holds.
    lengths: Vec<usize>,
}

impl Slots {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.lengths.push(0);
            self.lengths.len() - 1
        })
    }
}

impl Executor {
    /// Logits `[count, classes]` of `pixels` `[count, ...]`, on all threads of the current rayon pool.
    ///
    /// Fails where the pixels are not whole items, and with the first item whose logits are not all finite: they could
    /// neither be compared nor turned into probabilities.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>, PackedError> {
        if !pixels.len().is_multiple_of(self.item) {
            return Err(PackedError::PixelCount { found: pixels.len(), image: self.item });
        }
        let count = pixels.len() / self.item;
        let group = count.div_ceil(rayon::current_num_threads()).clamp(1, self.group);
        let mut logits = vec![0.0; count * self.classes];
        logits
            .par_chunks_mut(group * self.classes)
            .zip(pixels.par_chunks(group * self.item))
            .for_each_init(|| self.memory(), |memory, (logits, pixels)| self.run(pixels, logits, memory));
        match logits.iter().position(|logit| !logit.is_finite()) {
            Some(place) => {
                let (image, class) = (place / self.classes, place % self.classes);
                Err(PackedError::NotFinite { image, class, value: logits[place] })
            }
            None => Ok(logits),
        }
    }

    /// Probabilities `[count, classes]`: softmax of [`logits`](Self::logits), computed in `f64`; fails as they do.
    pub fn predict(&self, pixels: &[u8]) -> Result<Vec<f32>, PackedError> {
        let mut probabilities = self.logits(pixels)?;
        for row in probabilities.chunks_mut(self.classes) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f64> = row.iter().map(|&logit| (f64::from(logit) - f64::from(largest)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            row.iter_mut().zip(powers).for_each(|(probability, power)| *probability = (power / sum) as f32);
        }
        Ok(probabilities)
    }

    fn memory(&self) -> Memory {
        Memory { buffers: (0..self.slots).map(|_| Buffer::default()).collect(), scratch: Scratch::default() }
    }

    /// Logits of the items of one group.
    fn run(&self, pixels: &[u8], logits: &mut [f32], Memory { buffers, scratch }: &mut Memory) {
        let items = logits.len() / self.classes;
        buffers[0].codes.resize(pixels.len(), 0);
        integer::pixels(pixels, self.pixels.zero_point, &mut buffers[0].codes);
        for stage in &self.stages {
            stage.run(items, buffers, scratch);
        }
        logits.copy_from_slice(&buffers[self.output].floats);
    }
}

impl Stage {
    fn run(&self, items: usize, buffers: &mut [Buffer], scratch: &mut Scratch) {
        let mut output = std::mem::take(&mut buffers[self.output]);
        match &self.runner {
            Runner::Step(step) => {
                let inputs: Vec<&Buffer> = self.inputs.iter().map(|&slot| &buffers[slot]).collect();
                step.run(items, &inputs, &mut output, scratch);
            }
            Runner::Elementwise(step) => {
                match self.form {
                    _ if self.inputs[0] != self.output => self.copy(&buffers[self.inputs[0]], &mut output),
                    Form::Float => {}
                    Form::Codes(scale) => {
                        output.floats.resize(output.codes.len(), 0.0);
                        integer::decode(&output.codes, scale, &mut output.floats);
                    }
                }
                step.run(&mut output.floats, scratch);
            }
            Runner::Nothing if self.inputs[0] != self.output => {
                let input = &buffers[self.inputs[0]];
                match self.form {
                    Form::Float => output.floats.clone_from(&input.floats),
                    Form::Codes(_) => output.codes.clone_from(&input.codes),
                }
            }
            Runner::Nothing => {}
        }
        buffers[self.output] = output;
    }

    /// Floats of an input that others read still.
    fn copy(&self, input: &Buffer, output: &mut Buffer) {
        match self.form {
            Form::Float => output.floats.clone_from(&input.floats),
            Form::Codes(scale) => {
                output.floats.resize(input.codes.len(), 0.0);
                integer::decode(&input.codes, scale, &mut output.floats);
            }
        }
    }
}
