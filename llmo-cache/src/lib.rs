//! Caches for llmo: implementations of [`Cache`](llmo_core::Cache) and the layer that caches whole answers.
//!
//! ```text
//!   ResponseCache ─ a Model around a Model: key ─► lookup ─► replay, or generate and record
//!        │
//!        ▼  dyn Cache
//!   TieredCache ──► MemoryCache          moka, in this process
//!        │
//!        └────────► RedisCache           shared through Redis
//!                   RemoteCache          shared through `llmo-server cache`
//! ```
//!
//! Whatever is slow or broken here costs a caller at most one operation timeout (20 ms unless configured): the caches
//! report [`CacheError`](llmo_core::CacheError) quickly, and the layer goes on without them.
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use llmo_cache::memory::{MemoryCache, MemoryOptions};
//! use llmo_core::{Cache, CacheKey, PutOptions};
//!
//! let cache = MemoryCache::new(MemoryOptions::default());
//! let key = CacheKey::new("greeting")?;
//! cache.put(&key, "hello".into(), PutOptions::default().tag("demo")).await?;
//! assert_eq!(cache.get(&key).await?.unwrap().value, "hello");
//! assert_eq!(cache.remove_tag("demo").await?, 1);
//! assert!(cache.get(&key).await?.is_none());
//! # Ok::<(), llmo_core::CacheError>(())
//! # }).unwrap();
//! ```

#[cfg(any(feature = "redis", feature = "remote"))]
mod breaker;
mod counters;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "remote")]
pub mod remote;
pub mod response;
pub mod tiered;
