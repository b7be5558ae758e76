//! Any OpenAI-compatible upstream as a [`Model`](llmo_core::Model): llmo's own model service, llama-server, vLLM,
//! Ollama's `/v1`, OpenAI.
//!
//! ```text
//!  GenerateRequest ─► request ─► transport ─► upstream
//!                                                │ bytes
//!  EventStream ◄─ stream ◄─ response ◄─ sse ◄────┘
//!                   ▲
//!                patience (deadline, first token, next token)      errors: whatever went wrong, as a ModelError
//! ```
//!
//! * Pure: [`request`], [`response`], [`logprobs`], [`embeddings`], [`errors`], [`sse`], [`patience`].
//! * I/O: the HTTP clients (one of our own for plain HTTP, reqwest for the rest), [`transport`], [`stream`],
//!   [`in_flight`], and the [`RemoteModel`] itself.
//!
//! Errors of an llmo service come out as the [`ModelError`](llmo_core::ModelError) they were, so that they pass
//! through any number of gateways unchanged. Dropping a stream closes its connection to the upstream: that is how the
//! upstream learns that nobody listens. Nothing is retried here; `ModelError::is_retryable` tells a router what it may
//! send elsewhere.

mod client;
pub mod embeddings;
pub mod errors;
mod http1;
pub mod in_flight;
pub mod logprobs;
mod model;
mod object;
pub mod options;
pub mod patience;
pub mod request;
pub mod rerank;
pub mod response;
pub mod sse;
pub mod stream;
mod timer;
mod tools;
pub mod transport;
pub mod upkeep;

pub use model::RemoteModel;
pub use options::RemoteOptions;
