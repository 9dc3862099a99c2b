//! Graphs whose edges are learned.

pub(crate) mod bernoulli_edges;

pub use bernoulli_edges::bernoulli_edges;
