//! Descriptions made node by node.

use hardgrad_runtime::{Description, INPUT, InputShape, Node, Op, ops};

/// A description that grows; each node reads the one before it, or those that are named.
///
/// Nothing is checked here: [`Description::check`] tells what does not fit.
pub(crate) struct Builder {
    description: Description,
}

impl Builder {
    /// For inputs of this shape, `[channels, height, width]` or `[features]`.
    pub fn new(shape: &[usize]) -> Self {
        let input = InputShape { shape: shape.to_vec() };
        Self { description: Description { input, nodes: Vec::new(), rules: Vec::new() } }
    }

    /// A node that reads the one before it.
    pub fn add(&mut self, name: impl Into<String>, op: Op) {
        let before = self.last().to_string();
        self.join(name, op, &[&before]);
    }

    /// A node that reads the nodes of these names.
    pub fn join(&mut self, name: impl Into<String>, op: Op, inputs: &[&str]) {
        let inputs = inputs.iter().map(|input| (*input).to_string()).collect();
        self.description.nodes.push(Node { name: name.into(), op, inputs });
    }

    /// The name of the last node, or of the network's input where there is none yet.
    pub fn last(&self) -> &str {
        self.description.nodes.last().map_or(INPUT, |node| &node.name)
    }

    /// What has been described.
    pub fn finish(self) -> Description {
        self.description
    }
}

/// A convolution with a square kernel that keeps the size of the image, but for the stride; the kernel is odd.
pub(crate) fn convolution(channels: usize, kernel: usize, stride: usize, bias: bool) -> Op {
    Op::Conv2d(ops::Conv2d {
        channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        groups: 1,
        bias,
    })
}

/// A linear layer with bias.
pub(crate) fn linear(outputs: usize) -> Op {
    Op::Linear(ops::Linear { outputs, bias: true })
}

/// A batch norm.
pub(crate) fn batch_norm() -> Op {
    Op::BatchNorm(ops::BatchNorm { epsilon: 1e-5, momentum: 0.1 })
}

/// A layer norm.
pub(crate) fn layer_norm() -> Op {
    Op::LayerNorm(ops::LayerNorm { epsilon: 1e-5 })
}

/// A ReLU.
pub(crate) fn relu() -> Op {
    Op::Relu(ops::Relu {})
}

/// A sum of two values.
pub(crate) fn sum() -> Op {
    Op::Add(ops::Add {})
}

/// A flattening.
pub(crate) fn flatten() -> Op {
    Op::Flatten(ops::Flatten {})
}

/// A mean over pixels or tokens.
pub(crate) fn mean() -> Op {
    Op::GlobalMean(ops::GlobalMean {})
}

/// The largest value of each square of so many pixels a side.
pub(crate) fn max_pool(size: usize) -> Op {
    Op::MaxPool2d(ops::MaxPool2d::new([size; 2]))
}

/// Pools `2 x 2` pixels where the image, `[height, width]`, has as many; gives its size behind that.
pub(crate) fn halve(network: &mut Builder, name: String, [height, width]: [usize; 2]) -> [usize; 2] {
    if height.min(width) < 2 {
        return [height, width];
    }
    network.add(name, max_pool(2));
    [height / 2, width / 2]
}

/// The same network without a node that has one input; what read the node reads that input.
pub(crate) fn without(mut network: Description, name: &str) -> Description {
    let Some(place) = network.place(name) else { return network };
    let node = network.nodes.remove(place);
    let source = node.inputs.first().map_or(INPUT, String::as_str);
    let readers = network.nodes.iter_mut().flat_map(|node| &mut node.inputs);
    readers.filter(|input| input.as_str() == name).for_each(|input| *input = source.to_string());
    network
}
