//! Networks as data, and packed models: a network as one small file, and the arithmetic that runs it.
//!
//! A [`Description`] is a network as data: named nodes, each an operator ([`ops`]) with its sizes and the names of what it reads.
//! A [`PackedModel`] is what training ships: a description whose quantisers are nodes, weights as codes of 1 to 8 bits, and the
//! real numbers between them. It is written to and read from one safetensors file, described in
//! `docs/packed-format.md`. An [`Executor`] computes logits from pixels; sums of products are whole numbers and exact, and
//! every real operation is done in a stated order, so the logits equal those of the trained network bit for bit.
//! [`first_difference`] is the comparison that shows it.
//!
//! Nothing in a file is trusted: [`PackedModel::from_bytes`] gives a model that can be run, or an error that names the place.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use hardgrad_runtime::{Description, PackedModel, Pixels, Stored, Weight};
//!
//! // Two classes of images of 1 x 2 pixels: which pixel is brighter?
//! let network: Description = serde_json::from_str(
//!     r#"{"input": {"shape": [1, 1, 2]}, "node": [
//!         {"name": "flatten", "op": "flatten"},
//!         {"name": "brighter", "op": "linear", "outputs": 2, "bias": false}]}"#,
//! )?;
//! let weight = Weight { bits: 1, first: vec![-1], step: 2, codes: vec![1, 0, 0, 1], scale: vec![0.5] };
//! let tensors = BTreeMap::from([("brighter.weight".to_string(), Stored::Codes(weight))]);
//! let pixels = Pixels { scale: 0.25, zero_point: 0 };
//! let model = PackedModel::new(network, pixels, vec!["left".into(), "right".into()], tensors)?;
//!
//! let file = model.to_bytes()?;
//! let executor = PackedModel::from_bytes(&file)?.plan()?;
//! assert_eq!(executor.logits(&[200, 100, 3, 7])?, [12.5, -12.5, -0.5, 0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod description;
pub mod ops;
mod packed;

pub use description::{Description, DescriptionError, INPUT, InputShape, Node, NodeReport, Rule};
pub use ops::Op;
pub use ops::limits::{MAX_ACTIVATION, MAX_PARAMETERS};
pub use ops::problem::Problem;
pub use ops::tensor::TensorShape;
pub use ops::weight::{Stored, Weight};
pub use packed::{
    Arithmetic, Comparison, Difference, Executor, MAX_FILE, NodeSummary, PackedError, PackedModel, Pixels,
    TensorProblem, check_header, first_difference,
};
