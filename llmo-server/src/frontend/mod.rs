//! Routes over any set of models: what a model service, a gateway and the monolith serve alike.
//!
//! ```text
//!  request ─► Context (headers) ─► dialect::…::parse ─► Call ─► resolve ─► generate ─┬─► whole: one body
//!             Json (body)                                        (Models)            └─► stream: pump ─► events
//! ```
//!
//! * [`router`]: all routes. [`FrontendOptions`]: bounds and metrics.
//! * `chat`, `completions`, `embeddings`, `models`, `tokens`, `spec`, `health`: handlers, one file a group.
//! * `answer`: from a call to a response; `stream`, `outlet`, `merge`: how it streams.

mod answer;
mod body;
mod chat;
mod completions;
mod context;
mod embeddings;
mod headers;
mod health;
mod merge;
mod models;
mod options;
mod outlet;
mod rerank;
mod router;
mod spec;
mod state;
mod stream;
mod template;
mod tokens;

pub use options::FrontendOptions;
pub use router::{router, router_with};
