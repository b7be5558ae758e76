//! The response cache: a layer that answers a request it has seen from a [`Cache`](llmo_core::Cache).
//!
//! ```text
//!  request ─► may it be cached? ─no─► bypass: the inner model
//!                  │ yes
//!                  ▼
//!                 key ─► lookup (20 ms at most) ─hit──► replay: deltas, then the finish
//!                            │        └─ failed ─► bypass
//!                            ▼ miss
//!                       inner model ─► recorder ─► caller
//!                                         │ after the finish, in the background
//!                                         ▼
//!                                       writer ─► Cache
//! ```
//!
//! * Only deterministic requests are cached (greedy, or with a seed); each request can opt out
//!   ([`CacheUse`](llmo_core::model::CacheUse)).
//! * Exact: the [`key`] covers everything that can change the answer, and the tenant, so that nobody learns from a fast
//!   answer what somebody else asked.
//! * Only complete answers are kept. A generation that failed, was cancelled or is too large leaves nothing behind.
//! * Entries are checked when they are read ([`codec`]). A damaged one is a miss, and is removed.
//! * The cache can only help: if it is slow or broken, the request is served without it, and nobody waits for a write.
//!
//! Embeddings are cached text by text, so that two batches which share a text share its vector.

pub mod codec;
mod embeddings;
pub mod key;
mod layer;
mod lookup;
mod policy;
mod recorder;
mod stats;
mod varint;
mod writer;

pub use layer::ResponseCache;
pub use policy::ResponseCachePolicy;
pub use stats::{ResponseCacheCounts, ResponseCacheStats};
