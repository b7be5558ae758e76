//! The ledger: who used how many tokens of which model, a line for each request. Off unless `gateway.usage_file` is set.
//!
//! ```text
//!  handler's task ── Part, Part (one a choice) ── last one ends ─► Entry ─► queue ─► writer's thread ─► file
//!        ▲ the end of the answer waits ◄────────────────────────────────── written ◄──┘
//! ```
//!
//! The end of an answer is held back until its line has been handed to the operating system, so that `kill -9` of the gateway
//! loses no line of an answer that a caller has whole. When the file can't be written, answers go on and lines are dropped,
//! which is counted.
//!
//! * [`LedgeredModels`]: the layer that sees answers end. [`request`]: what belongs to one request.
//! * [`Ledger`]: the queue, its bound and its patience. `writer`: the file, its rotation, and half-written lines.
//! * [`Entry`]: a line. [`report`]: reading lines and adding them up (`llmo usage`).

mod entry;
mod layer;
mod ledger;
pub mod report;
pub mod request;
mod writer;

pub use entry::Entry;
pub use layer::LedgeredModels;
pub use ledger::{Ledger, LedgerMetrics};
