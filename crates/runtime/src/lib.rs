//! Packed models: a quantised network as one small file, and whole-number arithmetic that runs it.
//!
//! A [`PackedModel`] is what training ships: weights as codes of 1 to 8 bits, the rules that turn activations into whole
//! numbers, and the few real numbers between them. It is written to and read from one safetensors file, described in
//! `docs/packed-format.md`. An [`Executor`] computes logits from pixels; sums of products are whole numbers and exact, and
//! every real operation is done in a stated order, so the logits equal those of the trained network bit for bit.
//! [`first_difference`] is the comparison that shows it.
//!
//! Nothing in a file is trusted: [`PackedModel::from_bytes`] gives a model that can be run, or an error that names the place.
//!
//! ```
//! use hardgrad_runtime::{Input, InputQuantizer, Layer, LayerKind, PackedModel, Weight};
//!
//! // Two classes of images of 1 x 2 pixels: which pixel is brighter?
//! let weight = Weight { bits: 1, first: vec![-1], step: 2, codes: vec![1, 0, 0, 1], scale: vec![0.5] };
//! let linear = LayerKind::Linear { weight, input: InputQuantizer::Pixels, bias: None, inputs: 2, outputs: 2 };
//! let layers = vec![
//!     Layer { name: "flatten".into(), kind: LayerKind::Flatten },
//!     Layer { name: "brighter".into(), kind: linear },
//! ];
//! let input = Input { channels: 1, height: 1, width: 2, scale: 0.25, zero_point: 0 };
//! let model = PackedModel::new(input, vec!["left".into(), "right".into()], layers)?;
//!
//! let file = model.to_bytes()?;
//! let executor = PackedModel::from_bytes(&file)?.plan()?;
//! assert_eq!(executor.logits(&[200, 100, 3, 7])?, [12.5, -12.5, -0.5, 0.5]);
//! # Ok::<(), hardgrad_runtime::PackedError>(())
//! ```

mod check;
mod compare;
mod description;
mod error;
mod executor;
mod format;
mod header;
mod model;
mod summary;

pub use check::MAX_ACTIVATION;
pub use compare::{Comparison, Difference, first_difference};
pub use error::{PackedError, Problem, TensorProblem};
pub use executor::Executor;
pub use format::MAX_FILE;
pub use header::check_header;
pub use model::{Input, InputQuantizer, Layer, LayerKind, PackedModel, QuantizeRule, Weight};
pub use summary::{Arithmetic, LayerSummary};
