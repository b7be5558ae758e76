//! `USE_INT8=true`: models are served in 8 bits.
//!
//! ```text
//! weights ─► plan (pure) ─┬─ keep ──────────────────────────► the model as it is
//!                         └─ convert ─► store: variant q8_0 ─► the variant
//!                                         │ made by `native quantize`, a process of its own
//!                                         └ before and after measured by `native profile`, once
//! ```
//!
//! Q8_0 takes 8.5 bits a weight. It halves what is stored in 16 bits, and makes larger what is stored in fewer than 8.

mod convert;
mod native;
mod plan;

pub(super) use convert::{as_configured, as_configured_file};
pub use native::child as native_child;
