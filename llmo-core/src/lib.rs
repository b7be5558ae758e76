//! The core of llmo: what every model backend, cache and store agrees on.
//!
//! Three object-safe traits, [`Model`], [`Cache`] and [`Store`], the domain types they speak, [`layers`] that wrap a
//! model and are a model again, and the pure text logic that all backends share ([`text`], [`weights`]). This crate
//! does no I/O, knows no HTTP and needs no async runtime beyond tokio's synchronisation types.
//!
//! ```text
//!  dialect (OpenAI, /api, ...)            llmo-server
//!        │ GenerateRequest
//!        ▼
//!  layer ─► layer ─► … ─► Model           llmo-core::layers, llmo-cache, llmo-gateway
//!        ▲                  │
//!        └── EventStream ◄──┘  deltas, then exactly one Finish
//! ```
//!
//! A new backend implements [`Model`] and is done when it passes `conformance::model` (feature `conformance`).

pub mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod layers;
pub mod model;
pub mod store;
pub mod text;
pub mod trace;
pub mod weights;

pub use cache::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};
pub use model::{
    EmbedRequest, Embeddings, Event, EventStream, FinishReason, GenerateRequest, Model, ModelError, ModelInfo, Models,
};
pub use store::{GetOptions, ObjectMeta, ObjectStream, Store, StoreError, StorePath};
