//! Routes over any set of models: what a model service, a gateway and the monolith serve alike.
//!
//! ```text
//!  request ─► Context (headers) ─► dialect::…::parse ─► Call ─► resolve ─► generate ─┬─► whole: one body
//!             Json (body)                                        (Models)            └─► stream: pump ─► events
//! ```
//!
//! * [`router`]: all routes. [`FrontendOptions`]: bounds and metrics.
//! * `chat`, `completions`, `responses`, `embeddings`, `models`, `anthropic`, `ollama`, `tokens`, `spec`, `health`: handlers,
//!   one file a group. `docs`: the OpenAPI document and its page.
//! * `answer`: from a call to a response; `stream`, `merge`: how it streams; `handover`, `outlet`: to HTTP/1 and to HTTP/2.

mod answer;
mod anthropic;
mod body;
mod chat;
mod completions;
mod context;
mod docs;
mod embeddings;
mod handover;
mod headers;
mod health;
mod merge;
mod models;
mod ollama;
mod options;
mod outlet;
mod rerank;
mod responses;
mod router;
mod spec;
mod state;
mod stream;
mod template;
mod tokens;

pub use context::tenant_of;
pub use options::FrontendOptions;
pub use router::{router, router_with};
