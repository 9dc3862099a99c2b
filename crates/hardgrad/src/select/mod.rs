//! Choosing some of many: the largest scores, the tokens that stay.

pub(crate) mod token_score;
pub(crate) mod token_select;
pub(crate) mod top_k;

pub use token_score::token_score;
pub use token_select::{Selection, token_select};
pub use top_k::{TopK, top_k_mask};
