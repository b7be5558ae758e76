//! What the caches promise, checked through their public interfaces. Needs `redis-server`.

// Clippy knows only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "memory")]
mod broken_cache;
#[cfg(feature = "memory")]
mod cached_sim;
#[cfg(all(feature = "memory", feature = "redis"))]
mod conformance;
#[cfg(feature = "memory")]
mod embeddings;
mod eventually;
#[cfg(feature = "redis")]
mod redis_faults;
#[cfg(feature = "redis")]
mod redis_operations;
#[cfg(feature = "redis")]
mod redis_server;
#[cfg(feature = "memory")]
mod responses;
#[cfg(feature = "memory")]
mod tiers;
